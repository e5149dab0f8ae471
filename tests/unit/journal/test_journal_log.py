"""Reading what a crash, a curious user or a later version left."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal import (
    RunLog,
    RunState,
    Scrubber,
    create_run,
    list_runs,
    newest_runs,
    open_run,
    reusable,
)
from tests.unit.journal.journal_samples import (
    RECORDING,
    entry,
    failure,
    key,
    manifest,
    result,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_babyai.journal import Entry

SCRUBBER = Scrubber({})
BOTH = pytest.mark.parametrize("with_steps", [True, False])


def log_of(directory: Path, content: bytes) -> RunLog:
    (directory / "episodes.jsonl").write_bytes(content)
    return RunLog(directory, manifest())


def lines(*entries: Entry) -> list[bytes]:
    return [one.to_line(SCRUBBER) for one in entries]


def seeds(log: RunLog, *, with_steps: bool = True) -> list[int]:
    return [one.key.seed for one in log.entries(with_steps=with_steps)]


def written(root: Path, entries: Sequence[Entry] = ()) -> RunLog:
    with create_run(root, manifest(), RECORDING) as journal:
        for one in entries:
            journal.append(one)
    return open_run(root, journal.run_id)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.text(max_size=9_000), st.integers(0, 3)), max_size=6)
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_leaving_the_steps_on_disk_changes_nothing_else(
    tmp_path: Path, episodes: list[tuple[int, str, int]]
) -> None:
    entries = [
        entry(
            seed,
            outcome=result(
                key(seed),
                failed_candidates=(text, ',"steps":['),
                steps=(step(output=text + ',"steps":[]}\n'),) * num_steps,
            ),
        )
        for seed, text, num_steps in episodes
    ]
    log = log_of(tmp_path, b"".join(lines(*entries)))

    assert list(log.entries()) == entries
    assert [one.outcome for one in log.entries(with_steps=False)] == [
        one.outcome.without_steps() for one in entries
    ]


@BOTH
def test_a_torn_last_line_is_counted_not_read(tmp_path: Path, *, with_steps: bool) -> None:
    first, second = lines(entry(1), entry(2))
    for size in range(1, len(second) - 1, 7):
        log = log_of(tmp_path, first + second[:size])

        assert seeds(log, with_steps=with_steps) == [1]
        assert (log.num_torn, log.problems) == (1, [])


@BOTH
def test_a_corrupt_line_is_skipped_and_named(tmp_path: Path, *, with_steps: bool) -> None:
    first, second, third = lines(entry(1), entry(2), entry(3))
    log = log_of(tmp_path, first + second[:-40] + b"\n" + third)

    assert seeds(log, with_steps=with_steps) == [1, 3]
    assert len(log.problems) == 1
    assert log.problems[0].startswith(f"{log.path}:2: ")
    assert log.num_torn == 0


@BOTH
def test_a_later_pass_counts_anew(tmp_path: Path, *, with_steps: bool) -> None:
    log = log_of(tmp_path, b"rubbish\n" + lines(entry(1))[0] + b"{")

    for _ in range(2):
        assert seeds(log, with_steps=with_steps) == [1]
        assert (len(log.problems), log.num_torn) == (1, 1)


@BOTH
def test_blank_lines_are_no_problem(tmp_path: Path, *, with_steps: bool) -> None:
    log = log_of(tmp_path, b"\n" + lines(entry(1))[0] + b"\n\n")

    assert seeds(log, with_steps=with_steps) == [1]
    assert log.problems == []


@BOTH
def test_lines_of_other_make_are_read(tmp_path: Path, *, with_steps: bool) -> None:
    pretty = json.dumps(json.loads(lines(entry(1))[0])).encode()
    log = log_of(tmp_path, pretty + b"\n" + lines(entry(2))[0])

    assert seeds(log, with_steps=with_steps) == [1, 2]


@BOTH
def test_a_newer_line_is_refused_with_its_place(tmp_path: Path, *, with_steps: bool) -> None:
    newer = lines(entry(1))[0].replace(b'"schema":1', b'"schema":2')
    log = log_of(tmp_path, lines(entry(2))[0] + newer)

    with pytest.raises(JournalError, match=r"episodes.jsonl:2: .*schema 2.*upgrade"):
        list(log.entries(with_steps=with_steps))


def test_a_run_without_entries_has_none(tmp_path: Path) -> None:
    assert list(RunLog(tmp_path, manifest()).entries()) == []


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "episodes.jsonl").mkdir()

    with pytest.raises(JournalError, match=r"episodes.jsonl: Is a directory"):
        list(RunLog(tmp_path, manifest()).entries())


def test_reading_holds_one_trajectory_at_a_time(tmp_path: Path) -> None:
    long = entry(outcome=result(key(), steps=(step(output="x" * 2_000),) * 100))
    line = long.to_line(SCRUBBER)
    log = log_of(tmp_path, line * 100)

    tracemalloc.start()
    try:
        assert sum(1 for _ in log.entries()) == 100
        assert tracemalloc.get_traced_memory()[1] < 10 * len(line)
    finally:
        tracemalloc.stop()


def test_steps_can_be_fetched_later(tmp_path: Path) -> None:
    entries = [entry(seed) for seed in range(5)]
    damaged = lines(entries[3])[0][:-9] + b"\n"
    log = log_of(tmp_path, damaged + b"".join(lines(*entries)))
    without = list(log.entries(with_steps=False))[3]

    assert log.with_steps(without) == entries[3]


def test_steps_of_an_entry_that_is_gone_are_an_error(tmp_path: Path) -> None:
    log = log_of(tmp_path, b"".join(lines(entry(1))))

    with pytest.raises(JournalError, match="no longer there"):
        log.with_steps(entry(2))


def test_only_scores_with_the_same_key_are_reused(tmp_path: Path) -> None:
    failed = entry(2, outcome=failure(key(2)))
    other_hash = entry(key=key(3, variant_hash="old"))
    log = log_of(tmp_path, b"".join(lines(entry(1), failed, other_hash, entry(4))))

    found = reusable(log, [key(1), key(2), key(3)])

    assert list(found) == [key(1)]
    assert found[key(1)].outcome == entry(1).outcome.without_steps()


def test_the_last_score_counts_and_a_failure_takes_none_away(tmp_path: Path) -> None:
    first = entry(outcome=result(key(), episode_return=0.1))
    second = entry(outcome=result(key(), episode_return=0.2))
    failed = entry(outcome=failure(key()))
    log = log_of(tmp_path, b"".join(lines(failed, first, second, failed)))

    expected = second.outcome.without_steps()
    assert reusable(log, [key()])[key()].outcome == expected
    assert [one.outcome for one in log.latest().values()] == [expected]


def test_the_last_failure_counts_where_there_is_no_score(tmp_path: Path) -> None:
    failures = [entry(outcome=failure(key(), kind=kind)) for kind in ("timeout", "provider")]
    log = log_of(tmp_path, b"".join(lines(*failures)))

    assert [getattr(one.outcome, "kind", None) for one in log.latest().values()] == ["provider"]


def test_runs_are_listed_by_age(tmp_path: Path) -> None:
    ids = [written(tmp_path).run_id for _ in range(3)]

    assert [log.run_id for log in list_runs(tmp_path)] == ids
    assert [log.run_id for log in newest_runs(tmp_path)] == ids[::-1]


def test_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "20261123-180102-ab12").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "20261123-180102-ab13").mkdir()
    (tmp_path / "20261123-180102-ab13" / "manifest.json").write_text("{")

    assert list_runs(tmp_path) == []
    assert list_runs(tmp_path / "missing") == []


def test_latest_is_the_newest_that_nobody_writes(tmp_path: Path) -> None:
    first = written(tmp_path)
    with create_run(tmp_path, manifest(), RECORDING):
        assert open_run(tmp_path).run_id == first.run_id


def test_without_any_run_latest_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no run to go on with in .*--babyai-resume"):
        open_run(tmp_path)


def test_a_run_can_be_named_by_either_end(tmp_path: Path) -> None:
    log = written(tmp_path)

    assert open_run(tmp_path, log.run_id[-4:]).run_id == log.run_id
    assert open_run(tmp_path, log.run_id[:8]).run_id == log.run_id


def test_an_ambiguous_name_is_refused(tmp_path: Path) -> None:
    logs = [written(tmp_path), written(tmp_path)]

    with pytest.raises(SettingsError, match=f"ambiguous: {logs[0].run_id}, {logs[1].run_id}"):
        open_run(tmp_path, "20")


def test_an_unknown_run_gets_a_suggestion(tmp_path: Path) -> None:
    run_id = written(tmp_path).run_id

    with pytest.raises(SettingsError, match=f"did you mean '{run_id}'"):
        open_run(tmp_path, run_id[:-1] + "x")


@pytest.mark.parametrize("run", ["", "nonsense", "../x"])
def test_an_unknown_run_where_there_is_none_says_so(tmp_path: Path, run: str) -> None:
    with pytest.raises(SettingsError, match="no run was recorded there yet"):
        open_run(tmp_path, run)


def test_a_damaged_manifest_is_one_line(tmp_path: Path) -> None:
    log = written(tmp_path)
    (log.directory / "manifest.json").write_text('{"schema": 1}')

    with pytest.raises(JournalError, match=r"manifest.json: not readable: .*model_label"):
        open_run(tmp_path, log.run_id)


def test_a_manifest_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    log = written(tmp_path)
    (log.directory / "manifest.json").unlink()
    (log.directory / "manifest.json").mkdir()

    with pytest.raises(JournalError, match=r"manifest.json: Is a directory"):
        open_run(tmp_path, log.run_id)


def test_a_killed_run_is_interrupted(tmp_path: Path) -> None:
    log = RunLog(tmp_path, manifest(state=RunState.RUNNING))

    assert log.state is RunState.INTERRUPTED
