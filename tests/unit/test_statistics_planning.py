"""Detectable differences and seeds needed against tables, slow search and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    Verdict,
    detectable_difference,
    num_seeds_needed,
    paired_difference,
    verdict,
)


def power_of(difference: float, num_seeds: int, level: float = 0.95) -> float:
    """Power of the upper rejection region, by the noncentral t distribution of scipy.stats."""
    critical = stats.t.ppf((1 + level) / 2, num_seeds - 1)
    return float(stats.nct.sf(critical, num_seeds - 1, difference))


def test_detectable_difference_of_many_seeds_is_the_textbook_2_8() -> None:
    assert detectable_difference(1.0, 10**6) == pytest.approx(1.959964 + 0.841621, abs=1e-4)


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


def test_seeds_needed_is_the_textbook_number() -> None:
    # Cohen's table for d = 0.5, two-sided alpha 0.05, power 0.8, one sample or pairs
    assert num_seeds_needed(0.5, 1.0) == 34


@given(st.floats(0.3, 3.0))
def test_seeds_needed_matches_a_search_one_by_one(difference: float) -> None:
    slow = 2
    while detectable_difference(1 / math.sqrt(slow), slow) > difference:
        slow += 1
    assert num_seeds_needed(difference, 1.0) == slow


def test_seeds_needed_ignores_the_sign() -> None:
    assert num_seeds_needed(-0.5, 1.0) == num_seeds_needed(0.5, 1.0)


def test_seeds_without_spread_need_two() -> None:
    assert num_seeds_needed(0.5, 0.0) == 2


def test_tiny_differences_end() -> None:
    assert num_seeds_needed(1e-9, 1.0) == pytest.approx(7.849e18, rel=1e-3)


@pytest.mark.parametrize("difference", [0.0, math.nan, math.inf])
def test_seeds_needed_refuses_an_impossible_difference(difference: float) -> None:
    with pytest.raises(StatisticsError, match="difference to detect"):
        num_seeds_needed(difference, 1.0)


@pytest.mark.parametrize("spread", [-1.0, math.nan, math.inf])
def test_a_plan_refuses_an_impossible_spread(spread: float) -> None:
    with pytest.raises(StatisticsError, match="standard error"):
        num_seeds_needed(0.5, spread)


@pytest.mark.parametrize("power", [0.0, 0.4, 1.0, 80, math.nan])
def test_a_plan_refuses_an_impossible_power(power: float) -> None:
    with pytest.raises(StatisticsError, match=r"such as 0\.8, found"):
        detectable_difference(1.0, 10, power=power)


def test_a_plan_refuses_one_seed() -> None:
    with pytest.raises(StatisticsError, match="at least 2 clusters"):
        detectable_difference(1.0, 1)


def test_the_detectable_difference_is_found_with_the_stated_power() -> None:
    random = np.random.default_rng(80)
    num_runs, num_seeds = 2_000, 12
    true = detectable_difference(1 / math.sqrt(num_seeds), num_seeds)
    reference = {("goto", seed): 0.0 for seed in range(num_seeds)}
    found = 0
    for differences in random.normal(true, 1.0, (num_runs, num_seeds)).tolist():
        candidate = {("goto", seed): value for seed, value in enumerate(differences)}
        found += verdict(paired_difference(candidate, reference).interval) is Verdict.BETTER
    assert found / num_runs == pytest.approx(0.8, abs=0.025)
