"""What the episodes say about a bound: an interval, a p-value, and how many seeds would tell more.

Two kinds. A share of episodes whose bound is absolute gets Wilson's interval, which has width at 0
and 1, with the effective number of episodes that clustering by seed leaves (Korn and Graubard
1998, Student's t for the few seeds included). Everything else, and every change, is a mean with
Student's t clustered by seed, as `paired_difference` has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from pytest_babyai.statistics import (
    Interval,
    design_effect,
    num_seeds_needed,
    paired_difference,
    t_test_p_value,
    wilson_interval,
)
from pytest_babyai.statistics.intervals import t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_babyai.gate.metrics import Pair
    from pytest_babyai.statistics import PairedDifference

POWER: Final = 0.8
"""Probability with which the stated number of seeds decides, if the estimate is the truth."""

MAX_SEEDS: Final = 10_000
"""Beyond it nobody is told to play more seeds."""

_MIN_CLUSTERS: Final = 2


class Evidence(Protocol):
    """What gates ask. Every quantity is told as its excess over the bound.

    Attributes:
        excess: Estimate minus bound.
        interval: Confidence interval of it; None where there is too little to make one of.
        p_value: Two-sided, for the truth being the bound; goes with the interval. None as above.
        unanimous: Whether all of at least two seeds came to exactly the same.
        num_values: Episodes or pairs behind it.
        num_seeds: Seeds among them.
    """

    @property
    def excess(self) -> float: ...  # noqa: D102 -- told above

    @property
    def interval(self) -> Interval | None: ...  # noqa: D102

    @property
    def p_value(self) -> float | None: ...  # noqa: D102

    @property
    def unanimous(self) -> bool: ...  # noqa: D102

    @property
    def num_values(self) -> int: ...  # noqa: D102

    @property
    def num_seeds(self) -> int: ...  # noqa: D102

    def seeds_to_decide(self, level: float) -> int | None:
        """Returns how many seeds decide with probability `POWER`, None above `MAX_SEEDS`."""
        ...


@dataclass(frozen=True, slots=True)
class MeanEvidence:
    """An `Evidence` from a mean clustered by seed.

    Attributes:
        difference: Values minus what the bound makes of the reference; has a pair at least.
        unit: What counts as 1: the reference's mean for a change in percent.
    """

    difference: PairedDifference
    unit: float = 1.0

    @property
    def excess(self) -> float:
        """Estimate minus bound."""
        return (self.difference.mean or 0.0) / self.unit

    @property
    def interval(self) -> Interval | None:
        """Student's t-interval of the excess, None for a single seed or few that agree."""
        found = self.difference.interval
        if found is None:
            return None
        return Interval(found.low / self.unit, found.high / self.unit, found.level)

    @property
    def p_value(self) -> float | None:
        """Two-sided."""
        return self.difference.p_value

    @property
    def unanimous(self) -> bool:
        """Whether all of at least two seeds came to exactly the same."""
        return self.difference.sem == 0

    @property
    def num_values(self) -> int:
        """Pairs behind it."""
        return self.difference.num_pairs

    @property
    def num_seeds(self) -> int:
        """Seeds among them."""
        return self.difference.num_seeds

    def seeds_to_decide(self, level: float) -> int | None:
        """Returns how many seeds decide; seeds that all agree need as many as the sign test."""
        spread, mean = self.difference.seed_sd, self.difference.mean
        if not mean:
            return None
        if not spread:
            return _sign_test_seeds(level)
        # Far from deciding, the exact search would be long, and its answer of no use.
        if spread / abs(mean) > math.sqrt(MAX_SEEDS):
            return None
        needed = num_seeds_needed(mean, spread, power=POWER, level=level)
        return needed if needed <= MAX_SEEDS else None


