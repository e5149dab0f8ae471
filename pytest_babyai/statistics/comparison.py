"""Is one variant better than another? Paired on (task, seed), clustered by seed."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import SAME, check_finite, clustered_sem, mean, no_spread
from pytest_babyai.statistics.intervals import Interval, checked_level, t_interval, t_test_p_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How far a candidate lies above its reference on the (task, seed) pairs both played.

    Attributes:
        mean: Mean of candidate minus reference; None without a common pair.
        sem: Standard error, clustered by seed; None below two seeds.
        interval: Student's t with one degree of freedom per seed less one; see `t_interval`.
        p_value: Two-sided, for no difference; goes with the interval and into `holm`.
        num_pairs: (task, seed) pairs that both played.
        num_seeds: Seeds among them.
    """

    mean: float | None
    sem: float | None
    interval: Interval | None
    p_value: float | None
    num_pairs: int
    num_seeds: int

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation that one seed adds to the mean, as `num_seeds_needed` takes it."""
        return None if self.sem is None else self.sem * math.sqrt(self.num_seeds)


class Verdict(str, enum.Enum):
    """What an interval says about a difference."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    """No difference that matters: the whole interval lies within the margin."""
    UNDECIDED = "undecided"
    """Too few episodes to tell."""


def paired_difference(
    candidate: Mapping[tuple[str, int], float],
    reference: Mapping[tuple[str, int], float],
    *,
    level: float = 0.95,
) -> PairedDifference:
    """Compares two variants on the (task, seed) pairs that both played, clustered by seed.

    Miller 2024: the layout's own difficulty cancels within a pair. Pairs that one
    side lacks are left out. Where every seed shows the same difference the interval has no
    width; it is then given only if the sign test of `t_test_p_value` agrees.

    Args:
        candidate: Value by (task, seed).
        reference: The same for the variant to compare with.
        level: Confidence level of the interval, between 0 and 1.

    Raises:
        StatisticsError: A value is NaN or infinite, or the level is out of range.
    """
    pairs = sorted(candidate.keys() & reference.keys())
    differences = [candidate[pair] - reference[pair] for pair in pairs]
    seeds = [seed for _, seed in pairs]
    center, spread = mean(differences), clustered_sem(differences, seeds)
    num_seeds = len(set(seeds))
    checked_level(level)
    if center is None or spread is None:
        return PairedDifference(center, None, None, None, len(pairs), num_seeds)
    unanimous = no_spread(spread, center)
    if unanimous:  # rounding must neither widen the interval nor count as better
        center, spread = (0.0 if abs(center) <= SAME else center), 0.0
    p_value = t_test_p_value(center, spread, num_seeds)
    known = not unanimous or center == 0.0 or p_value <= 1 - level
    interval = t_interval(center, spread, num_seeds, level=level) if known else None
    return PairedDifference(center, spread, interval, p_value, len(pairs), num_seeds)


def verdict(
    interval: Interval | None, *, margin: float = 0.0, lower_is_better: bool = False
) -> Verdict:
    """Says what an interval of candidate minus reference means.

    Args:
        interval: None, as of a single seed, is undecided.
        margin: Largest difference that does not matter. An interval within plus or minus margin
            is tied, even if it leaves 0 out: the two one-sided tests of Schuirmann 1987, each
            at ``(1 - level) / 2``.
        lower_is_better: True for steps, tokens and cost.

    Raises:
        StatisticsError: The margin is negative, NaN or infinite.
    """
    if not 0 <= margin < math.inf:
        raise StatisticsError(f"a margin is 0 or more, found {margin}")
    if interval is None:
        return Verdict.UNDECIDED
    if -margin <= interval.low and interval.high <= margin:
        return Verdict.TIED
    if interval.low > 0:
        return Verdict.WORSE if lower_is_better else Verdict.BETTER
    if interval.high < 0:
        return Verdict.BETTER if lower_is_better else Verdict.WORSE
    return Verdict.UNDECIDED


def mcnemar_p_value(num_only_candidate: int, num_only_reference: int) -> float:
    """Returns the exact two-sided p-value that two variants succeed equally often.

    McNemar 1947 in its exact, binomial form. It takes the pairs as independent, which holds within
    one task (one pair a seed); over several tasks use `paired_difference`.

    Args:
        num_only_candidate: Pairs that only the candidate solved.
        num_only_reference: Pairs that only the reference solved.

    Raises:
        StatisticsError: A count is negative.
    """
    fewer, more = sorted((num_only_candidate, num_only_reference))
    if fewer < 0:
        raise StatisticsError(f"a count is 0 or more, found {fewer}")
    term, tail = 1, 1
    for k in range(1, fewer + 1):
        term = term * (fewer + more - k + 1) // k
        tail += term
    return min(1.0, 2 * tail / (1 << (fewer + more)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Returns p-values adjusted for having made several comparisons, in the given order.

    Holm 1979: rejecting where the adjusted value is at most alpha errs anywhere among the
    comparisons with probability at most alpha, however they depend on each other.

    Raises:
        StatisticsError: A value is NaN or not within [0, 1].
    """
    check_finite(p_values)
    if any(not 0 <= p_value <= 1 for p_value in p_values):
        raise StatisticsError("a p-value lies between 0 and 1")
    adjusted = [0.0] * len(p_values)
    running = 0.0
    ascending = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, index in enumerate(ascending):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)
