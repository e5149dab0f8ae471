"""Paired comparisons and verdicts against slow definitions and simulation."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import (
    Interval,
    Verdict,
    holm,
    mcnemar_p_value,
    paired_difference,
    verdict,
)

scores = st.dictionaries(
    st.tuples(st.sampled_from(["goto", "open"]), st.integers(0, 5)), st.floats(-10, 10)
)
p_value_lists = st.lists(st.floats(0, 1), max_size=8)


def slow_mcnemar(num_only_candidate: int, num_only_reference: int) -> Fraction:
    """Adds up, over every way the pairs could have fallen, those at least as lopsided."""
    total = num_only_candidate + num_only_reference
    observed = abs(num_only_candidate - num_only_reference)
    outcomes = [abs(2 * sum(ways) - total) for ways in itertools.product((0, 1), repeat=total)]
    return Fraction(sum(lopsided >= observed for lopsided in outcomes), len(outcomes))


def slow_holm(p_values: list[float], position: int) -> float:
    """Holm's definition: the largest multiple among the p-values up to this one."""
    ascending = sorted(range(len(p_values)), key=lambda index: (p_values[index], index))
    rank = ascending.index(position)
    multiples = [(len(p_values) - j) * p_values[ascending[j]] for j in range(rank + 1)]
    return min(1.0, max(multiples))


def played(*values: float) -> dict[tuple[str, int], float]:
    return {("goto", 200 + index): value for index, value in enumerate(values)}


def test_paired_difference_by_hand() -> None:
    # differences 1, 0, 1, 0: mean 1/2, variance 1/3, over 4
    difference = paired_difference(played(1, 1, 1, 0), played(0, 1, 0, 0))
    assert [difference.mean, difference.sem] == pytest.approx([0.5, math.sqrt(1 / 12)])


def test_paired_interval_has_a_degree_of_freedom_per_seed_less_one() -> None:
    # t = 3.182 at 3 degrees of freedom
    difference = paired_difference(played(1, 1, 1, 0), played(0, 1, 0, 0))
    assert difference.interval is not None
    assert difference.interval.high == pytest.approx(0.5 + 3.1824 * math.sqrt(1 / 12), abs=1e-4)


def test_paired_difference_clusters_the_tasks_of_a_seed() -> None:
    one_task = paired_difference(played(1, 1, 1, 0), played(0, 1, 0, 0))
    twice = {
        (task, seed): value for (_, seed), value in played(1, 1, 1, 0).items() for task in "ab"
    }
    base = {(task, seed): value for (_, seed), value in played(0, 1, 0, 0).items() for task in "ab"}
    assert paired_difference(twice, base).sem == pytest.approx(one_task.sem)


def test_paired_difference_leaves_out_what_one_side_lacks() -> None:
    difference = paired_difference(played(1, 0, 1), played(0, 0))
    assert (difference.num_pairs, difference.num_seeds) == (2, 2)


def test_paired_difference_without_common_pairs_is_undefined() -> None:
    assert paired_difference(played(1.0), {}).mean is None


def test_paired_difference_of_one_seed_has_no_interval() -> None:
    assert paired_difference(played(1.0), played(0.0)).interval is None


def test_paired_difference_of_equal_runs_is_tied() -> None:
    difference = paired_difference(played(1, 0, 1), played(1, 0, 1))
    assert verdict(difference.interval) is Verdict.TIED


def test_rounding_is_no_difference() -> None:
    difference = paired_difference(played(0.1 + 0.2, 0.1 + 0.2), played(0.3, 0.3))
    assert difference.interval == Interval(0.0, 0.0, 0.95)


def test_few_seeds_that_agree_prove_nothing() -> None:
    difference = paired_difference(played(1, 1), played(0, 0))
    assert verdict(difference.interval) is Verdict.UNDECIDED


def test_many_seeds_that_agree_do() -> None:
    difference = paired_difference(played(*[1] * 6), played(*[0] * 6))
    assert verdict(difference.interval) is Verdict.BETTER


def test_seed_sd_is_the_spread_of_seeds() -> None:
    difference = paired_difference(played(1, 1, 1, 0), played(0, 1, 0, 0))
    assert difference.seed_sd == pytest.approx(math.sqrt(1 / 3))


def test_seed_sd_of_one_seed_is_undefined() -> None:
    assert paired_difference(played(1.0), played(0.0)).seed_sd is None


