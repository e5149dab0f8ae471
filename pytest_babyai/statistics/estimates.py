"""Means and their standard errors, plain and clustered; chances of several tries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.errors import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

SAME = 1e-12
"""Spread, relative to the mean, below which values differ by rounding only."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, its standard error and the number of values behind them; None is undefined."""

    mean: float | None
    sem: float | None
    n: int


def mean(values: Sequence[float]) -> float | None:
    """Returns the arithmetic mean, None of nothing.

    Raises:
        StatisticsError: A value is NaN or infinite.
    """
    check_finite(values)
    return math.fsum(values) / len(values) if values else None


def sem(values: Sequence[float]) -> float | None:
    """Returns the standard error of the mean of independent values, with n - 1.

    None below two values. Episodes that share seeds are not independent; `clustered_sem` allows
    for it.

    Raises:
        StatisticsError: A value is NaN or infinite.
    """
    return clustered_sem(values, range(len(values)))


def estimate(values: Sequence[float]) -> Estimate:
    """Returns `mean` and `sem` of the values.

    Raises:
        StatisticsError: A value is NaN or infinite.
    """
    return Estimate(mean(values), sem(values), len(values))


def clustered_sem(values: Sequence[float], clusters: Sequence[Hashable]) -> float | None:
    """Returns the standard error of the mean when values of one cluster go together.

    The cluster-robust variance of Miller 2024 (after Liang and Zeger 1986) times G / (G - 1) for
    G clusters, the CR1 correction for a mean. It is `sem` exactly where every value is its own
    cluster. Degrees of freedom: G - 1.

    Args:
        values: One value per episode.
        clusters: The cluster of each value, for instance its seed.

    Returns:
        The standard error, None below two clusters.

    Raises:
        StatisticsError: A value is NaN or infinite, or the lengths differ.
    """
    center = mean(values)
    if len(values) != len(clusters):
        raise StatisticsError(f"found {len(values)} values but {len(clusters)} clusters")
    residuals: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        residuals.setdefault(cluster, []).append(value - (center or 0.0))
    num_clusters = len(residuals)
    if num_clusters < 2:  # noqa: PLR2004 -- a spread needs two
        return None
    total = math.fsum(math.fsum(members) ** 2 for members in residuals.values())
    return math.sqrt(total * num_clusters / (num_clusters - 1)) / len(values)


def pass_at_k(num_solved: int, num_tries: int, k: int) -> float:
    """Returns the unbiased estimate that at least one of ``k`` tries solves the level.

    Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374).

    Raises:
        StatisticsError: There are fewer than ``k`` tries, or more solved than tried.
    """
    _check_tries(num_solved, num_tries, k)
    return 1 - math.comb(num_tries - num_solved, k) / math.comb(num_tries, k)


def pass_hat_k(num_solved: int, num_tries: int, k: int) -> float:
    """Returns the unbiased estimate that all of ``k`` tries solve the level (pass^k).

    Yao et al. 2024, "tau-bench" (arXiv 2406.12045).

    Raises:
        StatisticsError: As `pass_at_k`.
    """
    _check_tries(num_solved, num_tries, k)
    return math.comb(num_solved, k) / math.comb(num_tries, k)


def no_spread(standard_error: float, center: float) -> bool:
    """Returns whether values around ``center`` differ by rounding at most."""
    return standard_error <= SAME * max(1.0, abs(center))


def check_finite(values: Sequence[float]) -> None:
    """Refuses NaN and infinity.

    Raises:
        StatisticsError: A value is NaN or infinite.
    """
    for position, value in enumerate(values):
        if not math.isfinite(value):
            raise StatisticsError(f"expected finite numbers, found {value} at position {position}")


def _check_tries(num_solved: int, num_tries: int, k: int) -> None:
    if not 1 <= k <= num_tries:
        raise StatisticsError(f"k lies between 1 and the {num_tries} tries, found {k}")
    if not 0 <= num_solved <= num_tries:
        raise StatisticsError(f"{num_solved} of {num_tries} tries cannot be solved")
