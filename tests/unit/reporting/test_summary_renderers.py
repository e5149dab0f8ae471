"""One summary, three renderers: what is said in one is said in all."""

from __future__ import annotations

import dataclasses
import html as html_module
import json
import re
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.gate import Reference, RunScores, compare, evaluate_rules, parse_rules
from pytest_babyai.records import EpisodeSpec, Usage
from pytest_babyai.reporting.html import html
from pytest_babyai.reporting.markdown import MAX_CHARACTERS, markdown
from pytest_babyai.reporting.numbers import DASH
from pytest_babyai.reporting.recorded import Provenance, ci_url
from pytest_babyai.reporting.results import Effort
from pytest_babyai.reporting.summary import (
    Verdicts,
    build_summary,
    compare_variants,
)
from pytest_babyai.reporting.terminal import terminal_lines
from tests.unit.reporting.reporting_samples import (
    SPEC,
    failure,
    result,
    run_of,
    sample_outcomes,
    solved,
    step,
    summary_of,
    troubled_run,
)

if TYPE_CHECKING:
    from pytest_babyai.reporting.summary import Summary

RULES = "success>=0.9, baseline:steps<=1, history:errors<=0"
OLD = {"template user": {"path": json.dumps({"": "Look: {{ observation }}"})}}
NEW = {"template user": {"path": json.dumps({"": "Look here: {{ observation }}"})}}


def told_run() -> Summary:
    """A run about which everything has to be said that can be."""
    report = troubled_run()
    scores = RunScores.of_outcomes([each.outcome for each in report.episodes])
    between = compare_variants(report)
    assert between is not None
    blessed = RunScores.of_outcomes(sample_outcomes()[:12])
    definitions = {name: NEW if name == "history" else OLD for name in report.variants}
    return build_summary(
        report,
        comparisons=[compare(scores, Reference("baseline main", blessed)), between],
        gates=evaluate_rules(parse_rules(RULES), scores),
        notes=["history_length 4 -> 8", "WARNING: another model, a_b -> c_d"],
        notices=["baseline: stopped after 8 of 80 seeds, success 50.0 ± 4.0"],
        provenance=Provenance(run_id="20260131-1", definitions=definitions),
    )


def terminal_text(summary: Summary) -> str:
    lines = terminal_lines(summary, width=400, verbosity=0)
    return " ".join(line.text for line in lines)


def html_text(summary: Summary) -> str:
    page = html(summary).partition('<script type="application/octet-stream"')[0]
    return html_module.unescape(re.sub(r"<[^>]+>", " ", page))


def markdown_text(summary: Summary) -> str:
    return html_module.unescape(markdown(summary)).replace("\u200b", "")


def normalized(text: str) -> str:
    return re.sub(r"[\s`\\]+", " ", text.replace("\\", "")).replace("` ", "")


@pytest.mark.parametrize("render", [terminal_text, html_text, markdown_text])
def test_every_renderer_says_all_there_is_to_say(render: object) -> None:
    summary = told_run()
    assert callable(render)
    text = normalized(render(summary))
    notices = [*summary.notices, *(note for each in summary.comparisons for note in each.notes)]
    wanted = [
        *(normalized(notice.text).removesuffix(".").partition(";")[0] for notice in notices),
        *(normalized(gate.reason) for gate in summary.gates),
        *(normalized(gate.name) for gate in summary.gates),
        *(
            difference.text
            for each in summary.comparisons
            for variant in each.variants
            for name, difference in variant.differences.items()
            if name == "success"
        ),
        "rate limit",
        summary.effort_text,
        summary.gates_text,
    ]
    assert len(notices) >= 8
    assert len(summary.gates) == 6
    assert [each for each in wanted if each not in text] == []


@pytest.mark.parametrize("render", [html_text, markdown_text])
def test_reports_begin_with_a_sentence_per_comparison(render: object) -> None:
    summary = told_run()
    assert callable(render)
    text = normalized(render(summary))
    places = [text.index(normalized(line)) for line in summary.verdict_lines]
    assert len(places) == 5
    table = re.search(r"reasoning (\| )?6", text)
    assert table is not None
    assert max(places) < table.start()


def test_a_sentence_says_how_much_against_what_and_how_surely() -> None:
    outcomes = [
        (solved if seed % 4 or variant == "history" else result)(EpisodeSpec(variant, "goto", seed))
        for variant in ("baseline", "history")
        for seed in range(40)
    ]
    (sentence,) = summary_of(run_of(*outcomes)).verdict_lines
    assert re.fullmatch(
        r"history solves 25 points more than baseline \[\+\d+\.\d, \+\d+\.\d\]: better", sentence
    )


def test_variants_that_solve_the_same_solve_as_much() -> None:
    same = [solved(EpisodeSpec(v, "goto", seed)) for v in ("a", "b") for seed in range(3)]
    (sentence,) = summary_of(run_of(*same)).verdict_lines
    assert sentence.startswith("b solves as much as a")


def test_what_has_no_pair_cannot_be_compared() -> None:
    run = run_of(solved(), solved(EpisodeSpec("history", "goto", 201)))
    (sentence,) = summary_of(run).verdict_lines
    assert sentence == "history cannot be compared with baseline: no task and seed in common"


def test_what_changed_stands_beside_what_it_did() -> None:
    baseline, between = told_run().comparisons
    changes = {each.variant: each.changes for each in between.variants}
    assert changes["reasoning"] == ()
    (change,) = changes["history"] or ()
    assert change.part == "template user"
    assert change.text == "-Look: {{ observation }}\n+Look here: {{ observation }}"
    assert all(each.changes is None for each in baseline.variants)


