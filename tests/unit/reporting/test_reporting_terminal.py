# ruff: noqa: RUF001 -- the en dash is what is tested
"""The terminal summary: golden texts, and what must be said loudly."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.records import EpisodeSpec, Usage
from pytest_babyai.reporting.numbers import ASCII, UNICODE, Symbols
from pytest_babyai.reporting.summary import build_summary
from pytest_babyai.reporting.terminal import terminal_lines
from tests.unit.reporting.reporting_samples import (
    SETUP,
    failure,
    result,
    run_of,
    sample_run,
    solved,
    summary_of,
    troubled_run,
)

if TYPE_CHECKING:
    from pytest_babyai.reporting.results import RunReport

GOLDEN = Path(__file__).parent / "golden"


def summary(
    report: RunReport, width: int = 160, verbosity: int = 0, symbols: Symbols = UNICODE
) -> str:
    said = build_summary(report)
    lines = terminal_lines(said, width=width, verbosity=verbosity, symbols=symbols)
    return "".join(f"{line.text}\n" for line in lines)


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_summary(width: int) -> None:
    assert summary(sample_run(), width) == golden(f"summary_{width}")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_summary_of_a_troubled_run(width: int) -> None:
    assert summary(troubled_run(), width) == golden(f"troubled_{width}")


@pytest.mark.parametrize("width", [80, 160])
def test_verbose_summary(width: int) -> None:
    assert summary(sample_run(), width, verbosity=1) == golden(f"verbose_{width}")


def test_ascii_summary() -> None:
    assert summary(troubled_run(), 80, 1, ASCII) == golden("ascii_80")


def test_ascii_summary_is_ascii() -> None:
    assert summary(troubled_run(), 80, 1, ASCII).isascii()


@given(st.integers(60, 200), st.integers(0, 1), st.sampled_from([ASCII, UNICODE]))
def test_no_line_is_wider_than_the_terminal(width: int, verbosity: int, symbols: Symbols) -> None:
    said = summary_of(troubled_run())
    lines = terminal_lines(said, width=width, verbosity=verbosity, symbols=symbols)
    assert max(len(line.text) for line in lines) <= width


def test_a_language_model_is_not_called_offline() -> None:
    setup = dataclasses.replace(SETUP, model_label="gpt-4o-mini", offline=False)
    text = summary(run_of(solved(), setup=setup))
    assert text.startswith("model: gpt-4o-mini\n")


def test_warnings_stand_out() -> None:
    said = terminal_lines(build_summary(troubled_run()))
    lines = [line for line in said if line.text.startswith("WARNING")]
    assert [dict(line.style) for line in lines] == [{"yellow": True}]


def test_errors_as_failures_are_shown_only_where_there_are_errors() -> None:
    assert "errors as failures" not in summary(run_of(solved(), result()))


def test_a_run_of_errors_shows_dashes() -> None:
    rows = [line.split() for line in summary(run_of(failure())).splitlines()]
    dashed = {" ".join(row[:-1]) for row in rows if row and row[-1] == "–"}
    assert {"success", "95 % interval", "return", "efficiency", "steps"} <= dashed


def test_a_run_without_episodes_says_so() -> None:
    assert "0 of 400 episodes played." in summary(run_of(num_selected=400))


def test_a_complete_run_does_not_speak_of_missing_episodes() -> None:
    assert " of 1 episode played" not in summary(run_of(solved()))


def test_a_run_stopped_early_without_interruption_counts_what_was_played() -> None:
    assert "\n1 of 400 episodes played.\n" in summary(run_of(solved(), num_selected=400))


def test_known_cost_is_told() -> None:
    priced = solved(usage=Usage(800, 80, 1.5))
    assert summary(run_of(priced)).endswith(" · $1.50\n")


def test_small_cost_keeps_its_digits() -> None:
    priced = solved(usage=Usage(800, 80, 0.0123))
    assert summary(run_of(priced)).endswith(" · $0.0123\n")


def test_a_cost_that_is_known_of_one_variant_has_no_total() -> None:
    unpriced = solved(EpisodeSpec("history", "goto", 200))
    told = summary(run_of(solved(usage=Usage(800, 80, 1.5)), unpriced))

    (row,) = (line.split() for line in told.splitlines() if line.startswith("cost "))
    assert row == ["cost", "$1.50", "–"]
    assert " · $" not in told


def test_a_run_of_no_time_has_no_rate() -> None:
    assert "requests/s" not in summary(run_of(solved(), wall_time_s=0.0))


def test_a_run_without_prices_does_not_speak_of_cost() -> None:
    assert "cost" not in summary(run_of(solved()))


def test_cached_answers_are_told() -> None:
    told = summary(run_of(solved(num_cached=3, usage=Usage(800, 80, 0.0))))

    rows = [line.split() for line in told.splitlines()]
    assert ["cached", "answers", "3"] in rows
    assert ["cost", "$0.00"] in rows
    assert "3 answers came from the cache" in told


def test_slow_rates_keep_a_digit() -> None:
    assert " · 1.6 requests/s\n" in summary(run_of(solved(), wall_time_s=5.0))


def counts(report: RunReport) -> list[str]:
    lines = [line.text for line in terminal_lines(build_summary(report))]
    return lines[lines.index(build_summary(report).effort_text) + 1 :]


def test_counts_of_a_troubled_run() -> None:
    assert counts(troubled_run()) == [
        "14 of 23 scored episodes below their threshold:",
        "variant                  goto    pick_up_seq_go_to",
        "---------------------  ------  -------------------",
        "baseline                  2/2                  3/3",
        "reasoning                 1/3                  3/3",
        "history                   0/3                  3/3",
        "history_and_reasoning     0/3                  2/3",
        "1 error by kind:",
        "variant      rate limit",
        "---------  ------------",
        "baseline              1",
    ]


def test_errors_are_counted_by_kind_and_variant() -> None:
    kinds = [("baseline", "timeout"), ("history", "gateway"), ("history", "timeout")]
    failures = [
        failure(EpisodeSpec(variant, "goto", seed), kind=kind)
        for seed, (variant, kind) in enumerate(kinds)
    ]
    rows = [line.split() for line in counts(run_of(*failures))[3:]]
    assert rows == [["baseline", "0", "1"], ["history", "1", "1"]]


def test_what_was_not_played_is_a_dash() -> None:
    run = run_of(result(), solved(EpisodeSpec("history", "open", 200)))
    assert counts(run)[-1].split() == ["history", "–", "0/1"]


def test_a_run_without_failures_counts_nothing() -> None:
    assert counts(run_of(solved())) == []


def test_150_failures_are_no_wall_of_text() -> None:
    run = run_of(*(result(EpisodeSpec("baseline", "goto", seed)) for seed in range(150)))
    assert len(counts(run)) == 4
