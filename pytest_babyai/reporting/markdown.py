"""The Markdown report: short enough for a comment on a pull request, details folded away.

Whatever a user, model or provider named or wrote stands in code spans, where Markdown, HTML and
mentions of people mean nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_babyai.gate import GateOutcome
from pytest_babyai.records import EpisodeResult
from pytest_babyai.reporting.episodes import one_line
from pytest_babyai.reporting.html_sections import GATE_ORDER
from pytest_babyai.reporting.measures import MEASURES, difference_text
from pytest_babyai.reporting.numbers import (
    count_of,
    format_cost,
    format_duration,
    format_estimate,
    format_seeds,
)
from pytest_babyai.reporting.recorded import NO_PROVENANCE
from pytest_babyai.reporting.terminal import OFFLINE_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_babyai.gate import Comparison, GateResult, MetricComparison
    from pytest_babyai.reporting.measures import Measure
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.results import RunReport, VariantSummary

_TEXT_LIMIT: Final = 160
_NUM_EPISODES: Final = 20
_GATE_SIGNS: Final = {
    GateOutcome.FAILED: "❌ failed",
    GateOutcome.INCONCLUSIVE: "❔ inconclusive",
    GateOutcome.PASSED: "✅ passed",
}


def markdown_report(
    report: RunReport,
    *,
    provenance: Provenance = NO_PROVENANCE,
    comparisons: Sequence[Comparison] = (),
    gates: Sequence[GateResult] = (),
    notes: Sequence[str] = (),
) -> str:
    """Returns the report in GitHub's Markdown.

    Args:
        report: The run.
        provenance: Where its numbers come from.
        comparisons: What variants are compared with; the first is in the main table.
        gates: What its rules came to.
        notes: Differences between the runs compared, as `check_comparable` gives them.
    """
    return "\n".join(_lines(report, provenance, comparisons, gates, notes)) + "\n"


def _lines(
    report: RunReport,
    provenance: Provenance,
    comparisons: Sequence[Comparison],
    gates: Sequence[GateResult],
    notes: Sequence[str],
) -> Iterator[str]:
    yield f"### {_headline(report, gates)}"
    yield ""
    yield " · ".join(_facts(report, provenance))
    for notice in (*_notices(report), *map(_code, notes)):
        yield from ("", f"> {notice}")
    yield ""
    first = comparisons[0] if comparisons else None
    yield from _main_table(report.by_variant(), first)
    if gates:
        yield ""
        yield from _gates_table(gates)
    for comparison in comparisons:
        title = f"All differences from {_code(comparison.label)}"
        yield from _folded(title, _differences(comparison))
    if len(report.tasks) > 1:
        yield from _folded("Success rate by task", _task_table(report))
    yield from _folded_failures(report)


def _headline(report: RunReport, gates: Sequence[GateResult]) -> str:
    summaries = report.by_variant()
    num_solved = sum(result.success for each in summaries for result in each.results)
    num_scored = sum(each.num_episodes for each in summaries)
    parts = [f"BabyAI-Text: {num_solved:,} of {count_of(num_scored, 'episode')} solved"]
    num_errors = sum(each.num_errors for each in summaries)
    if num_errors:
        parts.append(count_of(num_errors, "error"))
    num_failed = sum(gate.outcome is GateOutcome.FAILED for gate in gates)
    if num_failed:
        parts.append(f"{count_of(num_failed, 'gate')} failed")
    return ", ".join(parts)


def _facts(report: RunReport, provenance: Provenance) -> Iterator[str]:
    yield _code(report.setup.model_label)
    yield f"seeds {format_seeds(report.seeds)}"
    yield f"environment {_code(report.setup.environment)}"
    yield f"{count_of(report.num_requests, 'request')} in {format_duration(report.wall_time_s)}"
    if provenance.run_id:
        yield f"run {_code(provenance.run_id)}"
    if provenance.commit:
        yield f"commit {_code(provenance.commit)}"


def _notices(report: RunReport) -> Iterator[str]:
    if report.setup.offline:
        yield f"{OFFLINE_NOTE}."
    num_played = len(report.episodes)
    if report.interrupted or num_played < report.num_selected:
        yield f"Not complete: {num_played:,} of {count_of(report.num_selected, 'episode')} played."
    num_fallbacks = sum(each.num_fallbacks for each in report.by_variant())
    if num_fallbacks:
        yield f"Random actions stood in for failed requests on {count_of(num_fallbacks, 'step')}."


def _main_table(
    summaries: Sequence[VariantSummary], comparison: Comparison | None
) -> Iterator[str]:
    titles = [measure.title.removesuffix(" per episode") for measure in MEASURES]
    headers = ["variant", "episodes", "errors", *(title.lower() for title in titles)]
    with_cost = any(each.cost is not None for each in summaries)
    headers += ["cost"] if with_cost else []
    deltas: dict[str, str] = {}
    if comparison is not None:
        headers.append(f"Δ success against {_code(comparison.label)}")
        deltas = {
            each.variant: _difference(each.metrics[MEASURES[0].name], MEASURES[0])
            for each in comparison.variants
        }
    rows = []
    for each in summaries:
        numbers = [format_estimate(m.estimate(each), m.number_format) for m in MEASURES]
        row = [_code(each.variant), f"{each.num_episodes:,}", f"{each.num_errors:,}", *numbers]
        row += [format_cost(each.cost)] if with_cost else []
        rows.append([*row, deltas.get(each.variant, "–")] if comparison is not None else row)  # noqa: RUF001
    yield from _table(headers, rows)


def _difference(found: MetricComparison, measure: Measure) -> str:
    return f"{difference_text(found, measure)} **{found.verdict.value}**"


def _gates_table(gates: Sequence[GateResult]) -> Iterator[str]:
    ordered = sorted(gates, key=lambda gate: GATE_ORDER.index(gate.outcome))
    rows = [[_GATE_SIGNS[each.outcome], _code(each.name), _code(each.reason)] for each in ordered]
    yield from _table(["gate", "rule", "reason"], rows, numbers=False)


def _differences(comparison: Comparison) -> list[str]:
    if not comparison.variants:
        return ["No variant has a counterpart."]
    headers = ["variant", *(f"Δ {measure.title.lower()}" for measure in MEASURES)]
    rows = [
        [
            _code(each.variant),
            *(_difference(each.metrics[measure.name], measure) for measure in MEASURES),
        ]
        for each in comparison.variants
    ]
    level = f"{100 * comparison.level:g} %"
    how = f"Paired on task and seed, {level} intervals clustered by seed."
    return [*_table(headers, rows), "", how]


def _task_table(report: RunReport) -> list[str]:
    measure = MEASURES[0]
    by_task = {
        task: {each.variant: each for each in report.by_variant(task)} for task in report.tasks
    }
    rows = [
        [
            _code(variant),
            *(
                format_estimate(measure.estimate(found[variant]), measure.number_format)
                if variant in found
                else "–"  # noqa: RUF001
                for found in by_task.values()
            ),
        ]
        for variant in report.variants
    ]
    return list(_table(["variant", *map(_code, report.tasks)], rows))


def _folded_failures(report: RunReport) -> Iterator[str]:
    errors = [each for each in report.episodes if not isinstance(each.outcome, EpisodeResult)]
    failed = [*sorted(errors, key=lambda each: each.spec), *report.below_threshold()]
    if not failed:
        return
    rows = []
    for each in failed[:_NUM_EPISODES]:
        outcome = each.outcome
        if isinstance(outcome, EpisodeResult):
            reason = f"{outcome.num_steps} of {count_of(outcome.max_steps, 'step')}"
            rows.append([_code(str(each.spec)), reason, _code(outcome.mission)])
        else:
            rows.append([_code(str(each.spec)), f"{outcome.kind} error", _code(outcome.message)])
    lines = list(_table(["episode", "came to", "mission or error"], rows, numbers=False))
    if len(failed) > _NUM_EPISODES:
        lines += ["", f"and {len(failed) - _NUM_EPISODES:,} more"]
    yield from _folded(f"{count_of(len(failed), 'episode')} failed", lines)


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield from ("", "<details>", f"<summary>{_as_html(title)}</summary>", "", *lines, "")
    yield "</details>"


def _as_html(title: str) -> str:
    # A summary is HTML, in which code spans are no Markdown.
    plain, *rest = title.split("`", 1)
    if not rest:
        return plain
    code = rest[0].rstrip("`").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{plain}<code>{code}</code>"


def _table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
) -> Iterator[str]:
    align = "---:" if numbers else ":---"
    yield f"| {' | '.join(headers)} |"
    yield f"| :--- | {' | '.join([align] * (len(headers) - 1))} |"
    for cells in rows:
        yield f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    line = one_line(text, _TEXT_LIMIT).replace("`", "'").replace("|", "\\|").strip()
    return f"`{line}`" if line else "–"  # noqa: RUF001
