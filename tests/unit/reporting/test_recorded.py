"""Runs of the journal as reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.journal import (
    Entry,
    EpisodeKey,
    GitState,
    Manifest,
    Session,
    VariantDefinition,
    create_run,
)
from pytest_babyai.reporting.recorded import (
    provenance_of,
    readable_time,
    recorded_run,
    recorded_snapshot,
)
from tests.unit.reporting.reporting_samples import failure, result, solved, step

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.journal import RunLog
    from pytest_babyai.records import EpisodeOutcome

MANIFEST = Manifest(
    model_label="demo",
    offline=True,
    variants={"history": VariantDefinition("1"), "baseline": VariantDefinition("2")},
    sessions=(
        Session(
            started_at="2026-01-31T14:05:06+00:00",
            command_line=("pytest", "evals"),
            settings={"environment": "balrog", "on_error": "fallback"},
            versions={"minigrid": "3.2.0"},
            git=GitState("0123456789abcdef", dirty=True),
            num_selected=5,
        ),
    ),
)


def recorded(tmp_path: Path, *outcomes: EpisodeOutcome) -> RunLog:
    with create_run(tmp_path / "runs", MANIFEST) as journal:
        for outcome in outcomes:
            spec = outcome.spec
            key = EpisodeKey(spec.variant, "hash", spec.task, spec.seed)
            journal.append(Entry(key, outcome, f"test.py::test[{spec}]", "demo"))
    return journal.log


def test_a_run_is_read_with_its_setup(tmp_path: Path) -> None:
    report = recorded_run(recorded(tmp_path, solved()), ["goto"])
    setup = report.setup
    assert (setup.model_label, setup.offline, setup.environment) == ("demo", True, "balrog")
    assert (setup.variants, setup.tasks) == (("history", "baseline"), ("goto",))
    assert (setup.gate, setup.on_error) == ("episodes", "fallback")


def test_episodes_that_were_not_played_are_counted(tmp_path: Path) -> None:
    assert recorded_run(recorded(tmp_path, solved())).num_selected == 5


def test_an_unsolved_task_is_below_the_threshold(tmp_path: Path) -> None:
    report = recorded_run(recorded(tmp_path, result()))
    assert [each.below_threshold for each in report.episodes] == [True]


@pytest.mark.parametrize(("with_steps", "num_steps"), [(True, 2), (False, 0)])
def test_trajectories_are_read_if_wanted(
    tmp_path: Path, *, with_steps: bool, num_steps: int
) -> None:
    log = recorded(tmp_path, solved(steps=(step(), step())))
    (episode,) = recorded_run(log, with_steps=with_steps).episodes
    assert len(episode.outcome.steps) == num_steps


def test_wall_time_is_from_the_first_start_to_the_last_end(tmp_path: Path) -> None:
    spec = type(solved().spec)("history", "goto", 201)
    first = solved(started_at_s=100.0, duration_s=9.0)
    last = failure(spec, started_at_s=105.0, duration_s=7.5)
    assert recorded_run(recorded(tmp_path, first, last)).wall_time_s == 12.5


def test_a_run_without_episodes_took_no_time(tmp_path: Path) -> None:
    assert recorded_run(recorded(tmp_path)).wall_time_s == 0.0


def test_a_run_is_read_for_comparisons(tmp_path: Path) -> None:
    taken = recorded_snapshot(recorded(tmp_path, solved(layout_fingerprint="12")), ["goto"])
    assert (taken.model_label, taken.offline) == ("demo", True)
    assert taken.settings == {"environment": "balrog", "on_error": "fallback"}
    assert taken.versions == {"minigrid": "3.2.0"}
    assert taken.variant_hashes == {"baseline": "2"}
    assert taken.fingerprints == {("goto", 200): "12"}
    assert [each.spec for each in taken.scores.episodes] == [solved().spec]


def test_a_failure_that_was_played_again_counts_once(tmp_path: Path) -> None:
    taken = recorded_snapshot(recorded(tmp_path, failure(), solved(), failure()))
    assert [type(each).__name__ for each in taken.scores.episodes] == ["EpisodeResult"]


def test_provenance_is_that_of_the_manifest(tmp_path: Path) -> None:
    log = recorded(tmp_path)
    provenance = provenance_of(log.manifest)
    assert provenance.run_id == log.run_id
    assert provenance.commit == "0123456789ab with uncommitted changes"
    assert provenance.versions == {"minigrid": "3.2.0"}
    assert provenance.command_line == ("pytest", "evals")


@pytest.mark.parametrize(
    ("iso", "text"),
    [
        ("2026-01-31T14:05:06.789+00:00", "2026-01-31 14:05 UTC"),
        ("2026-01-31T15:05:06+01:00", "2026-01-31 14:05 UTC"),
        ("2026-01-31T14:05:06", "2026-01-31 14:05 UTC"),
        ("2026-01-31T14:05:06Z", "2026-01-31 14:05 UTC"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_are_readable(iso: str, text: str) -> None:
    assert readable_time(iso) == text
