"""Means and standard errors against hand-computed values and slow definitions."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    Estimate,
    clustered_sem,
    estimate,
    mean,
    pass_at_k,
    pass_hat_k,
    sem,
    t_interval,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

numbers = st.floats(-1e6, 1e6)
clustered = st.lists(st.tuples(numbers, st.integers(0, 4)), min_size=2, max_size=20)


def slow_clustered_sem(values: Sequence[float], clusters: Sequence[int]) -> float:
    """Miller's double sum: own variances plus the covariances within a cluster, times G/(G-1)."""
    center = sum(values) / len(values)
    total = 0.0
    for value, cluster in zip(values, clusters, strict=True):
        for other, other_cluster in zip(values, clusters, strict=True):
            if cluster == other_cluster:
                total += (value - center) * (other - center)
    num_clusters = len(set(clusters))
    return math.sqrt(max(0.0, total) * num_clusters / (num_clusters - 1)) / len(values)


def test_mean_by_hand() -> None:
    assert mean([1.0, 0.0, 0.0, 1.0, 1.0]) == 0.6


def test_mean_of_nothing_is_undefined() -> None:
    assert mean([]) is None


def test_mean_does_not_lose_small_values() -> None:
    assert mean([1e16, 1.0, -1e16]) == 1 / 3


def test_sem_by_hand() -> None:
    # deviations -1, 0, 1: variance 2 / 2 = 1, over 3 values
    assert sem([1.0, 2.0, 3.0]) == pytest.approx(1 / math.sqrt(3))


@pytest.mark.parametrize("values", [[], [0.5]])
def test_sem_needs_two_values(values: list[float]) -> None:
    assert sem(values) is None


def test_estimate_holds_mean_sem_and_count() -> None:
    assert estimate([0.0, 1.0]) == Estimate(0.5, 0.5, 2)


def test_estimate_of_nothing_is_undefined() -> None:
    assert estimate([]) == Estimate(None, None, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(StatisticsError, match=r"expected finite numbers, found .* at position 1"):
        mean([1.0, bad])


@given(st.lists(numbers, min_size=1))
def test_mean_lies_among_the_values(values: list[float]) -> None:
    center = mean(values)
    assert center is not None
    slack = 1e-9 * max(1.0, *map(abs, values))
    assert min(values) - slack <= center <= max(values) + slack


@given(st.lists(numbers, min_size=2, max_size=30), numbers)
def test_sem_ignores_a_shift(values: list[float], shift: float) -> None:
    assert sem([value + shift for value in values]) == pytest.approx(sem(values), abs=1e-6)


@given(st.lists(numbers, min_size=2, max_size=30))
def test_sem_matches_numpy(values: list[float]) -> None:
    slow = np.std(values, ddof=1) / math.sqrt(len(values))
    assert sem(values) == pytest.approx(float(slow), rel=1e-9, abs=1e-6)


def test_clustered_sem_by_hand() -> None:
    # residuals -.5 -.5 | .5 .5: cluster sums -1, 1; sqrt(2 * 2/1) / 4
    assert clustered_sem([0.0, 0.0, 1.0, 1.0], [7, 7, 8, 8]) == 0.5


def test_clustered_sem_of_opposed_members_vanishes() -> None:
    assert clustered_sem([0.0, 1.0, 0.0, 1.0], [7, 7, 8, 8]) == 0.0


def test_clustered_sem_needs_two_clusters() -> None:
    assert clustered_sem([0.0, 1.0, 1.0], [7, 7, 7]) is None


def test_clustered_sem_refuses_unequal_lengths() -> None:
    with pytest.raises(StatisticsError, match="found 2 values but 1 clusters"):
        clustered_sem([0.0, 1.0], [7])


@given(clustered)
def test_clustered_sem_matches_the_double_sum(pairs: list[tuple[float, int]]) -> None:
    values, clusters = [value for value, _ in pairs], [cluster for _, cluster in pairs]
    if len(set(clusters)) > 1:
        slow = slow_clustered_sem(values, clusters)
        assert clustered_sem(values, clusters) == pytest.approx(slow, rel=1e-6, abs=0.05)


@given(st.lists(numbers, min_size=2, max_size=30))
def test_clustered_sem_of_single_members_is_sem(values: list[float]) -> None:
    assert clustered_sem(values, range(len(values))) == sem(values)


@given(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=2, max_size=10))
def test_clustered_sem_of_equal_sizes_is_sem_of_cluster_means(groups: list[list[float]]) -> None:
    values = [value for group in groups for value in group]
    clusters = [number for number, group in enumerate(groups) for _ in group]
    expected = sem([math.fsum(group) / 3 for group in groups])
    assert clustered_sem(values, clusters) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(clustered)
