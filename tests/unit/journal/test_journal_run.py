"""Starting, resuming and ending runs."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal import (
    Recording,
    RunState,
    Scrubber,
    VariantDefinition,
    create_run,
    list_runs,
    open_run,
    resume_run,
    run,
)
from pytest_babyai.journal.read import RUN_ID
from pytest_babyai.journal.run import next_run_id
from tests.unit.journal.journal_samples import RECORDING, FullDisk, entry, manifest, session

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from pytest_babyai.journal.files import AppendFile

NOON = dt.datetime(2026, 11, 23, 12, 0, 0, tzinfo=dt.timezone.utc)


def seeds(root: Path, run_id: str = "latest") -> list[int]:
    return [one.key.seed for one in open_run(root, run_id).entries()]


@given(st.lists(st.integers(-10_000, 10_000), max_size=30), st.randoms())
def test_ids_sort_in_the_order_of_creation_whatever_the_clock_says(
    seconds: list[int], chance: random.Random
) -> None:
    ids: list[str] = []
    for second in seconds:
        ids.append(next_run_id(NOON + dt.timedelta(seconds=second), ids, chance))

    assert ids == sorted(set(ids))
    assert all(RUN_ID.fullmatch(one) for one in ids)


def test_an_id_tells_the_time_of_its_run() -> None:
    assert next_run_id(NOON, ["lock", "20251231-235959-ffff"]).startswith("20261123-120000-")


def test_an_id_counts_on_into_the_next_second() -> None:
    following = next_run_id(NOON, ["20261123-120000-ffff"])

    assert following.startswith("20261123-120001-00")


def test_an_id_follows_digits_that_are_no_time() -> None:
    assert next_run_id(NOON, ["99999999-999998-ffff"]).startswith("99999999-999999-00")


def test_a_run_has_manifest_and_entries(tmp_path: Path) -> None:
    with create_run(tmp_path / "runs", manifest(), RECORDING) as journal:
        journal.append(entry(1))
        asyncio.run(journal.append_async(entry(2)))

    log = open_run(tmp_path / "runs")
    assert log.manifest.run_id == log.run_id == journal.run_id
    assert list(log.entries()) == [entry(1), entry(2)]


def test_an_entry_is_readable_once_its_append_returned(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))

        assert list(journal.log.entries()) == [entry(1)]


def test_an_entry_without_a_time_gets_the_present(tmp_path: Path) -> None:
    recording = dataclasses.replace(RECORDING, clock=lambda: NOON)
    with create_run(tmp_path, manifest(), recording) as journal:
        journal.append(entry(written_at=""))

    assert next(open_run(tmp_path).entries()).written_at == "2026-11-23T12:00:00.000+00:00"


def test_trajectories_can_be_left_out(tmp_path: Path) -> None:
    recording = dataclasses.replace(RECORDING, trajectories=False)
    with create_run(tmp_path, manifest(), recording) as journal:
        journal.append(entry())

    assert next(open_run(tmp_path).entries()).outcome.steps == ()


def test_secrets_of_the_process_are_redacted_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-real-one")
    noted = manifest(sessions=(session(settings={"model": "not-a-real-one"}),))
    with create_run(tmp_path, noted) as journal:
        journal.append(entry(model_label="model not-a-real-one"))
        journal.add_notes({"answer": "not-a-real-one"})

    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"not-a-real-one" not in written


def test_the_directory_of_runs_is_kept_out_of_git(tmp_path: Path) -> None:
    create_run(tmp_path / ".babyai" / "runs", manifest(), RECORDING).close()

    assert (tmp_path / ".babyai" / "runs" / ".gitignore").read_text() == "*\n"


def test_a_clock_set_back_overwrites_nothing(tmp_path: Path) -> None:
    moments = [NOON, NOON - dt.timedelta(days=400), NOON]
    recording = dataclasses.replace(RECORDING, clock=iter(moments).__next__)
    for number in range(len(moments)):
        with create_run(tmp_path, manifest(), recording) as journal:
            journal.append(entry(number))

    assert [next(log.entries()).key.seed for log in list_runs(tmp_path)] == [0, 1, 2]
    assert seeds(tmp_path) == [2]


def test_a_name_that_another_process_was_faster_to_take_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    proposals = iter(["taken", "taken", "free"])

    directory = run._make_directory(tmp_path, lambda _: next(proposals))

    assert directory == tmp_path / "free"


def test_without_a_free_name_there_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(JournalError, match="no free name for a run"):
        run._make_directory(tmp_path, lambda _: "taken")


def test_two_runs_at_once_in_one_directory_do_not_mix(tmp_path: Path) -> None:
    with (
        create_run(tmp_path, manifest(), RECORDING) as one,
        create_run(tmp_path, manifest(), RECORDING) as other,
    ):
        one.append(entry(1))
        other.append(entry(2))

    assert seeds(tmp_path, one.run_id) == [1]
    assert seeds(tmp_path, other.run_id) == [2]


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.INTERRUPTED])
def test_a_closed_run_tells_how_far_it_came(tmp_path: Path, state: RunState) -> None:
    journal = create_run(tmp_path, manifest(), RECORDING)
    assert open_run(tmp_path, journal.run_id).state is RunState.RUNNING

    journal.close(state)
    journal.close()

    assert open_run(tmp_path).state is state


def test_an_exception_leaves_the_run_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create_run(tmp_path, manifest(), RECORDING):
        raise KeyboardInterrupt

    assert open_run(tmp_path).state is RunState.INTERRUPTED


def test_a_closed_journal_refuses_entries(tmp_path: Path) -> None:
    journal = create_run(tmp_path, manifest(), RECORDING)
    journal.close()

    with pytest.raises(JournalError, match="closed"):
        journal.append(entry())


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))

    with resume_run(tmp_path, "latest", manifest(), RECORDING) as resumed:
        resumed.append(entry(2))

    assert resumed.run_id == journal.run_id
    assert seeds(tmp_path) == [1, 2]
    assert len(open_run(tmp_path).manifest.sessions) == 2


def test_resuming_cuts_an_unfinished_line_away(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))
    with journal.log.path.open("ab") as file:
        file.write(entry(2).to_line(Scrubber({}))[:-30])

    with resume_run(tmp_path, journal.run_id, manifest(), RECORDING) as resumed:
        resumed.append(entry(3))

    assert seeds(tmp_path) == [1, 3]


def test_resuming_keeps_a_whole_last_line_that_lacks_its_newline(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))
    journal.log.path.write_bytes(journal.log.path.read_bytes().rstrip())

    with resume_run(tmp_path, "latest", manifest(), RECORDING) as resumed:
        resumed.append(entry(2))

    assert seeds(tmp_path) == [1, 2]


def test_a_changed_configuration_is_refused_by_name(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))
    before = (journal.log.directory / "manifest.json").read_bytes()
    changed = manifest(
        variants={"baseline": VariantDefinition("ef56", {"template user/plain": "ef56"})},
        sessions=(session(settings={"history_length": 4, "model": "offline"}),),
    )

    with pytest.raises(SettingsError) as caught:
        resume_run(tmp_path, "latest", changed, RECORDING)

    assert "history_length 8 → 4; variant baseline: template user/plain changed" in str(
        caught.value
    )
    assert (journal.log.directory / "manifest.json").read_bytes() == before
    assert open_run(tmp_path).state is RunState.FINISHED


def test_a_redacted_setting_is_no_change(tmp_path: Path) -> None:
    secret = manifest(sessions=(session(settings={"model": "http://me:secret@host"}),))
    create_run(tmp_path, secret, RECORDING).close()

    resume_run(tmp_path, "latest", secret, RECORDING).close()

    assert len(open_run(tmp_path).manifest.sessions) == 2


def test_a_run_that_is_being_written_cannot_be_resumed(tmp_path: Path) -> None:
    with (
        create_run(tmp_path, manifest(), RECORDING) as journal,
        pytest.raises(JournalError, match="is being written by process"),
    ):
        resume_run(tmp_path, journal.run_id, manifest(), RECORDING)


def test_a_full_disk_ends_in_one_line_that_says_how_to_go_on(tmp_path: Path) -> None:
    line = entry(1).to_line(Scrubber({}))
    full = Recording(
        scrubber=Scrubber({}), open_file=lambda path: FullDisk(path, room=len(line) + 9)
    )
    with create_run(tmp_path, manifest(), full) as journal:
        journal.append(entry(1))
        with pytest.raises(JournalError) as caught:
            journal.append(entry(2))

    assert str(caught.value) == (
        f"{journal.log.path}: No space left on device; earlier episodes are kept; "
        f"free space, then resume with --babyai-resume={journal.run_id}"
    )
    assert list(journal.log.entries()) == [entry(1)]
    assert journal.log.num_torn == 0


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(JournalError, match=r"file.*: Not a directory; the journal needs"):
        create_run(tmp_path / "file" / "runs", manifest(), RECORDING)


def test_a_file_that_cannot_be_opened_frees_the_run(tmp_path: Path) -> None:
    def refuse(path: Path) -> AppendFile:
        raise PermissionError(13, "Permission denied", str(path))

    refused = dataclasses.replace(RECORDING, open_file=refuse)
    with pytest.raises(JournalError, match=r"episodes.jsonl: Permission denied"):
        create_run(tmp_path, manifest(), refused)

    resume_run(tmp_path, "latest", manifest(), RECORDING).close()


def test_a_tail_that_cannot_be_repaired_frees_the_run(tmp_path: Path) -> None:
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry(1))
    with journal.log.path.open("ab") as file:
        file.write(b"{")

    def read_only(path: Path) -> FullDisk:
        disk = FullDisk(path, room=0)
        disk.can_truncate = False
        return disk

    stuck = dataclasses.replace(RECORDING, open_file=read_only)
    with pytest.raises(JournalError, match="Input/output error"):
        resume_run(tmp_path, "latest", manifest(), stuck)

    resume_run(tmp_path, "latest", manifest(), RECORDING).close()
    assert seeds(tmp_path) == [1]


def test_a_manifest_that_cannot_be_written_is_one_line_and_frees_the_run(tmp_path: Path) -> None:
    journal = create_run(tmp_path, manifest(), RECORDING)
    path = journal.log.directory / "manifest.json"
    path.unlink()
    path.mkdir()

    with pytest.raises(JournalError, match=r"manifest.json.*: Is a directory; the journal needs"):
        journal.close()

    path.rmdir()
    path.write_bytes(manifest().to_json(Scrubber({})))
    assert open_run(tmp_path).state is RunState.INTERRUPTED
