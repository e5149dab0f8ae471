"""Intervals and the t-test against textbook values, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    design_effect,
    t_interval,
    t_test_p_value,
    wilson_interval,
)


def test_t_interval_by_hand() -> None:
    # Student's table: t = 2.262 at 9 degrees of freedom
    interval = t_interval(5.0, 1.0, 10)
    assert interval.high - 5.0 == pytest.approx(2.262, abs=5e-4)


def test_t_interval_is_symmetric() -> None:
    interval = t_interval(5.0, 1.0, 10)
    assert interval.high - 5.0 == pytest.approx(5.0 - interval.low)


def test_t_interval_carries_its_level() -> None:
    assert t_interval(0.0, 1.0, 10, level=0.9).level == 0.9


def test_t_interval_of_many_clusters_is_normal() -> None:
    assert t_interval(0.0, 1.0, 10**6).high == pytest.approx(1.959964, abs=1e-5)


def test_t_interval_refuses_one_cluster() -> None:
    with pytest.raises(StatisticsError, match="expected at least 2 clusters, found 1"):
        t_interval(0.0, 1.0, 1)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, math.nan])
def test_t_interval_refuses_a_level_outside_0_and_1(level: float) -> None:
    with pytest.raises(StatisticsError, match=r"such as 0\.95, found"):
        t_interval(0.0, 1.0, 10, level=level)


def test_t_interval_refuses_nan() -> None:
    with pytest.raises(StatisticsError, match="finite"):
        t_interval(0.0, math.nan, 10)


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12))
def test_p_value_matches_scipy(values: list[float]) -> None:
    center, spread = float(np.mean(values)), float(stats.sem(values))
    if spread > 1e-3:
        expected = float(stats.ttest_1samp(values, 0.0).pvalue)
        assert t_test_p_value(center, spread, len(values)) == pytest.approx(expected, rel=1e-6)


@given(st.floats(-10, 10), st.floats(0.01, 10), st.integers(2, 100))
def test_p_value_agrees_with_the_interval(center: float, spread: float, size: int) -> None:
    p_value, interval = t_test_p_value(center, spread, size), t_interval(center, spread, size)
    if abs(p_value - 0.05) > 1e-9:
        assert (p_value < 0.05) == (not interval.low <= 0 <= interval.high)


def test_p_value_without_spread_is_the_sign_test() -> None:
    assert t_test_p_value(0.3, 0.0, 5) == 2 * 0.5**5


def test_p_value_of_no_difference_at_all_is_one() -> None:
    assert t_test_p_value(0.0, 0.0, 5) == 1.0


def test_wilson_by_hand() -> None:
    # z = 1.959964, z^2 = 3.841459: centre (0.5 + 0.1920729) / 1.3841459 = 0.5,
    # half width 1.959964 / 1.3841459 * sqrt(0.025 + 0.0096036) = 0.2634
    interval = wilson_interval(5, 10)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((0.2366, 0.7634), abs=5e-5)


def test_wilson_of_nothing_is_undefined() -> None:
    assert wilson_interval(0, 0) is None


def test_wilson_of_no_success_starts_at_zero() -> None:
    interval = wilson_interval(0, 20)
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx([0.0, 3.841459 / 23.841459])


def test_wilson_of_success_alone_ends_at_one() -> None:
    interval = wilson_interval(20, 20)
    assert interval is not None
    assert [interval.low, interval.high] == pytest.approx([20 / 23.841459, 1.0])


@given(st.integers(0, 200), st.integers(1, 200), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_matches_scipy(num_successes: int, num_episodes: int, level: float) -> None:
    num_successes = min(num_successes, num_episodes)
    test = stats.binomtest(num_successes, num_episodes)
    expected = test.proportion_ci(level, method="wilson")
    interval = wilson_interval(num_successes, num_episodes, level=level)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_with_a_design_effect_is_that_of_fewer_episodes() -> None:
    assert wilson_interval(30, 60, design_effect=3.0) == wilson_interval(10, 20)


@pytest.mark.parametrize(("num_successes", "num_episodes"), [(-1, 10), (11, 10)])
def test_wilson_refuses_impossible_counts(num_successes: int, num_episodes: int) -> None:
    with pytest.raises(StatisticsError, match="cannot be successes"):
        wilson_interval(num_successes, num_episodes)


@pytest.mark.parametrize("effect", [0.5, math.inf, math.nan])
def test_wilson_refuses_an_impossible_design_effect(effect: float) -> None:
    with pytest.raises(StatisticsError, match="at least 1"):
        wilson_interval(5, 10, design_effect=effect)


def test_wilson_with_the_design_effect_covers_clustered_episodes() -> None:
    random = np.random.default_rng(1927)
    num_runs, num_seeds, num_tasks, rate = 2_000, 20, 5, 0.7
    solved = random.beta(rate, 1 - rate, size=(num_runs, num_seeds, 1))
    runs = random.random((num_runs, num_seeds, num_tasks)) < solved
    seeds = np.repeat(np.arange(num_seeds), num_tasks).tolist()
    allowed_hits = naive_hits = 0
    for values in runs.reshape(num_runs, -1).astype(float).tolist():
        num_successes = int(sum(values))
        effect = design_effect(values, seeds)
        allowed = wilson_interval(num_successes, len(values), design_effect=effect)
        naive = wilson_interval(num_successes, len(values))
        assert allowed is not None
        assert naive is not None
        allowed_hits += allowed.low <= rate <= allowed.high
        naive_hits += naive.low <= rate <= naive.high
    assert allowed_hits / num_runs == pytest.approx(0.95, abs=0.02)
    assert naive_hits / num_runs < 0.85
