"""What episodes say, against formulas and tests that are not ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    Evidence,
    difference_evidence,
    mean_evidence,
    ratio_evidence,
)
from pytest_babyai.statistics.evidence import PRIOR_WEIGHT
from pytest_babyai.statistics.intervals import mover_limits, score_limits

Values = dict[tuple[str, int], tuple[float, ...]]


def by_seed(*values: float, task: str = "goto") -> Values:
    return {(task, 200 + number): (value,) for number, value in enumerate(values)}


def grid(rows: np.ndarray) -> Values:
    """Gives values of shape (seeds, tasks) to tasks t0, t1, …."""
    return {
        (f"t{task}", seed): (float(value),)
        for seed, row in enumerate(rows)
        for task, value in enumerate(row)
    }


def share(num_solved: int, num_episodes: int, num_tasks: int = 5) -> Evidence:
    flat = [1.0] * num_solved + [0.0] * (num_episodes - num_solved)
    return mean_evidence(grid(np.reshape(flat, (-1, num_tasks))), low=0, high=1)


def low_end(found: Evidence) -> float:
    interval = found.interval()
    assert interval is not None
    return interval.low


def test_a_mean_has_student_s_interval_of_scipy() -> None:
    values = [3.0, 5.0, 4.0, 9.0, 6.0]
    found = mean_evidence(by_seed(*values)).interval()
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)


def test_a_mean_is_clustered_as_statsmodels_does_it() -> None:
    rows = np.random.default_rng(1).normal(10, 2, (8, 1)) + np.random.default_rng(2).normal(
        0, 1, (8, 3)
    )
    seeds = np.repeat(np.arange(8), 3)
    model = sm.OLS(rows.ravel(), np.ones(24)).fit()
    robust = model.get_robustcov_results("cluster", groups=seeds, df_correction=True)
    correction = 23 / 23  # statsmodels' (n - 1) / (n - k) is 1 for a mean
    assert mean_evidence(grid(rows)).standard_error == pytest.approx(robust.bse[0] * correction)


def test_a_paired_difference_is_scipy_s_t_test() -> None:
    new, old = [3.0, 5.5, 4.0, 9.0, 6.0], [2.0, 5.0, 4.5, 6.0, 3.0]
    found = difference_evidence(by_seed(*new), by_seed(*old))
    expected = stats.ttest_rel(new, old)
    interval, theirs = found.interval(), expected.confidence_interval(0.95)
    assert interval is not None
    assert found.p_value() == pytest.approx(expected.pvalue)
    assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high))


@given(st.lists(st.floats(-100, 100), min_size=3, max_size=12), st.floats(-50, 50))
def test_the_p_value_is_where_the_interval_touches_the_bound(
    values: list[float], bound: float
) -> None:
    found = mean_evidence(by_seed(*values))
    p_value = found.p_value(bound)
    if 1e-9 < p_value < 1 - 1e-6:
        wider, narrower = found.interval(1 - p_value * 0.999), found.interval(1 - p_value * 1.001)
        assert wider is None or wider.low <= bound <= wider.high
        assert narrower is not None
        assert not narrower.low <= bound <= narrower.high


def test_a_permutation_test_agrees_with_the_p_value_of_a_share() -> None:
    rng = np.random.default_rng(7)
    new, old = (rng.random((30, 4)) < p for p in (0.75, 0.6))
    found = difference_evidence(grid(new), grid(old), low=0, high=1)
    swapped = stats.permutation_test(
        (new.mean(1), old.mean(1)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=5_000,
        vectorized=True,
        rng=rng,
    )
    assert found.p_value() == pytest.approx(swapped.pvalue, abs=0.02)


def test_many_seeds_of_one_task_have_statsmodels_wilson_interval() -> None:
    values = [1.0] * 350 + [0.0] * 150
    found = mean_evidence(by_seed(*values), low=0, high=1).interval()
    assert found is not None
    expected = proportion_confint(350, 500, method="wilson")
    assert (found.low, found.high) == pytest.approx(expected, abs=2e-4)


def test_mover_is_newcombe_s_interval_of_statsmodels() -> None:
    first, second = (score_limits(k / 50, 50, 1.959964) for k in (40, 30))
    expected = confint_proportions_2indep(40, 50, 30, 50, method="newcomb")
    assert mover_limits((0.8, *first), (0.6, *second), 0.0) == pytest.approx(expected, abs=1e-6)


def test_a_share_that_varies_nowhere_has_width() -> None:
    found = difference_evidence(grid(np.ones((20, 5))), grid(np.ones((20, 5))), low=0, high=1)
    interval = found.interval()
    assert interval is not None
    assert -0.2 < interval.low < -0.05
    assert interval.high == pytest.approx(-interval.low)


@given(st.integers(2, 40), st.integers(1, 8), st.floats(0.5, 0.999))
def test_one_more_success_never_lowers_the_interval_at_the_edge(
    num_seeds: int, num_tasks: int, level: float
) -> None:
    size = num_seeds * num_tasks
    ends = []
    for num_missed in (1, 0):
        found = share(size - num_missed, size, num_tasks).interval(level)
        assert found is not None
        ends.append(found.low)
    assert ends[0] <= ends[1]


def test_100_of_100_passes_what_99_of_100_does() -> None:
    assert 0.9 < low_end(share(99, 100)) < low_end(share(100, 100))


@pytest.mark.parametrize("values", [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0)])
def test_two_seeds_say_nearly_nothing(values: tuple[float, ...]) -> None:
    interval = mean_evidence(by_seed(*values), low=0, high=1).interval()
    assert interval is not None
    assert interval.high - interval.low > 0.9


def test_one_seed_says_nothing() -> None:
    one = by_seed(1.0)
    assert mean_evidence(one, low=0, high=1).interval() is None
    assert difference_evidence(one, by_seed(0.0), low=0, high=1).p_value() == 1.0
    assert mean_evidence(one).standard_error is None


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12),
    st.floats(0.5, 0.9999),
)
def test_no_interval_leaves_what_its_metric_can_be(
    pairs: list[tuple[float, float]], level: float
) -> None:
    new, old = (by_seed(*side) for side in zip(*pairs, strict=True))
    single = mean_evidence(new, low=0, high=1).interval(level)
    apart = difference_evidence(new, old, low=0, high=1).interval(level)
    assert single is not None
    assert apart is not None
    assert 0 <= single.low <= single.high <= 1
    assert -1 <= apart.low <= apart.high <= 1


def test_a_count_is_never_negative() -> None:
    interval = mean_evidence(by_seed(1.0, 100.0, 2.0), low=0).interval()
    assert interval is not None
    assert interval.low == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=10))
def test_a_difference_turns_with_its_sides(pairs: list[tuple[float, float]]) -> None:
    new, old = (by_seed(*side) for side in zip(*pairs, strict=True))
    forth = difference_evidence(new, old, low=0, high=1).interval()
    back = difference_evidence(old, new, low=0, high=1).interval()
    assert forth is not None
    assert back is not None
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))


def test_few_seeds_that_agree_on_a_mean_prove_nothing() -> None:
    assert [
        difference_evidence(by_seed(*[5.0] * n), by_seed(*[5.0] * n)).interval() is None
        for n in (2, 5, 6, 20)
    ] == [True, True, False, False]


def test_a_ratio_is_fieller_s_set_found_by_trying() -> None:
    rng = np.random.default_rng(4)
    old = rng.gamma(8, 5, 20)
    new = old * 1.1 + rng.normal(0, 4, 20)
    found = ratio_evidence(by_seed(*new), by_seed(*old)).interval()
    kept = [
        change
        for change in np.linspace(-30, 60, 18_001)
        if stats.ttest_1samp(new - old * (1 + change / 100), 0).pvalue > 0.05
    ]
    assert found is not None
    assert (found.low, found.high) == pytest.approx((min(kept), max(kept)), abs=0.01)


def test_a_ratio_to_next_to_nothing_has_no_limits() -> None:
    assert ratio_evidence(by_seed(5.0, 1.0), by_seed(0.1, 9.0)).interval() is None


def test_there_is_no_percentage_of_nothing() -> None:
    with pytest.raises(StatisticsError, match="no percentage of 0"):
        ratio_evidence(by_seed(1.0, 2.0), by_seed(0.0, 0.0))


def test_repeats_of_a_pair_are_averaged() -> None:
    twice = dict.fromkeys(by_seed(*([0.0] * 8)), (0.0, 1.0))
    found = difference_evidence(twice, by_seed(*[0.5] * 8), low=0, high=1)
    assert (found.estimate, found.num_values) == (0.0, 8)


@pytest.mark.parametrize("value", [math.nan, 1.5, -0.1, math.inf])
def test_what_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(StatisticsError, match="found"):
        mean_evidence(by_seed(0.5, value), low=0, high=1)


def test_no_common_pair_is_refused() -> None:
    with pytest.raises(StatisticsError, match=r"no \(task, seed\) in common"):
        difference_evidence(by_seed(1.0), by_seed(1.0, task="open"))


def test_the_prior_is_not_felt_in_the_middle() -> None:
    rng = np.random.default_rng(5)
    rows = (rng.random((40, 5)) < rng.beta(2, 2, (40, 1))).astype(float)
    found = mean_evidence(grid(rows), low=0, high=1)
    plain = mean_evidence(grid(rows)).standard_error
    assert PRIOR_WEIGHT < 3
    assert found.standard_error == pytest.approx(plain, rel=0.06)
