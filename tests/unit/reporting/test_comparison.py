"""Comparisons and gates as lines of the terminal."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.gate import Reference, RunScores, compare, evaluate_rules
from pytest_babyai.gate.rules import parse_rules
from pytest_babyai.reporting.numbers import ASCII
from pytest_babyai.reporting.summary import Compared, compared, judged
from pytest_babyai.reporting.terminal import comparison_lines, gate_lines, reference_lines
from tests.unit.gate.gate_samples import SEEDS, alternating, episodes, failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.reporting.terminal import Line

VARIANTS = ("baseline", "reasoning", "history", "history_and_reasoning")


def run(*solved_of_ten: int, **more: Any) -> RunScores:
    """Gives each variant so many successes of ten."""
    return RunScores.of_outcomes(
        (
            each
            for name, number in zip(VARIANTS, solved_of_ten, strict=False)
            for each in episodes(alternating(number), name, input_tokens=700, **more)
        ),
        variants=VARIANTS,
    )


def comparison(
    new: RunScores | None = None, old: RunScores | None = None, notes: Sequence[str] = ()
) -> Compared:
    new, old = new or run(3, 9, 5, 6), old or run(9, 3, 5, 5)
    return compared(compare(new, Reference("baseline main", old)), notes)


def between_variants(scores: RunScores) -> Compared:
    return compared(compare(scores, Reference("variant baseline", scores, "baseline")))


def text(lines: Iterable[Line]) -> str:
    return "\n".join(line.text for line in lines)


def flat(lines: Iterable[Line]) -> str:
    return " ".join(line.text.strip() for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("verbosity", [0, 1])
def test_no_line_is_wider_than_the_terminal(width: int, verbosity: int) -> None:
    lines = list(comparison_lines(comparison(), width=width, verbosity=verbosity))
    assert max(len(line.text) for line in lines) <= width


def test_the_title_names_the_reference() -> None:
    first = next(comparison_lines(comparison()))
    assert first.text == "Compared with baseline main"


def test_a_table_has_difference_interval_and_verdict_of_every_variant() -> None:
    (row,) = [
        line.text for line in comparison_lines(comparison(), width=400)
        if line.text.startswith("baseline  ")
    ]  # fmt: skip
    assert "-60.0 [-78.5, -26.7] worse" in row


def test_equal_variants_of_few_seeds_are_not_tied() -> None:
    (line,) = [
        each.text for each in comparison_lines(comparison(), width=400)
        if each.text.startswith("history  ")
    ]  # fmt: skip
    assert re.match(r"history +0\.0 \[-\d+\.\d, \+\d+\.\d\] undecided", line)


def test_variants_that_got_worse_are_told_in_red() -> None:
    (line,) = [each for each in comparison_lines(comparison()) if "is worse" in each.text]
    assert line.text.startswith("baseline is worse: success, progression (exploratory), return (")
    assert line.style == {"red": True}


def test_variants_that_got_better_are_told_in_green() -> None:
    (line,) = [each for each in comparison_lines(comparison()) if "is better" in each.text]
    assert line.text.startswith("reasoning is better: success, progression (exploratory), return (")
    assert line.style == {"green": True}


def test_unknown_tokens_are_a_dash() -> None:
    (row,) = [
        line.text for line in comparison_lines(comparison(), width=400, symbols=ASCII)
        if line.text.startswith("history  ")
    ]  # fmt: skip
    assert row.endswith("  -")


def test_unknown_prices_and_absent_errors_are_left_out() -> None:
    shown = text(comparison_lines(comparison(), width=400))
    assert "cost" not in shown
    assert "errors" not in shown


def test_errors_are_shown_where_there_are_some() -> None:
    new = RunScores.of_outcomes([failed("baseline"), *run(5).episodes[1:]])
    assert "Δ errors %" in text(comparison_lines(comparison(new, run(5)), width=400))


def test_prices_are_shown_where_they_are_known() -> None:
    assert "Δ cost $" in text(comparison_lines(comparison(run(5, cost=0.1), run(5, cost=0.2))))


def test_verbose_tables_tell_both_means_and_what_could_be_detected() -> None:
    lines = text(comparison_lines(comparison(), verbosity=1)).splitlines()
    start = lines.index("baseline: 40 pairs of 20 seeds")
    assert lines[start + 1].split() == ["metric", "from", "to", "Δ", "detectable"]
    assert lines[start + 3].split()[:4] == ["success", "%", "90.0", "30.0"]


def test_notes_are_told_and_warnings_are_yellow() -> None:
    notes = ("model a -> b", "WARNING: the offline policy is compared with b")
    lines = {line.text: line.style for line in comparison_lines(comparison(notes=notes))}
    assert [lines[note] for note in notes] == [{}, {"yellow": True}]


def test_a_note_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in text(comparison_lines(comparison(notes=["model \x1b[2J -> b"])))


def test_variants_of_one_side_are_told() -> None:
    new, old = run(5, 5), RunScores.of_outcomes([*run(5).episodes, *episodes([1.0], "old")])
    told = flat(comparison_lines(comparison(new, old)))
    assert "Not in baseline main: reasoning" in told
    assert "In baseline main only: old" in told


def test_pairs_of_one_side_are_told() -> None:
    told = flat(comparison_lines(comparison(run(5), run(5, seeds=SEEDS[:10]))))
    assert "baseline: 20 (task, seed) pairs without a score on both sides left out" in told
    assert "paired on 20 (task, seed)" in told


def test_how_to_read_names_interval_pairs_and_correction() -> None:
    told = flat(comparison_lines(comparison()))
    assert told.endswith(
        "Δ with 95 % interval, paired on 40 (task, seed) of the same level, clustered by seed, "
        "Holm over 4 variants."
    )


def test_one_variant_has_no_correction_to_tell() -> None:
    assert "Holm" not in flat(comparison_lines(comparison(run(5), run(6))))


def test_a_comparison_of_nothing_says_so() -> None:
    told = text(comparison_lines(comparison(run(5), RunScores.of_outcomes(episodes([1.0], "old")))))
    assert "No variant has a counterpart in baseline main." in told


def test_a_terminal_without_unicode_gets_ascii() -> None:
    for verbosity in (0, 1):
        shown = text(comparison_lines(comparison(), verbosity=verbosity, symbols=ASCII))
        assert shown.isascii()


def test_a_line_per_variant_tells_its_difference_to_the_reference_variant() -> None:
    scores = run(3, 9, 3)
    found = between_variants(scores)
    lines = list(reference_lines(found))
    head, reasoning, history = (line.text for line in lines)
    assert head == "Δ success % against variant baseline (95 %, Holm over 2 variants):"
    assert re.fullmatch(r"  reasoning  \+60\.0 \[\+\d+\.\d, \+\d+\.\d\] better", reasoning)
    assert re.fullmatch(r"  history    0\.0 \[-\d+\.\d, \+\d+\.\d\] undecided", history)


def test_lines_of_the_reference_are_coloured_by_their_verdict() -> None:
    scores = run(3, 9)
    found = between_variants(scores)
    assert [line.style for line in reference_lines(found)] == [{}, {"green": True}]


def test_another_metric_can_be_told() -> None:
    first = next(reference_lines(comparison(), "steps"))
    assert first.text == "Δ steps against baseline main (95 %, Holm over 4 variants):"


def test_nothing_to_compare_has_no_lines() -> None:
    scores = run(5)
    found = between_variants(scores)
    assert list(reference_lines(found)) == []


def gates(rules: str) -> list[Line]:
    return list(gate_lines(map(judged, evaluate_rules(parse_rules(rules), run(3, 9))), width=200))


def test_failed_gates_come_first_and_passed_ones_last() -> None:
    found = [line.text.split()[0] for line in gates("success>=0.7, baseline:success>=0.3")[:-1]]
    assert found == ["FAILED", "inconclusive", "passed"]


def test_a_gate_is_told_with_its_name_and_reason() -> None:
    first = gates("success>=0.7")[0]
    assert first.text.startswith("FAILED baseline:success>=0.7: success 0.300 [")
    assert first.style == {"red": True}


def test_gates_are_counted() -> None:
    assert gates("success>=0.7")[-1].text == "2 gates: 1 failed, 0 inconclusive, 1 passed"


def test_no_gates_have_no_lines() -> None:
    assert list(gate_lines([])) == []


def test_a_gate_of_a_strange_name_cannot_steer_the_terminal() -> None:
    (result,) = evaluate_rules(parse_rules("baseline:success>=0.7"), run(3))
    strange = dataclasses.replace(result, reason="\x1b[2J")
    assert "\x1b" not in text(gate_lines([judged(strange)]))
