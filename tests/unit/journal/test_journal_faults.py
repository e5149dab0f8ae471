"""Journals of earlier versions, damaged ones, and what is said of them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import JournalError
from pytest_babyai.journal import (
    Entry,
    RunLog,
    Scrubber,
    create_run,
    list_runs,
    open_run,
    past_durations,
    past_results,
    resume_run,
    reusable,
)
from pytest_babyai.journal import read as reading
from pytest_babyai.records import NO_USAGE, Usage
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
    from pathlib import Path

EARLIER_LINE = rb"""{"schema":1,"key":{"variant":"baseline","variant_hash":"ab12","task":"goto",
"seed":200,"repeat":0,"history_length":8,"num_dists":0,"environment":"builtin","on_error":"raise"},
"outcome":{"type":"result","spec":{"variant":"baseline","task":"goto","seed":200},
"episode_id":"id-baseline-goto-200","mission":"go to the red ball","max_steps":64,
"progression":1.0,"episode_return":0.9,"num_steps":2,"terminated":true,"truncated":false,
"usage":{"input_tokens":200,"output_tokens":20,"cost":0.002},"failed_candidates":["\u00e9"],
"num_fallbacks":0,"num_retries":1,"started_at_s":1000.5,"duration_s":1.5,
"layout_fingerprint":null,"num_cached":0},
"nodeid":"evals/test_babyai.py::test_episode[baseline-goto-200]","model_label":"offline",
"offline":true,"layout_fingerprint":"cafe","written_at":"2026-11-23T18:01:02.000+00:00",
"step_fields":["observation","output","thinking","candidate","action","reward","status",
"latency_ms","input_tokens","output_tokens","cost","inference_id","cached"],"steps_size":144,
"steps":[["a wall 2 steps forward\na red ball 1 step right","\u00e9 \ud800",null,"turn right",
"turn right",0.0,"valid",5.25,100,null,null,"0193",false]]}
"""
EARLIER_MANIFEST = b"""{
  "schema": 1,
  "model_label": "offline",
  "offline": true,
  "variants": {"baseline": {"hash": "ab12", "parts": {"template user/plain": "cd34"}}},
  "sessions": [
    {
      "started_at": "2026-11-23T18:01:02+00:00",
      "command_line": ["pytest", "evals"],
      "settings": {"history_length": 8, "model": "offline"},
      "versions": {"minigrid": "3.2.0", "python": "3.11.7"},
      "git": null,
      "num_selected": 3,
      "notes": {}
    }
  ],
  "state": "interrupted",
  "run_id": "20261123-180102-ab12"
}
"""
EARLIER_ENTRY = entry(
    outcome=result(
        key(),
        steps=(step(output="é \ud800", usage=Usage(100, None, None)),),
        failed_candidates=("é",),
    )
)


def run_of(root: Path, name: str, *lines: bytes) -> Path:
    directory = root / name
    directory.mkdir(parents=True)
    (directory / "manifest.json").write_bytes(EARLIER_MANIFEST)
    (directory / "episodes.jsonl").write_bytes(b"".join(lines))
    return directory


def log_of(directory: Path, *lines: bytes) -> RunLog:
    (directory / "episodes.jsonl").write_bytes(b"".join(lines))
    return RunLog(directory, manifest())


def line_of(of: Entry) -> bytes:
    return of.to_line(Scrubber({}))


@pytest.mark.parametrize("with_steps", [True, False])
def test_a_run_of_the_earlier_format_is_read_and_resumed(
    tmp_path: Path, *, with_steps: bool
) -> None:
    line = EARLIER_LINE.replace(b"\n", b"") + b"\n"
    run_of(tmp_path, "20261123-180102-ab12", line)

    (read,) = open_run(tmp_path).entries(with_steps=with_steps)
    assert read.outcome.without_steps() == EARLIER_ENTRY.outcome.without_steps()
    assert open_run(tmp_path).with_steps(read) == EARLIER_ENTRY

    with resume_run(tmp_path, "latest", manifest(), RECORDING) as journal:
        journal.append(entry(201))
    assert [one.key.seed for one in open_run(tmp_path).entries()] == [200, 201]


def test_a_corrupt_newest_manifest_is_an_error_that_names_it(tmp_path: Path) -> None:
    create_run(tmp_path, manifest(), RECORDING).close()
    newest = create_run(tmp_path, manifest(), RECORDING)
    newest.close()
    (newest.log.directory / "manifest.json").write_text('{"schema": 1, "sess')

    with pytest.raises(JournalError) as caught:
        open_run(tmp_path)

    assert str(caught.value).startswith(f"{newest.log.directory / 'manifest.json'}: not readable: ")
    assert "this is the newest run: name an older one by its id" in str(caught.value)


def test_episodes_without_a_manifest_are_no_run_to_pass_over(tmp_path: Path) -> None:
    create_run(tmp_path, manifest(), RECORDING).close()
    newest = create_run(tmp_path, manifest(), RECORDING)
    newest.close()
    (newest.log.directory / "manifest.json").unlink()

    with pytest.raises(JournalError, match=f"{newest.run_id}/manifest.json: No such file"):
        open_run(tmp_path)


def test_a_run_that_never_began_is_passed_over(tmp_path: Path) -> None:
    older = create_run(tmp_path, manifest(), RECORDING)
    older.close()
    (tmp_path / "29991123-180102-ab12").mkdir()

    assert open_run(tmp_path).run_id == older.run_id


def test_runs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    whole = create_run(tmp_path, manifest(), RECORDING)
    whole.close()
    (run_of(tmp_path, "20261123-180102-ab12") / "manifest.json").write_bytes(b"\xff")
    unreadable: list[str] = []

    assert [log.run_id for log in list_runs(tmp_path, unreadable)] == [whole.run_id]
    assert [line.partition(": ")[0] for line in unreadable] == [
        str(tmp_path / "20261123-180102-ab12" / "manifest.json")
    ]


MANIFESTS = {
    "nothing": b"",
    "no text": b"\xff\xfe",
    "list": b"[]",
    "deep": b"[" * 99_999,
    "later": EARLIER_MANIFEST.replace(b'"schema": 1', b'"schema": 2'),
    "no session": json.dumps({**json.loads(EARLIER_MANIFEST), "sessions": []}).encode(),
    "settings": EARLIER_MANIFEST.replace(b'{"history_length": 8, "model": "offline"}', b"[8]"),
    "state": EARLIER_MANIFEST.replace(b"interrupted", b"tired"),
    "variants": EARLIER_MANIFEST.replace(b'"hash": "ab12"', b'"hash": 12'),
}
LINES = {
    "no text": b"\xff\xfe\n",
    "deep": b"[" * 99_999 + b"\n",
    "huge number": b'{"schema":1' + b"0" * 9_999 + b"}\n",
    "later": b'{"schema":2}\n',
    "directory": None,
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS)
def test_no_manifest_stops_a_new_run(tmp_path: Path, text: bytes) -> None:
    run_of(tmp_path, "20261123-180102-ab12", line_of(entry()))
    (tmp_path / "20261123-180102-ab12" / "manifest.json").write_bytes(text)

    assert list(past_results(tmp_path)) == []
    assert past_durations(tmp_path) == {}
    with create_run(tmp_path, manifest(), RECORDING) as journal:
        journal.append(entry())
    assert open_run(tmp_path).run_id == journal.run_id


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_no_line_stops_a_new_run(tmp_path: Path, line: bytes | None) -> None:
    directory = run_of(tmp_path, "20261123-180102-ab12")
    path = directory / "episodes.jsonl"
    if line is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(line)

    assert list(past_results(tmp_path)) == []
    create_run(tmp_path, manifest(), RECORDING).close()


def test_a_score_that_is_no_number_is_a_damaged_line(tmp_path: Path) -> None:
    line = line_of(entry(1))
    log = log_of(
        tmp_path,
        line.replace(b'"progression":1.0', b'"progression":NaN'),
        line.replace(b'"progression":1.0', b'"progression":1e999'),
        line.replace(b'"progression":1.0', b'"progression":"1"'),
        line_of(entry(2)),
    )

    assert list(reusable(log, [key(1), key(2)])) == [key(2)]
    assert len(log.problems) == 3
    assert log.damage() == (
        f"run {log.run_id}: 3 damaged lines skipped, whose episodes count as not played: "
        f"{log.problems[0]}"
    )
    assert "\n" not in str(log.damage())


def test_a_cost_that_was_no_number_is_unknown(tmp_path: Path) -> None:
    log = log_of(tmp_path, line_of(entry()).replace(b'"cost":0.002', b'"cost":NaN'))

    (read,) = log.entries()

    assert read.outcome.usage == Usage(200, 20, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_know_is_refused_in_one_line(value: float) -> None:
    for outcome in (
        result(key(), episode_return=value),
        failure(key(), duration_s=value),
        result(key(), steps=(step(reward=value),)),
    ):
        with pytest.raises(JournalError, match=r"^baseline-goto-200: .*no finite number"):
            line_of(entry(outcome=outcome))


def test_a_cost_that_is_no_number_is_written_as_unknown() -> None:
    odd = entry(outcome=result(key(), usage=Usage(1, 1, math.nan)))

    assert Entry.from_line(line_of(odd)).outcome.usage == Usage(1, 1, None)


@pytest.mark.parametrize("with_steps", [True, False])
def test_a_line_that_is_too_long_is_skipped_without_holding_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, with_steps: bool
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_SIZE", 10_000)
    monkeypatch.setattr(reading, "_HEAD_SIZE", 500)
    monkeypatch.setattr(reading, "_SKIPPED_SIZE", 1_000)
    log = log_of(tmp_path, line_of(entry(1)), b"x" * 25_000 + b"\n", line_of(entry(2)))

    assert [one.key.seed for one in log.entries(with_steps=with_steps)] == [1, 2]
    assert [problem.partition(": ")[0] for problem in log.problems] == [f"{log.path}:2"]


def test_a_head_that_is_longer_than_a_block_is_read_whole(tmp_path: Path) -> None:
    babbling = entry(outcome=result(key(), failed_candidates=("x" * 5_000,) * 10))
    log = log_of(tmp_path, line_of(babbling), line_of(entry(2)))

    first, second = log.entries(with_steps=False)

    assert first.outcome == babbling.outcome.without_steps()
    assert second.key.seed == 2
    assert log.with_steps(first) == babbling


def test_a_whole_run_has_no_damage(tmp_path: Path) -> None:
    log = log_of(tmp_path, line_of(entry()), line_of(entry(2))[:-9])

    assert len(list(log.entries())) == 1
    assert (log.damage(), log.num_torn) == (None, 1)


def test_what_a_run_consumed_counts_every_play_once(tmp_path: Path) -> None:
    first = result(key(), started_at_s=100.0, duration_s=10.0)
    beside = result(key(2), episode_id="b", started_at_s=105.0, duration_s=10.0)
    failed = failure(key(3), episode_id="c", started_at_s=500.0, duration_s=4.0)
    again = result(
        key(3), episode_id="d", usage=Usage(1, 2, 0.5), started_at_s=50.0, duration_s=1.0
    )
    plays = [first, beside, failed, again, first]
    log = log_of(tmp_path, *(line_of(entry(outcome=each)) for each in plays))

    spent = log.spent()

    assert spent.usage.cost == pytest.approx(0.504)
    assert (spent.num_tokens, spent.time_s, spent.num_plays) == (543, 15.0 + 4.0 + 1.0, 4)
    assert (spent.num_uncounted, spent.num_unpriced) == (1, 1)
    assert str(spent) == "at least 543 tokens, at least $0.50, 20 s of play in 4 plays"


def test_a_run_that_played_nothing_consumed_nothing(tmp_path: Path) -> None:
    spent = log_of(tmp_path).spent()

    assert (spent.usage, spent.time_s, spent.num_plays) == (NO_USAGE, 0.0, 0)
    assert str(spent) == "0 tokens, no known cost, 0 s of play in 0 plays"


def test_a_later_line_of_a_play_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    corrected = dataclasses.replace(result(key()), usage=Usage(7, 7, 0.0))
    log = log_of(tmp_path, line_of(entry()), line_of(entry(outcome=corrected)))

    assert log.spent().usage == Usage(7, 7, 0.0)
    assert log.latest()[key()].outcome.usage == Usage(7, 7, 0.0)
    assert log.with_steps(reusable(log, [key()])[key()]).outcome.usage == Usage(7, 7, 0.0)
