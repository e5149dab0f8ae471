"""What episodes say about a mean, a share, a difference or a ratio: an estimate and its intervals.

Episodes of one seed share their layout, so all of it is clustered by seed (Miller 2024, "Adding
Error Bars to Evals", arXiv 2411.00640), with Student's t for the few seeds there are.

Metrics within [0, 1] get Wilson's interval from an effective number of episodes (Korn and Graubard
1998), and their differences MOVER from two such intervals and the correlation of the seeds. How
much the episodes of a seed have in common cannot be seen where nothing varies, which is where good
agents live. So a prior is mixed in: `PRIOR_CORRELATION`, worth `PRIOR_WEIGHT` of variance. It
decides at 0 and 1, and is not felt in the middle.

Everything else is a mean with Student's t. Where all seeds agree that has no width, and is
believed only once the sign test agrees (six seeds at 95 %). A change in percent is a ratio, with
Fieller's limits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import SAME, check_finite, no_spread
from pytest_babyai.statistics.intervals import (
    Interval,
    checked_level,
    fieller_limits,
    mover_limits,
    score_limits,
    t_quantile,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Pair = tuple[str, int]

PRIOR_CORRELATION: Final = 0.2
"""Between the episodes of a seed, before any was seen: a design effect of 1.8 for five tasks."""
PRIOR_WEIGHT: Final = 2.5
"""Sum of squares that the prior is worth; 10 episodes at 50 %, or 250 at 99 %."""
_MIN_SEEDS: Final = 2
_MIN_LOG_P: Final = -36.0
_NUM_HALVINGS: Final = 45


@dataclass(frozen=True, slots=True)
class Evidence:
    """An estimate, and how surely it is known.

    Attributes:
        estimate: Of the mean, share, difference, or change in percent.
        num_values: Episodes or pairs behind it.
        num_seeds: Seeds among them.
        seed_sd: Standard deviation that one seed adds; divided by the root of their number it is
            the standard error. None for a single seed.
        limits: Lower and upper confidence limit at a level; None where nothing can be said.
    """

    estimate: float
    num_values: int
    num_seeds: int
    seed_sd: float | None
    limits: Callable[[float], tuple[float, float] | None]

    @property
    def standard_error(self) -> float | None:
        """Standard error of the estimate, None for a single seed."""
        return None if self.seed_sd is None else self.seed_sd / math.sqrt(self.num_seeds)

    def interval(self, level: float = 0.95) -> Interval | None:
        """Returns the two-sided confidence interval; None for a single seed, or few that agree."""
        found = self.limits(checked_level(level)) if self.num_seeds >= _MIN_SEEDS else None
        return None if found is None else Interval(*found, level)

    def p_value(self, bound: float = 0.0) -> float:
        """Returns the two-sided p-value of the truth being ``bound``.

        It is where the interval just touches the bound, so the two never disagree.
        """
        inside, outside = _MIN_LOG_P, 0.0
        if self.estimate == bound or self._contains(bound, outside):
            return 1.0
        if not self._contains(bound, inside):
            return math.exp(inside)
        for _ in range(_NUM_HALVINGS):
            middle = (inside + outside) / 2
            if self._contains(bound, middle):
                inside = middle
            else:
                outside = middle
        return math.exp(outside)

    def _contains(self, bound: float, log_p: float) -> bool:
        # Close to 1 the level itself would be rounded to 1, so it is kept just below.
        found = self.interval(min(max(-math.expm1(log_p), 1e-12), 1 - 1e-15))
        return found is None or found.low <= bound <= found.high


def mean_evidence(
    values: Mapping[Pair, Sequence[float]], *, low: float = -math.inf, high: float = math.inf
) -> Evidence:
    """Returns what episodes say about their mean.

    Args:
        values: By (task, seed), one per episode; at least one.
        low: Least value that the metric can have. With ``high`` it makes the metric a share.
        high: Greatest value.

    Raises:
        StatisticsError: There is no value, or one is NaN, infinite or out of range.
    """
    clusters = _clusters(values, low, high)
    if math.isfinite(low) and math.isfinite(high):
        return _share(clusters, low, high)
    found = _Side.of(clusters)
    return _student(found.mean, found.variance, found, lambda ends: (max(low, ends[0]), ends[1]))


def difference_evidence(
    candidate: Mapping[Pair, Sequence[float]],
    reference: Mapping[Pair, Sequence[float]],
    *,
    low: float = -math.inf,
    high: float = math.inf,
) -> Evidence:
    """Returns what the (task, seed) pairs that both sides have say about candidate - reference.

    Args:
        candidate: Values by (task, seed); repeats of a pair are averaged.
        reference: The same for what is subtracted.
        low: As in `mean_evidence`.
        high: As in `mean_evidence`.

    Raises:
        StatisticsError: As `mean_evidence`, or there is no common pair.
    """
    first, second = _paired(candidate, reference, low, high)
    if math.isfinite(low) and math.isfinite(high):
        return _share_difference(_Side.of(first), _Side.of(second), low, high)
    apart = {
        seed: [a - b for a, b in zip(values, second[seed], strict=True)]
        for seed, values in first.items()
    }
    found = _Side.of(apart)
    return _student(found.mean, found.variance, found, lambda ends: ends)


def ratio_evidence(
    candidate: Mapping[Pair, Sequence[float]], reference: Mapping[Pair, Sequence[float]]
) -> Evidence:
    """Returns what common pairs say about the change in percent of the reference's mean.

    Raises:
        StatisticsError: As `difference_evidence`, or the reference's mean is not above 0.
    """
    first, second = (_Side.of(side) for side in _paired(candidate, reference, -math.inf, math.inf))
    if second.mean <= 0:
        raise StatisticsError(f"there is no percentage of {second.mean:g}")
    ratio, both = first.mean / second.mean, _covariance(first, second)
    variance = first.variance - 2 * ratio * both + ratio * ratio * second.variance
    spread = math.sqrt(max(0.0, variance)) / second.mean
    covariance = (first.variance, second.variance, both)

    def limits(level: float) -> tuple[float, float] | None:
        if no_spread(spread, ratio):
            return _agreed(100 * (ratio - 1), first.num_seeds, level)
        critical = t_quantile((1 + level) / 2, first.num_seeds)
        ends = fieller_limits((first.mean, second.mean), covariance, critical)
        return ends and (max(-100.0, 100 * (ends[0] - 1)), 100 * (ends[1] - 1))

    sd = 100 * spread * math.sqrt(first.num_seeds) if first.num_seeds >= _MIN_SEEDS else None
    return Evidence(100 * (ratio - 1), first.num_values, first.num_seeds, sd, limits)


@dataclass(frozen=True, slots=True)
class _Side:
    """Values of one side: their mean, and how far each seed's sum lies from it."""

    mean: float
    num_values: int
    deviations: tuple[float, ...]
    size: float
    """Episodes of a seed, as its values see it (Kish)."""
    is_binary: bool

    @classmethod
    def of(cls, clusters: Mapping[int, Sequence[float]]) -> _Side:
        values = [value for members in clusters.values() for value in members]
        center = math.fsum(values) / len(values)
        return cls(
            center,
            len(values),
            tuple(math.fsum(each) - len(each) * center for each in clusters.values()),
            sum(len(each) ** 2 for each in clusters.values()) / len(values),
            all(value in (0.0, 1.0) for value in values),
        )

    @property
    def num_seeds(self) -> int:
        return len(self.deviations)

    @property
    def variance(self) -> float:
        """Of the mean, clustered by seed (CR1)."""
        return _covariance(self, self)

    @property
    def squares(self) -> float:
        """The seeds' sum of squares, prior included."""
        prior = 1 + (self.size - 1) * PRIOR_CORRELATION
        return self.variance * self.num_values**2 + PRIOR_WEIGHT * prior

    def effective_size(self) -> float:
        """Number of independent values that would tell as much."""
        binomial = self.num_values * self.mean * (1 - self.mean)
        effect = self.squares / (binomial + PRIOR_WEIGHT)
        return self.num_values / (max(1.0, effect) if self.is_binary else effect)


