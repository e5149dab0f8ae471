"""One run of several journals."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal import (
    RunState,
    VariantDefinition,
    create_run,
    merge_runs,
    open_run,
    runs_below,
)
from pytest_babyai.journal.feedback_log import FeedbackLog, acknowledged_feedback
from tests.unit.journal.journal_samples import (
    RECORDING,
    FullDisk,
    entry,
    failure,
    key,
    manifest,
    result,
    session,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pytest_babyai.journal import Entry, MergedRun, RunLog


def played(root: Path, *entries: Entry, state: RunState | None = None, **changes: Any) -> RunLog:
    """Records a run; ``shard``, ``settings`` and ``num_selected`` are its session's."""
    given = {"model": "offline", "history_length": 8, "shard": changes.pop("shard", None)}
    own = session(
        settings={**given, **changes.pop("settings", {})},
        num_selected=changes.pop("num_selected", len(entries)),
    )
    with create_run(root, manifest(**{"sessions": (own,)} | changes), RECORDING) as journal:
        journal.append_all(entries)
        if state is not None:
            journal.close(state)
    return open_run(root, journal.run_id)


def merge(root: Path, logs: Iterable[RunLog], **options: Any) -> tuple[MergedRun, RunLog]:
    merged = merge_runs(root / "merged", list(logs), RECORDING, **options)
    return merged, open_run(root / "merged", merged.run_id)


def test_shards_become_one_run_with_every_line(tmp_path: Path) -> None:
    shards = [
        played(tmp_path, *(entry(seed) for seed in range(part, 12, 3)), shard=f"{part + 1}/3")
        for part in range(3)
    ]

    merged, log = merge(tmp_path, shards)

    assert sorted(one.key.seed for one in log.entries()) == list(range(12))
    assert {one.key.seed: one for one in log.entries()} == {s: entry(s) for s in range(12)}
    assert (merged.num_runs, merged.num_episodes, merged.num_failures) == (3, 12, 0)
    assert (log.manifest.session.num_selected, log.state) == (12, RunState.FINISHED)
    assert log.manifest.session.settings["shard"] is None
    assert log.manifest.session.notes == {"merged": [each.run_id for each in shards]}
    assert [each.settings.get("shard") for each in log.manifest.sessions] == [
        "1/3",
        "2/3",
        "3/3",
        None,
    ]


@given(st.lists(st.sets(st.integers(0, 30)), min_size=1, max_size=4))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20
)
def test_however_runs_overlap_each_episode_is_there_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[set[int]]
) -> None:
    root = tmp_path_factory.mktemp("runs")
    logs = [played(root, *map(entry, sorted(part))) for part in parts]

    merged, log = merge(root, logs)

    assert [one.key.seed for one in log.entries()] == list(
        dict.fromkeys(seed for part in parts for seed in sorted(part))
    )
    assert merged.num_episodes == len(set().union(*parts)) == log.manifest.session.num_selected
    assert merged.num_equal == sum(map(len, parts)) - merged.num_episodes


def test_runs_that_were_played_differently_are_refused_by_name(tmp_path: Path) -> None:
    first = played(tmp_path, entry(1))
    other = {"baseline": VariantDefinition("ef56", {"template user/plain": "ef56"})}

    with pytest.raises(SettingsError) as caught:
        merge(
            tmp_path,
            [
                first,
                played(tmp_path, entry(2), variants=other, settings={"history_length": 4}),
            ],
        )

    assert str(caught.value).startswith(f"cannot merge runs {first.run_id} and ")
    assert str(caught.value).endswith(
        "history_length 8 → 4; variant baseline: template user/plain changed (cd34 → ef56)"
    )
    assert not list((tmp_path / "merged").glob("2*"))


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    logs = [played(tmp_path, entry(1)), played(tmp_path, entry(2), model_label="gpt")]

    with pytest.raises(SettingsError, match="differently: model offline → gpt"):
        merge(tmp_path, logs)


def test_the_third_run_is_compared_with_all_before_it(tmp_path: Path) -> None:
    def only(name: str, hashed: str) -> dict[str, Any]:
        return {"variants": {name: VariantDefinition(hashed)}}

    logs = [
        played(tmp_path, entry(1), **only("a", "1")),
        played(tmp_path, entry(2), **only("b", "1")),
        played(tmp_path, entry(3), **only("b", "2")),
    ]

    with pytest.raises(SettingsError, match=r"variant b changed \(1 → 2\)"):
        merge(tmp_path, logs)
    assert list(merge(tmp_path, logs[:2])[1].manifest.variants) == ["b", "a"]


