"""Means, intervals, multiple comparisons, plans and sequential tests: pure functions.

Whatever claims confidence clusters by seed. Undefined is None; a number that is NaN or infinite
raises `StatisticsError`. `mean`, `sem` and `estimate` need the standard library only; scipy and
numpy are imported on first use.
"""

from pytest_babyai.statistics.estimates import (
    Estimate,
    clustered_sem,
    estimate,
    mean,
    pass_at_k,
    pass_hat_k,
    sem,
)
from pytest_babyai.statistics.evidence import (
    Evidence,
    difference_evidence,
    mean_evidence,
    ratio_evidence,
)
from pytest_babyai.statistics.intervals import Interval, t_interval, wilson_interval
from pytest_babyai.statistics.multiplicity import holm, holm_alphas
from pytest_babyai.statistics.planning import (
    detectable_difference,
    seeds_for_half_width,
    seeds_for_margin,
)

__all__ = [
    "Estimate",
    "Evidence",
    "Interval",
    "clustered_sem",
    "detectable_difference",
    "difference_evidence",
    "estimate",
    "holm",
    "holm_alphas",
    "mean",
    "mean_evidence",
    "pass_at_k",
    "pass_hat_k",
    "ratio_evidence",
    "seeds_for_half_width",
    "seeds_for_margin",
    "sem",
    "t_interval",
    "wilson_interval",
]
