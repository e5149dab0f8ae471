"""Detectable differences and seeds against tables, statsmodels and simulation."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    detectable_difference,
    seeds_for_half_width,
    seeds_for_margin,
    t_interval,
)


def power_of(difference: float, num_seeds: int, level: float = 0.95) -> float:
    """Power of the upper rejection region, by the noncentral t distribution of scipy.stats."""
    critical = stats.t.ppf((1 + level) / 2, num_seeds - 1)
    return float(stats.nct.sf(critical, num_seeds - 1, difference))


def test_detectable_difference_of_many_seeds_is_the_textbook_2_8() -> None:
    assert detectable_difference(1.0, 10**9) == pytest.approx(1.959964 + 0.841621, abs=1e-4)


def test_few_seeds_detect_less_than_the_normal_approximation_promises() -> None:
    assert detectable_difference(1.0, 5) > 3.7


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 20, 100])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_detectable_difference_has_the_stated_power(num_seeds: int, power: float) -> None:
    smallest = detectable_difference(1.0, num_seeds, power=power)
    assert power_of(smallest, num_seeds) == pytest.approx(power, abs=1e-5)


@given(st.floats(0.001, 1000), st.integers(2, 200))
def test_detectable_difference_scales_with_the_standard_error(spread: float, size: int) -> None:
    unit = detectable_difference(1.0, size)
    assert detectable_difference(spread, size) == pytest.approx(spread * unit)


@given(st.integers(2, 500))
def test_more_seeds_detect_smaller_differences(num_seeds: int) -> None:
    more = detectable_difference(1.0, num_seeds + 1)
    assert more < detectable_difference(1.0, num_seeds)


def test_the_range_of_seeds_holds_the_textbook_number() -> None:
    # Cohen's table for d = 0.5, two-sided alpha 0.05, power 0.8, one sample or pairs: 34
    assert TTestPower().solve_power(effect_size=0.5, power=0.8, alpha=0.05) == pytest.approx(
        33.4, abs=0.1
    )
    low, high = seeds_for_margin(0.5, 1.0, 10**9)
    assert (low, high) == (34, 34)


def test_few_seeds_leave_a_wide_range() -> None:
    low, high = seeds_for_margin(0.5, 1.0, 10)
    assert low < 25
    assert high > 60


def test_four_of_five_ranges_hold_the_right_number() -> None:
    random = np.random.default_rng(12)
    right, _ = seeds_for_half_width(0.1, 0.3, 10**9)
    held = 0
    for _ in range(400):
        low, high = seeds_for_half_width(0.1, float(random.normal(0, 0.3, 20).std(ddof=1)), 20)
        held += low <= right <= high
    assert held / 400 == pytest.approx(0.8, abs=0.06)


def test_the_half_width_is_the_one_of_the_t_interval() -> None:
    needed, _ = seeds_for_half_width(0.1, 0.3, 10**9)
    widths = [t_interval(0.0, 0.3 / math.sqrt(n), n).half_width for n in (needed - 1, needed)]
    assert widths[0] > 0.1 >= widths[1]


def test_nothing_of_it_looks_at_the_estimate() -> None:
    assert "estimate" not in inspect.signature(seeds_for_margin).parameters


@pytest.mark.parametrize(("margin", "num_seen"), [(0.0, 20), (math.nan, 20), (0.1, 1)])
def test_an_impossible_plan_is_refused(margin: float, num_seen: int) -> None:
    with pytest.raises(StatisticsError, match="expected"):
        seeds_for_margin(margin, 1.0, num_seen)


def test_a_plan_without_end_ends() -> None:
    assert seeds_for_margin(1e-9, 1.0, 20)[1] >= 100_000
