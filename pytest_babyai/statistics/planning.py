"""How small a difference a run can show, and how many seeds it takes."""

from __future__ import annotations

import math

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.intervals import checked_level, t_quantile


def detectable_difference(
    standard_error: float, num_clusters: int, *, power: float = 0.8, level: float = 0.95
) -> float:
    """Returns the smallest true difference that a run of this size detects.

    Detected means that Student's two-sided t-test at ``1 - level`` finds it, on its own side,
    with probability ``power``. From the noncentral t distribution (Cohen 1988), not its normal
    approximation, which promises too much for few seeds; the plan is Miller 2024's.

    Args:
        standard_error: Of the mean difference, clustered by seed.
        num_clusters: Seeds behind it, at least 2.
        power: Probability of detection, from 0.5 to below 1.
        level: Confidence level, between 0 and 1.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range.
    """
    from scipy.special import nctdtrinc

    if not 0 <= standard_error < math.inf:
        raise StatisticsError(f"a standard error is finite and 0 or more, found {standard_error}")
    critical = t_quantile((1 + checked_level(level)) / 2, num_clusters)
    missed = 1 - _checked_power(power)
    return float(nctdtrinc(num_clusters - 1, missed, critical)) * standard_error


def num_seeds_needed(
    difference: float, seed_sd: float, *, power: float = 0.8, level: float = 0.95
) -> int:
    """Returns the fewest seeds whose `detectable_difference` is ``difference`` or less.

    Args:
        difference: True difference that matters; its sign does not.
        seed_sd: Standard deviation from seed to seed of a seed's mean difference, as in
            `PairedDifference.seed_sd`.
        power: As in `detectable_difference`.
        level: As in `detectable_difference`.

    Raises:
        StatisticsError: A number is NaN, infinite or out of range, or the difference is 0.
    """
    if not 0 < abs(difference) < math.inf:
        raise StatisticsError(f"a difference to detect is finite and not 0, found {difference}")

    def enough(num_seeds: int) -> bool:
        smallest = detectable_difference(
            seed_sd / math.sqrt(num_seeds), num_seeds, power=power, level=level
        )
        return smallest <= abs(difference)

    upper = 2
    while not enough(upper):
        upper *= 2
    lower = upper // 2
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper


def _checked_power(power: float) -> float:
    if not 0.5 <= power < 1:  # noqa: PLR2004 -- below, chance alone would do
        raise StatisticsError(f"a power lies between 0.5 and 1, such as 0.8, found {power}")
    return power