def test_paired_difference_refuses_nan() -> None:
    with pytest.raises(StatisticsError, match="finite"):
        paired_difference(played(math.nan), played(0.0))


def test_paired_difference_refuses_a_wrong_level() -> None:
    with pytest.raises(StatisticsError, match="level"):
        paired_difference({}, {}, level=95)


@given(scores, scores)
def test_paired_difference_is_antisymmetric(
    first: dict[tuple[str, int], float], second: dict[tuple[str, int], float]
) -> None:
    forth, back = paired_difference(first, second), paired_difference(second, first)
    assert (forth.mean, forth.sem) == (None if back.mean is None else -back.mean, back.sem)


@given(scores)
def test_paired_difference_to_oneself_is_zero(values: dict[tuple[str, int], float]) -> None:
    assert paired_difference(values, values).mean in {None, 0.0}


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.3, 0.0, Verdict.BETTER),
        (-0.3, -0.1, 0.0, Verdict.WORSE),
        (-0.1, 0.3, 0.0, Verdict.UNDECIDED),
        (0.0, 0.3, 0.0, Verdict.UNDECIDED),
        (-0.04, 0.03, 0.05, Verdict.TIED),
        (0.01, 0.05, 0.05, Verdict.TIED),
        (0.01, 0.06, 0.05, Verdict.BETTER),
        (-0.06, 0.03, 0.05, Verdict.UNDECIDED),
    ],
)
def test_verdict(low: float, high: float, margin: float, expected: Verdict) -> None:
    assert verdict(Interval(low, high, 0.95), margin=margin) is expected


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_verdict_turns_where_lower_is_better(low: float, width: float, margin: float) -> None:
    turned = verdict(Interval(-low - width, -low, 0.95), margin=margin, lower_is_better=True)
    assert verdict(Interval(low, low + width, 0.95), margin=margin) is turned


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_verdict_refuses_an_impossible_margin(margin: float) -> None:
    with pytest.raises(StatisticsError, match="margin"):
        verdict(None, margin=margin)


def test_mcnemar_by_hand() -> None:
    # of 256 ways 1 + 8 are as lopsided on one side
    assert mcnemar_p_value(7, 1) == 18 / 256


def test_mcnemar_without_discordant_pairs() -> None:
    assert mcnemar_p_value(0, 0) == 1.0


@pytest.mark.parametrize(("candidate", "reference"), [(b, c) for b in range(8) for c in range(6)])
def test_mcnemar_matches_enumeration(candidate: int, reference: int) -> None:
    assert mcnemar_p_value(candidate, reference) == float(slow_mcnemar(candidate, reference))


def test_mcnemar_of_thousands_of_pairs() -> None:
    # the normal approximation with its continuity correction
    normal = math.erfc((100 - 1) / math.sqrt(10_000) / math.sqrt(2))
    assert mcnemar_p_value(5_050, 4_950) == pytest.approx(normal, rel=1e-3)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(StatisticsError, match="0 or more, found -1"):
        mcnemar_p_value(-1, 3)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))


def test_holm_of_nothing() -> None:
    assert holm([]) == ()


@given(p_value_lists)
def test_holm_matches_its_definition(p_values: list[float]) -> None:
    slow = [slow_holm(p_values, position) for position in range(len(p_values))]
    assert holm(p_values) == pytest.approx(tuple(slow))


@given(p_value_lists)
def test_holm_lies_between_plain_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    bounds = [(p, min(1.0, len(p_values) * p)) for p in p_values]
    assert all(low <= a <= high for (low, high), a in zip(bounds, adjusted, strict=True))


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(bad: float) -> None:
    with pytest.raises(StatisticsError):
        holm([0.5, bad])


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 20])
def test_equal_variants_are_rarely_called_different(num_seeds: int) -> None:
    random = np.random.default_rng(num_seeds)
    num_runs, tasks = 1_000, ("goto", "open", "pickup")
    easiness = random.random((num_runs, num_seeds, 1, 1))
    solved = random.random((num_runs, num_seeds, len(tasks), 2)) < easiness
    false_alarms = 0
    for run in solved.astype(float).tolist():
        first, second = (
            {
                (task, seed): run[seed][number][side]
                for seed in range(num_seeds)
                for number, task in enumerate(tasks)
            }
            for side in (0, 1)
        )
        found = verdict(paired_difference(first, second).interval)
        false_alarms += found in {Verdict.BETTER, Verdict.WORSE}
    assert false_alarms / num_runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_runs)