def _covariance(first: _Side, second: _Side) -> float:
    if first.num_seeds < _MIN_SEEDS:
        return 0.0
    total = math.fsum(a * b for a, b in zip(first.deviations, second.deviations, strict=True))
    correction = first.num_seeds / (first.num_seeds - 1)
    return total * correction / (first.num_values * second.num_values)


def _share(clusters: Mapping[int, Sequence[float]], low: float, high: float) -> Evidence:
    scaled, span = _scaled(clusters, low, high), high - low
    side = _Side.of(scaled)
    size = side.effective_size()
    # Where nothing varies the prior alone decides, and it must not say less than one miss would.
    near = _Side.of(_with_one_miss(scaled, side.mean)) if side.mean in {0.0, 1.0} else None

    def limits(level: float) -> tuple[float, float]:
        critical = t_quantile((1 + level) / 2, side.num_seeds)
        found = score_limits(side.mean, size, critical)
        if near is not None:
            other = score_limits(near.mean, near.effective_size(), critical)
            found = (
                max(found[0], other[0]) if side.mean else found[0],
                found[1] if side.mean else min(found[1], other[1]),
            )
        return low + span * found[0], low + span * found[1]

    spread = _seed_sd(side, _shrunk_variance(side, size))
    estimate = low + span * side.mean
    return Evidence(estimate, side.num_values, side.num_seeds, spread and span * spread, limits)