def test_clustered_sem_ignores_order(pairs: list[tuple[float, int]]) -> None:
    shuffled = sorted(pairs)
    first = clustered_sem([value for value, _ in pairs], [cluster for _, cluster in pairs])
    second = clustered_sem([value for value, _ in shuffled], [cluster for _, cluster in shuffled])
    assert first == (None if second is None else pytest.approx(second, rel=1e-9, abs=1e-6))


def test_clustered_intervals_cover_95_percent_where_naive_ones_do_not() -> None:
    random = np.random.default_rng(2024)
    num_runs, num_seeds, num_tasks = 2_000, 20, 5
    layout = random.normal(size=(num_runs, num_seeds, 1))
    luck = random.normal(size=(num_runs, num_seeds, num_tasks))
    runs = (layout + luck).reshape(num_runs, -1)
    seeds = np.repeat(np.arange(num_seeds), num_tasks).tolist()
    clustered_hits = naive_hits = 0
    for values in runs.tolist():
        center, plain, robust = mean(values), sem(values), clustered_sem(values, seeds)
        assert center is not None
        assert plain is not None
        assert robust is not None
        interval = t_interval(center, robust, num_seeds)
        clustered_hits += interval.low <= 0.0 <= interval.high
        naive_hits += abs(center) <= 1.984 * plain
    assert clustered_hits / num_runs == pytest.approx(0.95, abs=0.015)
    assert naive_hits / num_runs < 0.80


def test_default_table_needs_no_scientific_library() -> None:
    program = (
        "import sys; from pytest_babyai.statistics import estimate; estimate([0.0, 1.0]);"
        "print(sorted({'numpy', 'scipy', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("num_solved", "num_tries", "k"), [(0, 4, 2), (1, 4, 2), (3, 5, 3), (5, 5, 1)]
)
def test_pass_at_k_and_pass_hat_k_are_shares_of_all_draws(
    num_solved: int, num_tries: int, k: int
) -> None:
    tries = [number < num_solved for number in range(num_tries)]
    draws = list(itertools.combinations(tries, k))
    assert pass_at_k(num_solved, num_tries, k) == pytest.approx(np.mean([any(d) for d in draws]))
    assert pass_hat_k(num_solved, num_tries, k) == pytest.approx(np.mean([all(d) for d in draws]))


@pytest.mark.parametrize("estimator", [pass_at_k, pass_hat_k])
def test_repeats_estimate_the_chance_of_k_tries_without_bias(
    estimator: Callable[[int, int, int], float],
) -> None:
    # The expectation over all numbers of successes, which scipy weighs.
    chances = [float(stats.binom.pmf(c, 6, 0.3)) for c in range(7)]
    expected = sum(chance * estimator(c, 6, 2) for c, chance in enumerate(chances))
    truth = 1 - 0.7**2 if estimator is pass_at_k else 0.3**2
    assert expected == pytest.approx(truth)


@pytest.mark.parametrize(
    ("num_solved", "num_tries", "k"), [(1, 2, 3), (3, 2, 1), (-1, 2, 1), (0, 2, 0)]
)
def test_impossible_tries_are_refused(num_solved: int, num_tries: int, k: int) -> None:
    with pytest.raises(StatisticsError):
        pass_at_k(num_solved, num_tries, k)
