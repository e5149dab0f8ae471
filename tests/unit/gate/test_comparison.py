"""All metrics of all variants against a reference."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_babyai.gate import METRICS, Reference, RunScores, compare
from pytest_babyai.statistics import Verdict, paired_difference
from tests.unit.gate.gate_samples import alternating, episodes, failed, run


def against(scores: RunScores) -> Reference:
    return Reference("baseline main", scores)


def test_the_difference_is_the_paired_one() -> None:
    new, old = run(*alternating(4)), run(*alternating(8))
    (variant,) = compare(new, against(old)).variants
    sides = [
        {(each.spec.task, each.spec.seed): getattr(each, "progression") for each in side.episodes}  # noqa: B009
        for side in (new, old)
    ]
    assert variant.metrics["progression"].difference == paired_difference(*sides)


def test_every_metric_is_compared() -> None:
    (variant,) = compare(run(1.0), against(run(0.0))).variants
    assert list(variant.metrics) == list(METRICS)


def test_fewer_steps_are_better_and_less_success_is_worse() -> None:
    new = RunScores.of_outcomes(
        dataclasses.replace(each, num_steps=each.spec.seed % 5) for each in episodes(alternating(2))
    )
    old = RunScores.of_outcomes(dataclasses.replace(each, num_steps=60) for each in episodes(alternating(9)))
    (variant,) = compare(new, against(old)).variants
    found = {name: variant.metrics[name].verdict for name in ("steps", "success", "errors")}
    assert found == {
        "steps": Verdict.BETTER,
        "success": Verdict.WORSE,
        "errors": Verdict.TIED,
    }


def test_equal_runs_are_tied() -> None:
    (variant,) = compare(run(*alternating(5)), against(run(*alternating(5)))).variants
    assert variant.metrics["success"].verdict is Verdict.TIED


def test_a_difference_within_the_margin_is_tied() -> None:
    outcomes = alternating(5)
    new, old = run(1 - outcomes[0], *outcomes[1:]), run(*outcomes)
    (variant,) = compare(new, against(old), margins={"success": 0.2}).variants
    assert variant.metrics["success"].verdict is Verdict.TIED


def test_a_weak_difference_counts_for_one_variant_and_not_among_many() -> None:
    def side(history: list[float], num_others: int) -> RunScores:
        others = [e for n in range(num_others) for e in episodes([1.0], f"v{n}", tasks=["goto"])]
        return RunScores.of_outcomes([*episodes(history, tasks=["goto"]), *others])

    worse, fine = [0.0] * 6 + [1.0], [1.0]
    found = [
        compare(side(worse, others), against(side(fine, others))).variants[0].metrics["success"]
        for others in (0, 9)
    ]
    assert [each.verdict for each in found] == [Verdict.WORSE, Verdict.UNDECIDED]


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
    new = RunScores.of_outcomes([*episodes([1.0], tasks=["goto"]), *episodes([0.0], tasks=["open"])])
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
