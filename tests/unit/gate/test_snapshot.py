"""Runs are compared on the same levels only; what else differs is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import BaselineError
from pytest_babyai.gate import RunScores, check_comparable, take_snapshot
from pytest_babyai.gate.snapshot import layout_fingerprints
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.settings.model import Settings
from tests.unit.gate.gate_samples import episode, run, snapshot
from tests.unit.reporting.reporting_samples import failure, solved

if TYPE_CHECKING:
    from pytest_babyai.records import EpisodeOutcome


def with_settings(**changes: Any) -> dict[str, Any]:
    return {"environment": "builtin", "history_length": 8, "num_dists": 0, **changes}


def test_a_snapshot_keeps_what_comparisons_need() -> None:
    outcomes: list[EpisodeOutcome] = [
        solved(EpisodeSpec("history", "goto", 200)),
        failure(EpisodeSpec("a", "open", 3)),
    ]
    taken = take_snapshot(
        outcomes,
        model_label="gpt-4o-mini",
        offline=False,
        settings=Settings().as_plain(),
        versions={"minigrid": "3.0.0", "python": "3.11.7"},
        variant_hashes={"history": "ab", "unplayed": "cd"},
        fingerprints={("goto", 200): "12", ("goto", 999): "34"},
        variants=["history", "a"],
    )
    assert set(taken.settings) == {
        "environment", "history_length", "num_dists", "on_error", "threshold",
    }  # fmt: skip
    assert taken.versions == {"minigrid": "3.0.0"}
    assert taken.variant_hashes == {"history": "ab"}
    assert taken.fingerprints == {("goto", 200): "12"}
    assert taken.scores == RunScores.of_outcomes(outcomes, variants=["history", "a"])


def test_equal_runs_are_comparable_without_a_word() -> None:
    assert check_comparable(snapshot(), snapshot()) == ()


def test_other_levels_are_refused() -> None:
    other = dict.fromkeys(snapshot().fingerprints, "ffff")
    with pytest.raises(BaselineError, match=r"^baseline main: 40 of 40 levels are not the ones"):
        check_comparable(snapshot(), snapshot(fingerprints=other), label="baseline main")


def test_a_single_other_level_is_named() -> None:
    other = {**snapshot().fingerprints, ("goto", 203): "ffff"}
    with pytest.raises(BaselineError, match=r"1 of 40 levels .* \(goto-203\); play with enviro"):
        check_comparable(snapshot(), snapshot(fingerprints=other))


@pytest.mark.parametrize("change", [{"num_dists": 2}, {"environment": "balrog"}])
def test_settings_of_levels_are_refused_where_fingerprints_do_not_tell(
    change: dict[str, Any],
) -> None:
    other = snapshot(settings=with_settings(**change), fingerprints={})
    with pytest.raises(BaselineError, match="other levels were played"):
        check_comparable(snapshot(), other)


def test_another_environment_with_the_same_levels_is_named() -> None:
    other = snapshot(settings=with_settings(environment="balrog"))
    assert check_comparable(snapshot(), other) == ("environment balrog -> builtin",)


def test_seeds_that_do_not_overlap_are_refused() -> None:
    ours, theirs = snapshot(run(1.0, seeds=(1, 2))), snapshot(run(1.0, seeds=(7, 9)))
    with pytest.raises(BaselineError, match=r"has seeds 7 to 9 of goto, open, this run seeds 1 to"):
        check_comparable(ours, theirs)


def test_tasks_that_do_not_overlap_are_refused() -> None:
    ours = snapshot(RunScores.of([episode(1.0, task="goto")]))
    theirs = snapshot(RunScores.of([episode(1.0, task="open")]))
    with pytest.raises(
        BaselineError, match=r"it has seeds 200 of open, this run seeds 200 of goto"
    ):
        check_comparable(ours, theirs)


def test_a_run_without_episodes_is_refused() -> None:
    with pytest.raises(BaselineError, match="this run has no episode"):
        check_comparable(snapshot(RunScores.of([])), snapshot())


def test_a_baseline_without_episodes_is_refused() -> None:
    with pytest.raises(BaselineError, match="it holds no episode"):
        check_comparable(snapshot(), snapshot(RunScores.of([])))


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"model_label": "gpt-4o"}, "model gpt-4o -> gpt-4o-mini"),
        ({"models": ("gpt-4o-2024",)}, "answers reported the model gpt-4o-2024 -> gpt-4o-2025"),
        ({"settings": with_settings(history_length=4)}, "history_length 4 -> 8"),
        ({"versions": {"minigrid": "2.9"}}, "minigrid 2.9 -> 3.0.0"),
        (
            {"variant_hashes": {"history": "99887766554433"}},
            "variant history changed (99887766 -> ab12cd34)",
        ),
        (
            {"model_label": "x", "offline": True},
            (
                "WARNING: the offline policy is compared with gpt-4o-mini: "
                "one of them is no language model"
            ),
        ),
        (
            {"fingerprints": {}},
            "not every level has a fingerprint on both sides, so equal seeds are taken on trust",
        ),
    ],
)
def test_harmless_differences_are_named(changes: dict[str, Any], note: str) -> None:
    assert check_comparable(snapshot(), snapshot(**changes)) == (note,)


def test_fingerprints_are_taken_from_the_outcomes() -> None:
    outcomes: list[EpisodeOutcome] = [
        solved(EpisodeSpec("a", "goto", 200), layout_fingerprint="12"),
        solved(EpisodeSpec("b", "goto", 200), layout_fingerprint="12"),
        solved(EpisodeSpec("a", "goto", 201)),
        failure(EpisodeSpec("a", "open", 3)),
    ]
    taken = take_snapshot(outcomes, model_label="demo", offline=False, settings={}, versions={})
    assert taken.fingerprints == {("goto", 200): "12"}


def test_a_task_and_seed_on_two_levels_is_refused() -> None:
    outcomes = [
        solved(EpisodeSpec(variant, "goto", 200), layout_fingerprint=text)
        for variant, text in (("a", "12"), ("b", "34"))
    ]
    with pytest.raises(BaselineError, match=r"^the episodes of goto-200 .* on different levels"):
        layout_fingerprints(outcomes)
