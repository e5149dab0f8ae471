"""Means, intervals, paired comparisons and plans: pure functions.

Episodes of one seed share their layout, so whatever claims confidence clusters by seed (Miller
2024, "Adding Error Bars to Evals", arXiv 2411.00640). Undefined is None; a number that is NaN or
infinite raises `StatisticsError`. The functions of the default table (`mean`, `sem`, `estimate`)
need the standard library only; Student's t comes from ``scipy.special``, imported on first use.
"""

from pytest_babyai.statistics.comparison import (
    PairedDifference,
    Verdict,
    holm,
    mcnemar_p_value,
    paired_difference,
    verdict,
)
from pytest_babyai.statistics.estimates import (
    Estimate,
    clustered_sem,
    design_effect,
    estimate,
    mean,
    sem,
)
from pytest_babyai.statistics.intervals import (
    Interval,
    t_interval,
    t_test_p_value,
    wilson_interval,
)
from pytest_babyai.statistics.planning import detectable_difference, num_seeds_needed

__all__ = [
    "Estimate",
    "Interval",
    "PairedDifference",
    "Verdict",
    "clustered_sem",
    "design_effect",
    "detectable_difference",
    "estimate",
    "holm",
    "mcnemar_p_value",
    "mean",
    "num_seeds_needed",
    "paired_difference",
    "sem",
    "t_interval",
    "t_test_p_value",
    "verdict",
    "wilson_interval",
]
