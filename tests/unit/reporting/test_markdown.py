"""The Markdown report: short, complete, and inert whatever models and providers wrote."""

from __future__ import annotations

import pytest

from pytest_babyai.gate import RunScores, evaluate_rules, parse_rules
from pytest_babyai.reporting.markdown import markdown
from pytest_babyai.reporting.recorded import Provenance
from pytest_babyai.reporting.summary import compare_variants
from tests.unit.reporting.reporting_samples import (
    SPEC,
    VARIANTS,
    failure,
    result,
    run_of,
    sample_run,
    solved,
    summary_of,
    troubled_run,
)


def row_of(text: str, name: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_headline_counts_what_was_solved() -> None:
    text = markdown(summary_of(run_of(solved(), failure(type(SPEC)("baseline", "goto", 201)))))
    assert text.startswith("### BabyAI-Text: 1 of 1 episode solved, 1 error\n")


def test_there_is_a_row_for_every_variant() -> None:
    text = markdown(summary_of(sample_run()))
    assert [row_of(text, variant)[1] for variant in VARIANTS] == ["6"] * 4


def test_a_row_tells_means_and_errors() -> None:
    assert row_of(markdown(summary_of(sample_run())), "reasoning")[2:4] == ["0", "33.3 ± 21.1 %"]


def test_the_main_table_has_the_verdict() -> None:
    run = sample_run()
    comparison = compare_variants(run)
    assert comparison is not None
    text = markdown(summary_of(run, comparisons=[comparison]))
    found = comparison.variants[-1].metrics["success"]
    assert row_of(text, "history_and_reasoning")[-1].endswith(found.verdict.value)
    assert row_of(text, "baseline")[-1] == "–"  # noqa: RUF001 -- as it is shown


def test_all_tables_are_rectangular() -> None:
    run = troubled_run()
    comparison = compare_variants(run)
    assert comparison is not None
    table: list[int] = []
    for line in markdown(summary_of(run, comparisons=[comparison])).splitlines():
        table = [*table, line.count("|")] if line.startswith("|") else []
        assert len(set(table)) <= 1


def test_failed_gates_are_in_the_headline_and_first() -> None:
    run = sample_run()
    scores = RunScores.of_outcomes([each.outcome for each in run.episodes])
    gates = evaluate_rules(parse_rules("baseline:steps<=1, baseline:errors<=0"), scores)
    text = markdown(summary_of(run, gates=gates))
    assert "1 gate failed" in text.splitlines()[0]
    assert text.index("❌ failed") < text.index("✅ passed")


def test_the_offline_model_is_no_language_model() -> None:
    assert "no language model" in markdown(summary_of(sample_run()))


def test_an_incomplete_run_says_so() -> None:
    assert "Interrupted: 24 of 400 episodes played." in markdown(summary_of(troubled_run()))


def test_the_run_is_named() -> None:
    text = markdown(
        summary_of(sample_run(), provenance=Provenance(run_id="20260131-1", commit="abc"))
    )
    assert "Run `20260131-1`" in text
    assert "Commit `abc`" in text


def test_errors_are_told_before_failures() -> None:
    spec = type(SPEC)("history", "goto", 201)
    text = markdown(summary_of(run_of(result(), failure(spec))))
    assert text.index("`history-goto-201`") < text.index("`baseline-goto-200`")


def test_only_the_first_failures_are_listed() -> None:
    run = run_of(*(result(type(SPEC)("baseline", "goto", seed)) for seed in range(50)))
    text = markdown(summary_of(run))
    assert text.count("`baseline-goto-") == 20
    assert "and 30 more" in text


@pytest.mark.parametrize(
    "hostile", ["`</details>` @everyone", "a | b | c", "line\n\n# heading", "<img src=x>"]
)
def test_what_others_wrote_stays_in_its_code_span(hostile: str) -> None:
    text = markdown(summary_of(run_of(failure(SPEC, message=hostile))))
    row = next(line for line in text.splitlines() if "rate limit error" in line)
    assert row.endswith("` | – |")  # noqa: RUF001 -- as it is shown
    assert row.count("`") == 4
    assert row.replace("\\|", "").count("|") == 5


def test_no_episodes_are_no_error() -> None:
    assert "0 of 0 episodes solved" in markdown(summary_of(run_of()))
