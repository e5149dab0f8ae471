"""Details of single episodes, and counts of many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.records import AnswerStatus
from pytest_babyai.reporting.episodes import (
    below_threshold_text,
    failure_text,
    one_line,
)
from tests.unit.reporting.reporting_samples import (
    failure,
    report_of,
    result,
    step,
)


def test_below_threshold() -> None:
    steps = (
        step(),
        step(observation="a wall 1 step forward", candidate="go forward", action="go forward"),
        step(
            observation="", candidate="fly", action="go forward", status=AnswerStatus.UNKNOWN_ACTION
        ),
        step(
            observation="a wall",
            candidate="Hm.",
            action="go forward",
            status=AnswerStatus.UNPARSABLE,
        ),
        step(candidate="", action="drop", status=AnswerStatus.FALLBACK, thinking="Left,\nI think."),
    )
    outcome = result(steps=steps, num_steps=5, failed_candidates=("fly", "Hm."), num_fallbacks=1)
    assert below_threshold_text(report_of(outcome)).splitlines() == [
        "progression 0.00 below the threshold 1.00 after 5 of 64 steps",
        "mission: go to the red ball",
        "last 5 steps:",
        "  1  a wall 2 steps forward; a red ball 1 step right → turn right",
        "  2  a wall 1 step forward → go forward",
        '  3  nothing → go forward (invalid: answered "fly")',
        '  4  a wall → go forward (invalid: could not parse "Hm.")',
        "  5  a wall 2 steps forward; a red ball 1 step right → drop (random: the request failed)",
        "last thinking: Left,; I think.",
        "invalid answers: 2 of 5",
        "random actions for failed requests: 1 of 5",
        "replay: pytest 'evals/test_babyai.py::test_episode[baseline-goto-200]'",
    ]


def test_only_the_last_steps_are_shown() -> None:
    text = below_threshold_text(report_of(result(steps=(step(),) * 64)))
    numbers = [line.split()[0] for line in text.splitlines() if "→" in line]
    assert numbers == ["59", "60", "61", "62", "63", "64"]


def test_the_number_of_steps_shown_is_told() -> None:
    text = below_threshold_text(report_of(result(steps=(step(),) * 64)))
    assert "last 6 steps:" in text.splitlines()


def test_a_dropped_trajectory_is_not_spoken_of() -> None:
    text = below_threshold_text(report_of(result()))
    assert [line.partition(":")[0] for line in text.splitlines()[1:]] == ["mission", "replay"]


@pytest.mark.parametrize(
    ("progression", "threshold", "expected"),
    [
        (0.7496, 0.75, "0.7496 below the threshold 0.7500"),
        (0.0, 1e-20, "0.0 below the threshold 1e-20"),
    ],
)
def test_a_near_miss_gets_the_digits_that_show_it(
    progression: float, threshold: float, expected: str
) -> None:
    text = below_threshold_text(report_of(result(progression=progression), threshold))
    assert text.startswith(f"progression {expected} after")


def test_a_failure_has_no_score() -> None:
    assert failure_text(report_of(failure())).splitlines() == [
        "rate limit error: the provider kept answering 429",
        "no score; 3 steps played before it, 4 requests repeated",
        "replay: pytest 'evals/test_babyai.py::test_episode[baseline-goto-200]'",
    ]


def test_below_threshold_refuses_failures() -> None:
    with pytest.raises(TypeError, match="failure_text"):
        below_threshold_text(report_of(failure()))


def test_failure_text_refuses_scores() -> None:
    with pytest.raises(TypeError, match="below_threshold_text"):
        failure_text(report_of(result()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo", "one; two"),
        ("\n one \n\n two ", "one; two"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x00b\tc", "a\\x00b\\tc"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("lone \ud800", "lone \\ud800"),
        ("größer ± 世界", "größer ± 世界"),
        ("", ""),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text, 100) == expected


def test_long_texts_are_shortened() -> None:
    assert one_line("x" * 1000, 10) == "xxxxxxxxx…"


@given(st.text(), st.integers(4, 50))
def test_one_line_is_one_short_printable_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not any(ord(character) < 32 or ord(character) == 127 for character in line)


@given(st.text(max_size=2000), st.text(max_size=2000), st.sampled_from(AnswerStatus))
def test_details_stay_short_whatever_the_model_wrote(
    answer: str, thinking: str, status: AnswerStatus
) -> None:
    steps = (step(candidate=answer, thinking=thinking, observation=thinking, status=status),) * 64
    text = below_threshold_text(report_of(result(steps=steps, mission=answer)))
    assert len(text.splitlines()) <= 11
    assert max(map(len, text.splitlines())) <= 330