def test_a_missing_shard_is_refused_or_said(tmp_path: Path) -> None:
    logs = [played(tmp_path, entry(part), shard=f"{part}/4") for part in (1, 4)]

    with pytest.raises(SettingsError, match="no run of shard 2/4, 3/4 is among them"):
        merge(tmp_path, logs)

    merged, log = merge(tmp_path, logs, partial=True)
    assert (merged.missing_shards, log.state) == (("2/4", "3/4"), RunState.INTERRUPTED)


def test_shards_of_different_cuts_are_refused(tmp_path: Path) -> None:
    logs = [played(tmp_path, entry(1), shard="1/2"), played(tmp_path, entry(2), shard="2/10")]

    with pytest.raises(SettingsError, match="some are of 2, others of 10"):
        merge(tmp_path, logs)


def test_different_results_are_refused_unless_one_is_preferred(tmp_path: Path) -> None:
    good = entry(1, outcome=result(key(1), episode_id="good"))
    bad = entry(1, outcome=result(key(1), episode_id="bad", progression=0.0, episode_return=0.0))
    logs = [played(tmp_path, good), played(tmp_path, bad)]

    with pytest.raises(SettingsError, match="have different results of baseline-goto-1; --prefer"):
        merge(tmp_path, logs)

    for prefer, expected in (("first", good), ("last", bad)):
        merged, log = merge(tmp_path, logs, prefer=prefer)
        assert (merged.num_chosen, list(log.entries())) == (1, [expected])


def test_an_equal_result_of_another_play_counts_once(tmp_path: Path) -> None:
    again = result(key(1), episode_id="again", duration_s=99.0)

    merged, log = merge(
        tmp_path, [played(tmp_path, entry(1)), played(tmp_path, entry(1, outcome=again))]
    )

    assert (merged.num_equal, list(log.entries())) == (1, [entry(1)])


@pytest.mark.parametrize("is_failure_first", [True, False])
def test_a_score_takes_the_place_of_an_error_which_was_paid_for(
    tmp_path: Path, *, is_failure_first: bool
) -> None:
    failed = entry(1, outcome=failure(key(1), episode_id="failed"))
    plays = [failed, entry(1)] if is_failure_first else [entry(1), failed]

    merged, log = merge(tmp_path, [played(tmp_path, play) for play in plays])

    assert (merged.num_replayed, merged.num_episodes, merged.num_failures) == (1, 1, 0)
    assert log.latest()[key(1)].outcome == entry(1).outcome.without_steps()
    assert log.spent().num_plays == 2


def test_what_was_not_played_is_still_missing(tmp_path: Path) -> None:
    logs = [
        played(tmp_path, entry(1), num_selected=5, state=RunState.INTERRUPTED),
        played(tmp_path, entry(2), num_selected=1),
    ]

    _, log = merge(tmp_path, logs)

    assert (log.manifest.session.num_selected, log.state) == (6, RunState.INTERRUPTED)


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    log = played(tmp_path, entry(1))
    with log.path.open("ab") as file:
        file.write(b"rubbish\n")

    merged, _ = merge(tmp_path, [log, played(tmp_path, entry(2))])

    assert [line.partition(":")[0] for line in merged.damage] == [f"run {log.run_id}"]


def test_acknowledged_feedback_comes_along(tmp_path: Path) -> None:
    logs = [played(tmp_path, entry(1)), played(tmp_path, entry(2))]
    for number, log in enumerate(logs):
        feedback = FeedbackLog(log.directory)
        feedback.acknowledge_now(f"e{number}", ["progression", "episode_return"])
        feedback.close()

    _, log = merge(tmp_path, logs)

    assert acknowledged_feedback(log.directory) == {
        (f"e{n}", metric) for n in (0, 1) for metric in ("progression", "episode_return")
    }


def test_a_run_that_is_being_played_is_left_alone(tmp_path: Path) -> None:
    with (
        create_run(tmp_path, manifest(), RECORDING) as playing,
        pytest.raises(JournalError, match=f"run {playing.run_id} is being played"),
    ):
        merge(tmp_path, [playing.log])


def test_a_full_disk_leaves_no_half_of_a_run(tmp_path: Path) -> None:
    full = dataclasses.replace(RECORDING, open_file=lambda path: FullDisk(path, room=100))

    with pytest.raises(JournalError, match="No space left on device"):
        merge_runs(tmp_path / "merged", [played(tmp_path, entry(1))], full)

    assert list((tmp_path / "merged").glob("2*")) == []


def test_runs_are_found_anywhere_below_a_directory(tmp_path: Path) -> None:
    logs = [played(tmp_path / name / ".babyai" / "runs", entry(1)) for name in ("a", "b")]

    assert [log.run_id for log in runs_below(tmp_path)] == [log.run_id for log in logs]
    assert [log.run_id for log in runs_below(logs[0].directory)] == [logs[0].run_id]