@dataclass(frozen=True, slots=True)
class ShareEvidence:
    """An `Evidence` from counted episodes and an absolute bound within (0, 1).

    Attributes:
        num_successes: Episodes that have what is counted.
        num_values: All of them, at least 1.
        num_seeds: Seeds among them.
        effect: Design effect of the seeds, at least 1.
        bound: The floor or ceiling.
        level: Confidence level of the interval.
    """

    num_successes: int
    num_values: int
    num_seeds: int
    effect: float
    bound: float
    level: float

    @property
    def excess(self) -> float:
        """Estimate minus bound."""
        return self.num_successes / self.num_values - self.bound

    @property
    def interval(self) -> Interval | None:
        """Wilson's interval less the bound, None for a single seed."""
        if self.num_seeds < _MIN_CLUSTERS:
            return None
        effect = self.effect * _few_seeds_factor(self.num_seeds, self.level)
        found = wilson_interval(
            self.num_successes, self.num_values, level=self.level, design_effect=effect
        )
        return found and Interval(found.low - self.bound, found.high - self.bound, self.level)

    @property
    def p_value(self) -> float | None:
        """The score test's, two-sided, with Student's t for the number of seeds."""
        if self.num_seeds < _MIN_CLUSTERS:
            return None
        variance = self.bound * (1 - self.bound) * self.effect / self.num_values
        return t_test_p_value(self.excess, math.sqrt(variance), self.num_seeds)

    @property
    def unanimous(self) -> bool:
        """Always False: that all episodes agree is no reason to expect the next to do so."""
        return False

    def seeds_to_decide(self, level: float) -> int | None:
        """Returns how many seeds decide, were their episodes like these."""
        if self.num_seeds < _MIN_CLUSTERS:
            return _sign_test_seeds(level)
        if self.excess == 0:
            return None
        z, power = _normal_quantile((1 + level) / 2), _normal_quantile(POWER)
        rate = self.bound + self.excess
        spreads = [math.sqrt(max(0.0, p * (1 - p))) for p in (self.bound, rate)]
        effective = ((z * spreads[0] + power * spreads[1]) / self.excess) ** 2
        per_seed = self.num_values / self.num_seeds / self.effect
        return _fewest(
            lambda n: n * per_seed >= effective * _few_seeds_factor(n, level), _MIN_CLUSTERS
        )


def mean_evidence(
    values: Mapping[Pair, float],
    target: Mapping[Pair, float],
    *,
    level: float,
    unit: float = 1.0,
) -> MeanEvidence:
    """Compares values with what the bound makes of the reference, pair by pair.

    Args:
        values: Value by (task, seed).
        target: By (task, seed), the value at which the bound would just be met: the bound itself,
            or the reference's value plus a change, or times a factor.
        level: Confidence level of the interval.
        unit: What counts as 1 in the evidence.
    """
    return MeanEvidence(paired_difference(values, target, level=level), unit)


def share_evidence(
    by_pair: Mapping[Pair, Sequence[float]], bound: float, *, level: float
) -> ShareEvidence:
    """Counts episodes whose values are 0 or 1; several of a pair are of one seed as well."""
    values = [value for group in by_pair.values() for value in group]
    seeds = [seed for (_, seed), group in by_pair.items() for _ in group]
    return ShareEvidence(
        num_successes=round(math.fsum(values)),
        num_values=len(values),
        num_seeds=len(set(seeds)),
        effect=design_effect(values, seeds),
        bound=bound,
        level=level,
    )


def _few_seeds_factor(num_seeds: int, level: float) -> float:
    # Korn and Graubard's degrees of freedom: the seeds' spread is itself estimated.
    probability = (1 + level) / 2
    return (t_quantile(probability, num_seeds) / _normal_quantile(probability)) ** 2


def _sign_test_seeds(level: float) -> int:
    return 1 + math.ceil(-math.log2(1 - level))


def _fewest(enough: Callable[[int], bool], start: int) -> int | None:
    upper = start
    while not enough(upper):
        upper *= 2
        if upper > 2 * MAX_SEEDS:
            return None
    lower = max(start - 1, upper // 2)
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper if upper <= MAX_SEEDS else None


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist  # a run without gates does not pay for it

    return NormalDist().inv_cdf(probability)
