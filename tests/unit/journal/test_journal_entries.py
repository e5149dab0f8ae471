"""One line of a journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import JournalError
from pytest_babyai.journal import SCHEMA, Entry, Scrubber
from pytest_babyai.records import AnswerStatus, Usage
from tests.unit.journal.journal_samples import entry, failure, key, result, step

if TYPE_CHECKING:
    from collections.abc import Callable

SCRUBBER = Scrubber({})
TEXTS = st.text(st.characters())  # lone surrogates and control characters included


@pytest.mark.parametrize("make_outcome", [result, failure])
def test_an_entry_survives_its_line(make_outcome: Callable[..., Any]) -> None:
    written = entry(outcome=make_outcome(key()))

    assert Entry.from_line(written.to_line(SCRUBBER)) == written


@given(TEXTS, TEXTS, st.sampled_from(AnswerStatus))
def test_whatever_a_model_answers_survives_as_one_line(
    output: str, thinking: str, status: AnswerStatus
) -> None:
    answered = step(output=output, thinking=thinking, candidate=output, status=status)
    written = entry(outcome=result(key(), steps=(answered,), failed_candidates=(output,)))

    line = written.to_line(SCRUBBER)

    assert line.count(b"\n") == 1
    assert Entry.from_line(line) == written


def test_an_unknown_usage_stays_unknown() -> None:
    written = entry(outcome=result(key(), steps=(step(usage=Usage(None, 3, None)),)))

    read = Entry.from_line(written.to_line(SCRUBBER))

    assert read.outcome.steps[0].usage == Usage(None, 3, None)


def test_without_trajectory_the_line_has_no_steps() -> None:
    line = entry().to_line(SCRUBBER, trajectory=False)

    assert Entry.from_line(line).outcome == entry().outcome.without_steps()


def test_the_columns_of_the_trajectory_are_named() -> None:
    record = json.loads(entry().to_line(SCRUBBER))

    first = dict(zip(record["step_fields"], record["steps"][0], strict=True))
    assert first["observation"] == step().observation
    assert first["latency_ms"] == 5.25
    assert first["input_tokens"] == 100


def test_fields_that_a_later_version_added_are_left_out() -> None:
    record = json.loads(entry().to_line(SCRUBBER))
    record["mood"] = record["key"]["mood"] = record["outcome"]["mood"] = "good"
    record["step_fields"].append("mood")
    record["steps"] = [[*row, "good"] for row in record["steps"]]

    assert Entry.from_line(json.dumps(record).encode()) == entry()


def test_lines_of_an_earlier_version_know_nothing_of_caches() -> None:
    record = json.loads(entry().to_line(SCRUBBER))
    del record["outcome"]["num_cached"]
    column = record["step_fields"].index("cached")
    for row in (record["step_fields"], *record["steps"]):
        del row[column]

    assert Entry.from_line(json.dumps(record).encode()) == entry()


def test_a_newer_schema_is_refused_by_its_number() -> None:
    record = json.loads(entry().to_line(SCRUBBER))
    record["schema"] = SCHEMA + 1

    with pytest.raises(JournalError, match=rf"schema {SCHEMA + 1}.*up to {SCHEMA}; upgrade"):
        Entry.from_line(json.dumps(record).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b'{"schema":"1"}',
        b"\x00" * 40,
        b"\xff\xfe",
        b"[" * 99_999,
    ],
    ids=["nothing", "empty", "null", "list", "object", "text", "zeros", "no text", "deep"],
)
def test_what_is_no_entry_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Entry.from_line(line)


@given(st.data())
def test_no_beginning_of_a_line_reads_as_an_entry(data: st.DataObject) -> None:
    line = entry().to_line(SCRUBBER).rstrip()
    size = data.draw(st.integers(0, len(line) - 1))

    with pytest.raises(ValueError, match=r"."):
        Entry.from_line(line[:size])


def test_a_key_reads_as_in_a_node_id() -> None:
    assert [str(key(7)), str(key(7, repeat=2))] == ["baseline-goto-7", "baseline-goto-7-2"]
