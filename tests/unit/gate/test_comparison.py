"""All metrics of all variants against a reference."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest

from pytest_babyai.errors import StatisticsError
from pytest_babyai.gate import METRICS, Reference, RunScores, Verdict, compare, verdict
from pytest_babyai.statistics import Interval, difference_evidence
from tests.unit.gate.gate_samples import SEEDS, alternating, episodes, failed, run


def against(scores: RunScores) -> Reference:
    return Reference("baseline main", scores)


def test_the_difference_is_the_paired_one() -> None:
    new, old = run(*alternating(4)), run(*alternating(8))
    (variant,) = compare(new, against(old)).variants
    sides = [
        {(each.spec.task, each.spec.seed): (each.progression,) for each in episodes(outcomes)}
        for outcomes in (alternating(4), alternating(8))
    ]
    expected = difference_evidence(*sides, low=0, high=1)
    found = variant.metrics["progression"].difference
    assert (found.mean, found.interval) == (expected.estimate, expected.interval())
    assert found.p_value == expected.p_value()


def test_every_metric_is_compared() -> None:
    (variant,) = compare(run(1.0), against(run(0.0))).variants
    assert list(variant.metrics) == list(METRICS)


def test_fewer_steps_are_better_and_less_success_is_worse() -> None:
    new = RunScores.of_outcomes(
        dataclasses.replace(each, num_steps=each.spec.seed % 5) for each in episodes(alternating(2))
    )
    old = RunScores.of_outcomes(
        dataclasses.replace(each, num_steps=60) for each in episodes(alternating(9))
    )
    (variant,) = compare(new, against(old)).variants
    found = {name: variant.metrics[name].verdict for name in ("steps", "success", "errors")}
    assert found == {
        "steps": Verdict.BETTER,
        "success": Verdict.WORSE,
        "errors": Verdict.UNDECIDED,  # that none failed on 20 seeds is no proof
    }


def test_equal_runs_of_few_seeds_are_no_proof_of_a_tie() -> None:
    found = [
        compare(
            run(*alternating(5, 2 * number), seeds=tuple(range(number))),
            against(run(*alternating(5, 2 * number), seeds=tuple(range(number)))),
            margins={"success": 0.05},
        )
        .variants[0]
        .metrics["success"]
        .verdict
        for number in (2, 5, 200)
    ]
    assert found == [Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.TIED]


def many(*rates: float) -> RunScores:
    """Returns v0, v1, … with these shares of 40 seeds solved, one seed after the other."""
    return RunScores.of_outcomes(
        each
        for number, rate in enumerate(rates)
        for each in episodes(
            [float(seed < 40 * rate) for seed in range(40)],
            f"v{number}",
            tasks=["goto"],
            seeds=tuple(range(200, 240)),
        )
    )


def test_verdict_and_printed_interval_agree_whatever_is_beside_them() -> None:
    for rates in itertools.product((0.5, 0.7, 0.8), repeat=3):
        scores = many(0.5, *rates)
        found = compare(scores, Reference("variant v0", scores, "v0"))
        for variant in found.variants:
            for each in variant.metrics.values():
                if each.difference.interval is None:
                    continue
                low, high = each.difference.interval.low, each.difference.interval.high
                is_decided = each.verdict in {Verdict.BETTER, Verdict.WORSE}
                assert is_decided == (not low <= 0 <= high)


def test_a_weak_difference_counts_for_one_variant_and_not_among_many() -> None:
    def found(*rates: float) -> tuple[Verdict, float]:
        scores = many(0.5, *rates)
        first = compare(scores, Reference("variant v0", scores, "v0")).variants[0]
        interval = first.metrics["success"].difference.interval
        assert interval is not None
        return first.metrics["success"].verdict, interval.level

    assert found(0.7) == (Verdict.BETTER, 0.95)
    verdict_among_many, level = found(0.7, *[0.5] * 8)
    assert verdict_among_many is Verdict.UNDECIDED
    assert level == pytest.approx(1 - 0.05 / 9)


def test_the_primary_metric_is_named() -> None:
    scores = many(0.5, 0.9)
    found = compare(scores, Reference("variant v0", scores, "v0"), primary="steps")
    assert found.primary == "steps"
    assert found.detectable() == found.variants[0].metrics["steps"].detectable()


def test_errors_that_could_turn_a_verdict_withhold_it() -> None:
    better = [*episodes([1.0], "new"), *episodes([0.0], "old")]
    tasks = ("pickup", "putnext")
    lost = [failed("new", task, seed) for seed in SEEDS for task in tasks]
    few = RunScores.of_outcomes([*better, failed("new", "pickup")])
    much = RunScores.of_outcomes([*better, *lost, *episodes([1.0], "old", tasks=tasks)])
    found = [
        compare(scores, Reference("variant old", scores, "old")).variants[0].metrics["success"]
        for scores in (few, much)
    ]
    assert [each.verdict for each in found] == [Verdict.BETTER, Verdict.UNDECIDED]
    assert found[1].note == "undecided: 40 errors could turn it"


def test_what_could_not_be_said_by_now_is_not_said() -> None:
    scores = many(0.5, 0.7)
    reference = Reference("variant v0", scores, "v0")
    early = compare(scores, reference, spend=lambda alpha, _: alpha / 100)
    assert early.variants[0].metrics["success"].verdict is Verdict.UNDECIDED


def test_the_means_are_those_of_common_pairs() -> None:
    new = RunScores.of_outcomes([*episodes([1.0], seeds=(1, 2)), *episodes([0.0], seeds=(3,))])
    (variant,) = compare(new, against(run(0.5, seeds=(1, 2)))).variants
    found = variant.metrics["progression"]
    assert (found.candidate, found.reference) == (1.0, 0.5)
    assert (variant.num_pairs, variant.num_seeds, variant.num_unpaired) == (4, 2, 2)


def test_an_error_leaves_its_pair_out() -> None:
    new = RunScores.of_outcomes([*episodes([1.0], tasks=["goto"], seeds=(1, 2)), failed(seed=3)])
    (variant,) = compare(new, against(run(1.0, tasks=["goto"], seeds=(1, 2, 3)))).variants
    assert (variant.num_pairs, variant.num_unpaired) == (2, 1)


def test_an_unknown_price_leaves_the_metric_undefined() -> None:
    (variant,) = compare(run(1.0), against(run(1.0))).variants
    assert variant.metrics["cost"].difference.mean is None
    assert variant.metrics["cost"].verdict is Verdict.UNDECIDED


def test_a_single_seed_is_undecided() -> None:
    (variant,) = compare(run(1.0, seeds=(1,)), against(run(0.0, seeds=(1,)))).variants
    assert variant.metrics["success"].verdict is Verdict.UNDECIDED
    assert variant.metrics["success"].detectable() is None


def test_variants_of_one_side_are_named() -> None:
    both = episodes([1.0], "baseline")
    new = RunScores.of_outcomes([*both, *episodes([1.0], "new")])
    old = RunScores.of_outcomes([*both, *episodes([1.0], "old")])
    found = compare(new, against(old))
    assert [variant.variant for variant in found.variants] == ["baseline"]
    assert (found.only_candidate, found.only_reference) == (("new",), ("old",))


def test_variants_of_one_run_are_compared_with_one_of_them() -> None:
    scores = RunScores.of_outcomes([*episodes([0.0], "baseline"), *episodes([1.0], "history")])
    found = compare(scores, Reference("variant baseline", scores, "baseline"))
    (variant,) = found.variants
    assert (variant.variant, variant.metrics["success"].verdict) == ("history", Verdict.BETTER)
    assert found.only_reference == ()


def test_one_task_is_compared_alone() -> None:
    new = RunScores.of_outcomes(
        [*episodes([1.0], tasks=["goto"]), *episodes([0.0], tasks=["open"])]
    )
    found = compare(new, against(run(0.5)), task="goto")
    assert found.variants[0].metrics["progression"].candidate == 1.0


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_detectable_difference_grows_with_the_level(level: float) -> None:
    (variant,) = compare(run(*alternating(4)), against(run(*alternating(7))), level=level).variants
    found = variant.metrics["success"]
    lower, stated = found.detectable(level - 0.1), found.detectable(level)
    assert lower is not None
    assert stated is not None
    assert lower < stated


def test_the_detectable_difference_is_that_after_holm() -> None:
    scores = many(0.5, 0.5, 0.5, 0.5)
    alone, among = many(0.5, 0.5), scores
    found = [
        compare(each, Reference("variant v0", each, "v0")).variants[0].metrics["success"]
        for each in (alone, among)
    ]
    assert found[1].detectable(0.95) == found[0].detectable(1 - 0.05 / 3)


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
    turned = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    interval = Interval(low, high, 0.95)
    assert verdict(interval, margin=margin) is expected
    found = verdict(interval, margin=margin, lower_is_better=True)
    assert found is turned.get(expected, expected)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_verdict_refuses_an_impossible_margin(margin: float) -> None:
    with pytest.raises(StatisticsError, match="margin"):
        verdict(None, margin=margin)