@pytest.mark.parametrize("render", [html_text, markdown_text])
def test_changes_of_prompts_are_in_reports(render: object) -> None:
    assert callable(render)
    assert "+Look here: {{ observation }}" in render(told_run())


def test_the_terminal_shows_changes_where_it_is_verbose() -> None:
    lines = [line.text for line in terminal_lines(told_run(), width=200, verbosity=1)]
    assert "  +Look here: {{ observation }}" in lines


def test_cells_pair_variants_by_task_and_seed() -> None:
    summary = summary_of(troubled_run())
    assert summary.by_task["history", "goto"].text == "3/3"
    assert summary.by_task["baseline", "goto"].text == "0/2 + 1 error"
    assert summary.by_seed["history", 201].text == "1/2"


def test_findings_are_counted_by_variant() -> None:
    loop = [step(observation="a wall 1 step forward", action="go forward")] * 4
    failed = [
        result(EpisodeSpec("baseline", "goto", seed), steps=tuple(loop), num_steps=4)
        for seed in range(3)
    ]
    summary = build_summary(run_of(*failed, solved(EpisodeSpec("history", "goto", 0))))
    baseline, history = summary.diagnoses
    assert (baseline.num_failed, baseline.counts["loop"], baseline.text("loop")) == (
        3,
        3,
        "3 (100 %)",
    )
    assert history.text("loop") == DASH
    for text in (html_text(summary), markdown_text(summary)):
        assert "3 (100 %)" in text
        assert "What was seen and carried came a third time" in text
    lines = "\n".join(line.text for line in terminal_lines(summary, width=200, verbosity=1))
    assert "Why episodes that were not solved failed:" in lines
    assert "3 (100 %)" in lines


def test_effort_is_that_of_this_session() -> None:
    run = run_of(solved(), result(), played=Effort(0, 0, 0.0))
    assert summary_of(run).effort_text == "0 episodes in 0.0 s · 0 requests"
    run = run_of(solved(), result(), played=Effort(3, 636, 12.0))
    assert summary_of(run).effort_text == "3 episodes in 12.0 s · 636 requests · 53.0 requests/s"


def test_costs_are_told_whatever_their_size() -> None:
    small = summary_of(run_of(solved(usage=Usage(1, 1, 0.00042))))
    assert "$0.00042" in html_text(small)
    assert "$0.00042" in markdown_text(small)
    unknown = summary_of(run_of(solved()))
    assert re.search(rf"{DASH}\s+cost", html_text(unknown))
    assert f"cost {DASH}" in markdown_text(unknown)


def test_verdicts_survive_being_kept() -> None:
    summary = told_run()
    kept = Verdicts(
        comparisons=summary.comparisons,
        gates=summary.gates,
        notices=summary.notices,
        thresholds={"": 1.0},
        effort=Effort(3, 636, 12.0),
        num_selected=400,
        interrupted=True,
    )
    rebuilt = Verdicts.from_plain(json.loads(json.dumps(kept.to_plain())))
    without = [
        dataclasses.replace(
            each,
            variants=tuple(dataclasses.replace(v, changes=None) for v in each.variants),
        )
        for each in kept.comparisons
    ]
    assert rebuilt == dataclasses.replace(kept, comparisons=tuple(without))


@pytest.mark.parametrize("damage", [{}, {"comparisons": []}, {"gates": 1}])
def test_verdicts_of_another_version_are_told_apart(damage: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Verdicts.from_plain(damage)


@pytest.mark.parametrize(
    ("num_variants", "note"),
    [
        (100, "> Left out, as GitHub takes 65,536 characters: "),
        (400, "> Cut here: GitHub takes no "),
    ],
)
def test_markdown_stays_below_what_github_takes_and_says_what_it_left_out(
    num_variants: int, note: str
) -> None:
    outcomes = [
        result(EpisodeSpec(f"variant_{number}_{'x' * 60}", "goto", seed))
        for number in range(num_variants)
        for seed in range(60)
    ]
    text = markdown(summary_of(run_of(*outcomes, failure())))
    assert len(text) <= MAX_CHARACTERS
    assert text.splitlines()[-1].startswith(note)


def test_a_short_report_leaves_nothing_out() -> None:
    assert "Left out" not in markdown(told_run())


@pytest.mark.parametrize("hostile", ["@everyone", "#12", "*bold*", "<img src=x>", "[a](b)"])
def test_markup_in_names_means_nothing_in_markdown(hostile: str) -> None:
    names = [hostile, "history"]
    run = run_of(*(solved(EpisodeSpec(name, "goto", 1)) for name in names))
    text = markdown(summary_of(dataclasses.replace(run)))
    outside = re.sub(r"`[^`]*`", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    assert hostile not in outside.replace("\\", "\\\\") or hostile.startswith("<") is False
    assert not re.search(r"(?<!\\)<img|@everyone|#12", outside)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, None),
        (
            {
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_RUN_ID": "7",
            },
            "https://github.com/o/r/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.com/j/1"}, "https://gitlab.com/j/1"),
        ({"BUILD_URL": "javascript:alert(1)"}, None),
    ],
)
def test_the_ci_run_is_linked_where_the_environment_names_one(
    environ: dict[str, str], url: str | None
) -> None:
    assert ci_url(environ) == url
    summary = build_summary(run_of(solved(SPEC)), provenance=Provenance(ci_url=url))
    page = html_module.unescape(html(summary))
    assert (f'href="{url}"' in page) is (url is not None)
    assert (f"({url})" in markdown(summary)) is (url is not None)
