"""How small a difference a run can show, and how many seeds it takes; from the spread alone.

None of it looks at the estimate: "N more seeds would decide" is post-hoc power, which says little
(Hoenig and Heisey 2001) and tempts into looking until something shows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.intervals import checked_level, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

POWER: Final = 0.8
"""Probability with which what is called detectable is detected."""
MAX_SEEDS: Final = 100_000
_RANGE: Final = (0.1, 0.9)
"""Of the standard deviations that fit the observed one; four of five times it lies within."""


def detectable_difference(
    standard_error: float, num_clusters: int, *, power: float = POWER, level: float = 0.95
) -> float:
    """Returns the smallest true difference that a run of this size detects.

    Detected means that Student's two-sided t-test at ``1 - level`` finds it, on its own side,
    with probability ``power``. From the noncentral t distribution (Cohen 1988), not its normal
    approximation, which promises too much for few seeds; the plan is Miller 2024's.

    Args:
        standard_error: Of the mean difference, clustered by seed.
        num_clusters: Seeds behind it, at least 2.
        power: Probability of detection, from 0.5 to below 1.
        level: Confidence level; after Holm 1 - 0.05 / number of comparisons.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    from scipy.special import nctdtrinc

    if not 0 <= standard_error < math.inf:
        raise StatisticsError(f"a standard error is finite and 0 or more, found {standard_error}")
    if not 0.5 <= power < 1:  # noqa: PLR2004 -- below, chance alone would do
        raise StatisticsError(f"a power lies between 0.5 and 1, such as 0.8, found {power}")
    critical = t_quantile((1 + checked_level(level)) / 2, num_clusters)
    return float(nctdtrinc(num_clusters - 1, 1 - power, critical)) * standard_error


def seeds_for_margin(
    margin: float, seed_sd: float, num_seen: int, *, level: float = 0.95
) -> tuple[int, int]:
    """Returns how many seeds detect a difference of ``margin``, as a range.

    Detecting is what `detectable_difference` says.

    Args:
        margin: Difference that matters, above 0.
        seed_sd: Standard deviation that a seed adds, as `Evidence.seed_sd`.
        num_seen: Seeds that it was estimated from, at least 2.
        level: Confidence level.

    Returns:
        The ends of a range that holds the right number four times out of five.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    return _seeds(
        lambda sd, n: detectable_difference(sd / math.sqrt(n), n, level=level),
        margin, seed_sd, num_seen,
    )  # fmt: skip


def seeds_for_half_width(
    half_width: float, seed_sd: float, num_seen: int, *, level: float = 0.95
) -> tuple[int, int]:
    """Returns how many seeds make an interval of ± ``half_width``; as `seeds_for_margin`."""
    probability = (1 + checked_level(level)) / 2
    return _seeds(
        lambda sd, n: t_quantile(probability, n) * sd / math.sqrt(n), half_width, seed_sd, num_seen
    )


def _seeds(
    reached: Callable[[float, int], float], wanted: float, seed_sd: float, num_seen: int
) -> tuple[int, int]:
    from scipy.special import chdtri

    if not (0 < wanted < math.inf and 0 <= seed_sd < math.inf):
        raise StatisticsError(f"expected a width above 0 and a spread, found {wanted}, {seed_sd}")
    freedom = num_seen - 1
    if freedom < 1:
        raise StatisticsError(f"expected at least 2 seeds, found {num_seen}")
    # Cochran: the sum of squares over the true variance is chi-squared.
    spreads = [seed_sd * math.sqrt(freedom / float(chdtri(freedom, each))) for each in _RANGE]
    low, high = (_fewest(lambda n, sd=sd: reached(sd, n) <= wanted) for sd in spreads)  # type: ignore[misc]
    return low, high


def _fewest(enough: Callable[[int], bool]) -> int:
    upper = 2
    while not enough(upper) and upper < MAX_SEEDS:
        upper *= 2
    lower = upper // 2
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper
