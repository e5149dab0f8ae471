"""Confidence intervals of one mean, share, difference or ratio, as formulas of plain numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import check_finite


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at ``level``, such as 0.95; both ends belong to it."""

    low: float
    high: float
    level: float

    @property
    def half_width(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


def t_interval(
    center: float, standard_error: float, num_clusters: int, *, level: float = 0.95
) -> Interval:
    """Returns Student's t-interval around a mean, with ``num_clusters - 1`` degrees of freedom.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    check_finite([center, standard_error])
    half = t_quantile((1 + checked_level(level)) / 2, num_clusters) * standard_error
    return Interval(center - half, center + half, level)


def wilson_interval(
    num_successes: int, num_episodes: int, *, level: float = 0.95
) -> Interval | None:
    """Returns Wilson's score interval (1927) of a rate of independent episodes, None of none.

    Raises:
        StatisticsError: A number is out of range.
    """
    if not 0 <= num_successes <= num_episodes:
        raise StatisticsError(f"{num_successes} of {num_episodes} episodes cannot be successes")
    critical = normal_quantile((1 + checked_level(level)) / 2)
    if num_episodes == 0:
        return None
    return Interval(*score_limits(num_successes / num_episodes, num_episodes, critical), level)


def score_limits(rate: float, size: float, critical: float) -> tuple[float, float]:
    """Returns Wilson's limits of a rate, inside [0, 1] and with width even at 0 and 1.

    Args:
        rate: In [0, 1].
        size: Effective number of independent values behind it, above 0.
        critical: Quantile of the normal distribution, or of Student's t.
    """
    squared = critical * critical
    center = (rate + squared / (2 * size)) / (1 + squared / size)
    half = math.sqrt(rate * (1 - rate) / size + squared / (4 * size * size))
    half *= critical / (1 + squared / size)
    low = 0.0 if rate <= 0 else max(0.0, center - half)
    return low, 1.0 if rate >= 1 else min(1.0, center + half)


def mover_limits(
    first: tuple[float, float, float], second: tuple[float, float, float], correlation: float
) -> tuple[float, float]:
    """Returns limits of a difference from each side's own limits (MOVER).

    Newcombe 1998 (method 10, for pairs); Zou and Donner 2008. Inside [-1, 1] where the sides are
    shares.

    Args:
        first: Estimate, lower and upper limit.
        second: The same of what is subtracted.
        correlation: Of the two estimates, in [-1, 1].
    """
    a, low_a, high_a = first
    b, low_b, high_b = second

    def distance(ours: float, theirs: float) -> float:
        return math.sqrt(max(0.0, ours**2 + theirs**2 - 2 * correlation * ours * theirs))

    below, above = distance(a - low_a, high_b - b), distance(high_a - a, b - low_b)
    return a - b - below, a - b + above


def fieller_limits(
    means: tuple[float, float], covariance: tuple[float, float, float], critical: float
) -> tuple[float, float] | None:
    """Returns limits of the ratio of two means (Fieller 1954), None where they are unbounded.

    Args:
        means: Numerator and denominator.
        covariance: Variance of the numerator's mean, of the denominator's, and their covariance.
        critical: Quantile of Student's t.
    """
    above, below = means
    var_above, var_below, both = covariance
    squared = critical * critical
    leading = below * below - squared * var_below
    if leading <= 0:
        return None
    middle = above * below - squared * both
    last = above * above - squared * var_above
    root = math.sqrt(max(0.0, middle * middle - leading * last))
    return (middle - root) / leading, (middle + root) / leading


def t_quantile(probability: float, num_clusters: int) -> float:
    """Returns the quantile of Student's t with ``num_clusters - 1`` degrees of freedom.

    Raises:
        StatisticsError: There are fewer than two clusters.
    """
    from scipy.special import stdtrit  # scipy.stats would cost four times as much

    if num_clusters < 2:  # noqa: PLR2004 -- a spread needs two
        raise StatisticsError(f"expected at least 2 clusters, found {num_clusters}")
    return float(stdtrit(num_clusters - 1, probability))


def normal_quantile(probability: float) -> float:
    """Returns the quantile of the standard normal distribution."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)


def checked_level(level: float) -> float:
    """Returns the confidence level if it lies between 0 and 1.

    Raises:
        StatisticsError: It does not, or is NaN.
    """
    if not 0 < level < 1:
        raise StatisticsError(f"a level lies between 0 and 1, such as 0.95, found {level}")
    return level
