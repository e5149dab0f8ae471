"""Holm's procedure against statsmodels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import holm, holm_alphas

p_value_lists = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))


def test_holm_of_nothing() -> None:
    assert holm([]) == ()


@given(p_value_lists)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    expected = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(bad: float) -> None:
    with pytest.raises(StatisticsError):
        holm([0.5, bad])


def test_alphas_by_hand() -> None:
    # 0.001 holds at 0.05 / 3, 0.02 at 0.05 / 2, and the last is tested at all of it.
    assert holm_alphas([0.02, 0.001, 0.9], 0.05) == pytest.approx((0.025, 0.05 / 3, 0.05))


def test_from_the_first_that_does_not_hold_on_all_are_tested_alike() -> None:
    assert holm_alphas([0.001, 0.03, 0.04], 0.05) == pytest.approx((0.05 / 3, 0.025, 0.025))


@given(p_value_lists)
def test_a_comparison_holds_at_its_alpha_just_where_statsmodels_rejects(
    p_values: list[float],
) -> None:
    rejected = multipletests(p_values, alpha=0.05, method="holm")[0]
    alphas = holm_alphas(p_values, 0.05)
    assert [p <= a for p, a in zip(p_values, alphas, strict=True)] == list(rejected)


def test_each_spends_what_it_may_by_now() -> None:
    spends = [lambda alpha: alpha, lambda alpha: alpha / 100]
    assert holm_alphas([0.01, 0.01], 0.05, spends) == pytest.approx((0.025, 0.0005))
