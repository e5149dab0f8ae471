"""Acknowledgements survive whatever ends a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import JournalError
from pytest_babyai.journal import RunLog
from pytest_babyai.journal.feedback_log import (
    FEEDBACK_FILE,
    FeedbackLog,
    acknowledged_feedback,
    scored_episodes,
)
from tests.unit.journal.journal_samples import (
    RECORDING,
    FullDisk,
    entry,
    failure,
    key,
    manifest,
    result,
)

if TYPE_CHECKING:
    from pathlib import Path

METRICS = ("episode_return", "progression")


def test_what_was_acknowledged_is_missing_no_more(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)

    log.acknowledge_now("e", ["progression"])

    assert log.missing("e", METRICS) == ["episode_return"]
    assert log.missing("f", METRICS) == ["episode_return", "progression"]
    log.close()


@pytest.mark.asyncio
async def test_another_process_knows_it_too(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    await log.acknowledge("e", METRICS)
    log.close()

    assert FeedbackLog(tmp_path).missing("e", METRICS) == []


def test_a_run_without_feedback_has_no_such_file(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.close()

    assert not (tmp_path / FEEDBACK_FILE).exists()
    assert acknowledged_feedback(tmp_path) == set()


def test_a_torn_line_is_cut_away_before_more_is_written(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.acknowledge_now("e", METRICS)
    log.close()
    with log.path.open("ab") as file:
        file.write(b'{"schema":1,"episode_id":"f","me')

    again = FeedbackLog(tmp_path)
    assert again.missing("f", METRICS) == list(METRICS)
    again.acknowledge_now("g", METRICS)
    again.close()

    assert {episode_id for episode_id, _ in acknowledged_feedback(tmp_path)} == {"e", "g"}


def test_damaged_lines_acknowledge_nothing(tmp_path: Path) -> None:
    (tmp_path / FEEDBACK_FILE).write_text('nonsense\n[]\n{"episode_id": "e"}\n')

    assert acknowledged_feedback(tmp_path) == set()


def test_a_full_disk_is_told_and_acknowledges_nothing(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, open_file=lambda path: FullDisk(path, 10))

    with pytest.raises(JournalError, match=f"{FEEDBACK_FILE}: .*space"):
        log.acknowledge_now("e", METRICS)

    assert log.missing("e", METRICS) == list(METRICS)
    log.close()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / FEEDBACK_FILE).mkdir()

    with pytest.raises(JournalError, match=FEEDBACK_FILE):
        FeedbackLog(tmp_path)


def test_every_score_of_a_run_is_given_once(tmp_path: Path) -> None:
    played = entry(key=key(200), outcome=result(key(200)))
    failed = entry(key=key(201), outcome=failure(key(201)))
    lines = [each.to_line(RECORDING.scrubber) for each in (played, failed, played)]
    log = RunLog(tmp_path, manifest())
    log.path.write_bytes(b"".join(lines))

    (score,) = scored_episodes(log)

    assert score == result(key(200)).without_steps()