def _with_one_miss(
    clusters: Mapping[int, Sequence[float]], mean: float
) -> Mapping[int, Sequence[float]]:
    """Returns values that are all equal with one of them at the other end."""
    first = next(iter(clusters))
    return {**clusters, first: [1.0 - mean, *clusters[first][1:]]}


def _share_difference(first: _Side, second: _Side, low: float, high: float) -> Evidence:
    # The sides were scaled to [0, 1] by `_paired`, together with what they may be.
    span = high - low
    sizes = first.effective_size(), second.effective_size()
    both = _covariance(first, second) * first.num_values * second.num_values
    correlation = max(-1.0, min(1.0, both / math.sqrt(first.squares * second.squares)))

    def limits(level: float) -> tuple[float, float]:
        critical = t_quantile((1 + level) / 2, first.num_seeds)
        ours = (first.mean, *score_limits(first.mean, sizes[0], critical))
        theirs = (second.mean, *score_limits(second.mean, sizes[1], critical))
        found = mover_limits(ours, theirs, correlation)
        return span * max(-1.0, found[0]), span * min(1.0, found[1])

    own, other = _shrunk_variance(first, sizes[0]), _shrunk_variance(second, sizes[1])
    variance = own + other - 2 * correlation * math.sqrt(own * other)
    spread = _seed_sd(first, variance)
    estimate = span * (first.mean - second.mean)
    return Evidence(estimate, first.num_values, first.num_seeds, spread and span * spread, limits)


def _shrunk_variance(side: _Side, size: float) -> float:
    rate = (side.mean * size + 2) / (size + 4)  # Agresti and Coull: never 0, never 1
    return rate * (1 - rate) / size


def _seed_sd(side: _Side, variance: float) -> float | None:
    return math.sqrt(max(0.0, variance) * side.num_seeds) if side.num_seeds >= _MIN_SEEDS else None


def _student(
    estimate: float,
    variance: float,
    side: _Side,
    clip: Callable[[tuple[float, float]], tuple[float, float]],
) -> Evidence:
    spread = math.sqrt(variance)

    def limits(level: float) -> tuple[float, float] | None:
        if no_spread(spread, estimate):
            return _agreed(estimate, side.num_seeds, level)
        half = t_quantile((1 + level) / 2, side.num_seeds) * spread
        return clip((estimate - half, estimate + half))

    return Evidence(estimate, side.num_values, side.num_seeds, _seed_sd(side, variance), limits)


def _agreed(estimate: float, num_seeds: int, level: float) -> tuple[float, float] | None:
    center = 0.0 if abs(estimate) <= SAME else estimate
    return (center, center) if 2.0 ** (1 - num_seeds) <= 1 - level else None


def _paired(
    candidate: Mapping[Pair, Sequence[float]],
    reference: Mapping[Pair, Sequence[float]],
    low: float,
    high: float,
) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    common = sorted(candidate.keys() & reference.keys())
    if not common:
        raise StatisticsError("there is no (task, seed) in common")
    sides = (
        _clusters({pair: [math.fsum(side[pair]) / len(side[pair])] for pair in common}, low, high)
        for side in (candidate, reference)
    )
    if math.isfinite(low) and math.isfinite(high):
        sides = (_scaled(side, low, high) for side in sides)
    first, second = sides
    return first, second


def _scaled(
    clusters: Mapping[int, Sequence[float]], low: float, high: float
) -> dict[int, list[float]]:
    return {seed: [(v - low) / (high - low) for v in values] for seed, values in clusters.items()}


def _clusters(
    values: Mapping[Pair, Sequence[float]], low: float, high: float
) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for (_, seed), group in sorted(values.items()):
        check_finite(group)
        for value in group:
            if not low <= value <= high:
                raise StatisticsError(f"expected values from {low:g} to {high:g}, found {value:g}")
        found.setdefault(seed, []).extend(group)
    if not any(found.values()):
        raise StatisticsError("there is no value")
    return found
