"""Intervals against textbook values and scipy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    t_interval,
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


@pytest.mark.parametrize(("num_successes", "num_episodes"), [(-1, 10), (11, 10)])
def test_wilson_refuses_impossible_counts(num_successes: int, num_episodes: int) -> None:
    with pytest.raises(StatisticsError, match="cannot be successes"):
        wilson_interval(num_successes, num_episodes)
