"""Confidence intervals and the tests that go with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import SAME, check_finite, no_spread


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval at ``level``, such as 0.95; both ends belong to it."""

    low: float
    high: float
    level: float


def t_interval(
    center: float, standard_error: float, num_clusters: int, *, level: float = 0.95
) -> Interval:
    """Returns Student's t-interval around a mean, with ``num_clusters - 1`` degrees of freedom.

    Student 1908; for few clusters Bell and McCaffrey 2002. ``num_clusters`` is the number of
    values where the standard error is not clustered.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    check_finite([center, standard_error])
    half = t_quantile((1 + checked_level(level)) / 2, num_clusters) * standard_error
    return Interval(center - half, center + half, level)


def t_test_p_value(center: float, standard_error: float, num_clusters: int) -> float:
    """Returns the two-sided p-value of Student's t-test that the true mean is 0.

    Where all clusters agree (no spread) t is infinite whatever their number, so two seeds would
    "prove" anything; the sign test, ``2 ** (1 - num_clusters)``, takes its place.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    from scipy.special import stdtr  # scipy.stats would cost four times as much

    check_finite([center, standard_error])
    check_clusters(num_clusters)
    if no_spread(standard_error, center):
        return 1.0 if abs(center) <= SAME else 2.0 ** (1 - num_clusters)
    return float(2 * stdtr(num_clusters - 1, -abs(center) / standard_error))


def wilson_interval(
    num_successes: int, num_episodes: int, *, level: float = 0.95, design_effect: float = 1.0
) -> Interval | None:
    """Returns the score interval of a success rate, None of no episodes.

    Wilson 1927; it stays within [0, 1] and has width at 0 and 1. For clustered episodes
    ``design_effect`` shrinks the number of episodes to the effective one (Korn and Graubard 1998;
    Franco, Little, Louis and Slud 2019).

    Raises:
        StatisticsError: A number is out of range.
    """
    if not 0 <= num_successes <= num_episodes:
        raise StatisticsError(f"{num_successes} of {num_episodes} episodes cannot be successes")
    if not 1 <= design_effect < math.inf:
        raise StatisticsError(f"a design effect is at least 1, found {design_effect}")
    z = _normal_quantile((1 + checked_level(level)) / 2)
    if num_episodes == 0:
        return None
    rate, size = num_successes / num_episodes, num_episodes / design_effect
    center = (rate + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(rate * (1 - rate) / size + (z / (2 * size)) ** 2)
    low = 0.0 if num_successes == 0 else max(0.0, center - half)
    return Interval(low, 1.0 if num_successes == num_episodes else min(1.0, center + half), level)


def t_quantile(probability: float, num_clusters: int) -> float:
    """Returns the quantile of Student's t with ``num_clusters - 1`` degrees of freedom.

    Raises:
        StatisticsError: There are fewer than two clusters.
    """
    from scipy.special import stdtrit

    check_clusters(num_clusters)
    return float(stdtrit(num_clusters - 1, probability))


def checked_level(level: float) -> float:
    """Returns the confidence level if it lies between 0 and 1.

    Raises:
        StatisticsError: It does not, or is NaN.
    """
    if not 0 < level < 1:
        raise StatisticsError(f"a level lies between 0 and 1, such as 0.95, found {level}")
    return level


def check_clusters(num_clusters: int) -> None:
    """Refuses fewer clusters than a spread needs.

    Raises:
        StatisticsError: There are fewer than two clusters.
    """
    if num_clusters < 2:  # noqa: PLR2004 -- a spread needs two
        raise StatisticsError(f"expected at least 2 clusters, found {num_clusters}")


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)
