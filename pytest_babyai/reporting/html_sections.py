"""The parts of the HTML report that need no script: header, notices, charts and tables.

Every text of a run passes through `_text`, which escapes it; tags are written here alone.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from pytest_babyai.gate import GateOutcome
from pytest_babyai.reporting.chart_themes import PAGE_THEME
from pytest_babyai.reporting.charts import (
    chart_svg,
    forest_chart,
    largest_value,
    measure_chart,
)
from pytest_babyai.reporting.measures import MEASURES, difference_text
from pytest_babyai.reporting.numbers import (
    count_of,
    format_cost,
    format_duration,
    format_estimate,
    format_seeds,
)
from pytest_babyai.reporting.recorded import readable_time
from pytest_babyai.reporting.terminal import OFFLINE_NOTE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_babyai.gate import Comparison, GateResult, MetricComparison
    from pytest_babyai.reporting.measures import Measure
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.results import RunReport, VariantSummary

GATE_ORDER: Final = (GateOutcome.FAILED, GateOutcome.INCONCLUSIVE, GateOutcome.PASSED)


def sections(
    report: RunReport,
    provenance: Provenance,
    comparisons: Sequence[Comparison],
    gates: Sequence[GateResult],
) -> dict[str, str]:
    """Returns the parts of the page by their name in the template.

    Raises:
        SettingsError: A library for charts is not installed.
    """
    summaries = report.by_variant()
    return {
        "title": _text(f"{report.setup.model_label} on BabyAI-Text"),
        "badge": _badge(report),
        "facts": "".join(_facts(report, provenance)),
        "figures": "".join(_figures(report)),
        "notices": "".join(_notices(report, summaries)),
        "charts": "".join(_charts(summaries, report)),
        "variants": _variants_table(summaries),
        "comparisons": "".join(
            _comparison(each, position) for position, each in enumerate(comparisons)
        ),
        "tasks": _tasks(report),
        "gates": _gates(gates),
        "versions": _versions(provenance),
    }


def _text(value: object) -> str:
    # A lone surrogate, which JSON allows a model to write, cannot be encoded.
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def _badge(report: RunReport) -> str:
    if not report.setup.offline:
        return ""
    return f'<span class="badge offline" title="{_text(OFFLINE_NOTE)}">offline model</span>'


def _facts(report: RunReport, provenance: Provenance) -> Iterator[str]:
    facts = [
        ("Model", report.setup.model_label),
        ("Seeds", format_seeds(report.seeds)),
        ("Tasks", ", ".join(report.tasks)),
        ("Environment", report.setup.environment),
        ("Started", readable_time(provenance.started_at) if provenance.started_at else None),
        ("Run", provenance.run_id),
        ("Commit", provenance.commit),
    ]
    for name, value in facts:
        if value:
            yield f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>"


def _figures(report: RunReport) -> Iterator[str]:
    summaries = report.by_variant()
    num_solved = sum(result.success for each in summaries for result in each.results)
    num_errors = sum(each.num_errors for each in summaries)
    costs = [each.cost for each in summaries]
    cost = sum(each for each in costs if each is not None) if None not in costs else None
    figures = [
        (f"{len(report.episodes):,}", "episodes"),
        (f"{num_solved:,}", "solved"),
        (f"{len(report.below_threshold()):,}", "below threshold"),
        (f"{num_errors:,}", "errors"),
        (f"{report.num_requests:,}", "requests"),
        (format_duration(report.wall_time_s), "wall time"),
        (f"${cost:,.2f}" if cost else "", "cost"),
    ]
    for value, name in figures:
        if value:
            yield f"<div><strong>{_text(value)}</strong><span>{name}</span></div>"


def _notices(report: RunReport, summaries: Sequence[VariantSummary]) -> Iterator[str]:
    num_played, num_selected = len(report.episodes), report.num_selected
    if report.setup.offline:
        yield _notice(
            "A rule-based policy answered, no language model: these numbers show that the harness "
            "works and say nothing about any model."
        )
    if report.interrupted or num_played < num_selected:
        yield _notice(
            f"Not complete: {num_played:,} of {count_of(num_selected, 'episode')} played."
        )
    num_fallbacks = sum(each.num_fallbacks for each in summaries)
    if num_fallbacks:
        yield _notice(
            f"Random actions stood in for failed requests on {count_of(num_fallbacks, 'step')}; "
            "these means are not the model's alone."
        )
    kinds = ", ".join(
        f"{each.variant}: {number} × {kind}"  # noqa: RUF001 - a multiplication sign is meant
        for each in summaries
        for kind, number in each.num_errors_by_kind.items()
    )
    if kinds:
        yield _notice(f"Episodes without a score, in no mean: {kinds}.")


def _notice(text: str) -> str:
    return f'<p class="notice">{_text(text)}</p>'


def _charts(summaries: Sequence[VariantSummary], report: RunReport) -> Iterator[str]:
    for measure in MEASURES if summaries else ():
        drawn = _page_chart(summaries, measure, report, None)
        yield _figure(measure.title, measure.direction, drawn, measure.name)


def _page_chart(
    summaries: Sequence[VariantSummary], measure: Measure, report: RunReport, largest: float | None
) -> str:
    chart = measure_chart(
        summaries, measure, variants=report.variants, largest=largest, theme=PAGE_THEME
    )
    return chart_svg(chart)


def _figure(title: str, note: str, svg: str, name: str = "") -> str:
    return (
        f'<figure class="card" data-chart="{_text(name)}"><figcaption>{_text(title)}'
        f"<small>{_text(note)}</small></figcaption>{svg}</figure>"
    )


def _tabs(group: str, panels: Iterable[tuple[Measure, str]]) -> str:
    tabs, bodies = [], []
    for position, (measure, body) in enumerate(panels):
        name = f"{group}-{measure.name}"
        checked = "" if position else " checked"
        title = measure.title.removesuffix(" per episode")
        tabs.append(
            f'<label><input type="radio" name="{group}" value="{position}"{checked}>'
            f"<span>{_text(title)}</span></label>"
        )
        bodies.append(f'<div class="panel" id="{name}">{body}</div>')
    return (
        f'<div class="tabs"><div class="tablist" role="radiogroup" aria-label="Measure">'
        f"{''.join(tabs)}</div>{''.join(bodies)}</div>"
    )


def _tasks(report: RunReport) -> str:
    if len(report.tasks) < 2:  # noqa: PLR2004 - one task is the whole run
        return ""
    by_task = {task: report.by_variant(task) for task in report.tasks}
    panels = []
    for measure in MEASURES:
        tops = [largest_value(each, measure) for each in by_task.values()]
        largest = max((top for top in tops if top), default=None)
        drawn = [
            _figure(task, "", _page_chart(each, measure, report, largest))
            for task, each in by_task.items()
        ]
        panels.append((measure, f'<div class="grid">{"".join(drawn)}</div>'))
    return (
        '<section id="tasks"><h2>By task</h2><p class="lead">Mean ± SEM of every task, all on '
        f"one scale.</p>{_tabs('by-task', panels)}</section>"
    )


def _variants_table(summaries: Sequence[VariantSummary]) -> str:
    titles = [measure.title for measure in MEASURES]
    headers = ["Variant", "Episodes", "Errors", *titles, "Invalid", "Cached", "Cost"]
    rows = [
        [
            each.variant,
            f"{each.num_episodes:,}",
            f"{each.num_errors:,}",
            *(format_estimate(m.estimate(each), m.number_format) for m in MEASURES),
            f"{each.num_invalid:,}",
            f"{each.num_cached:,}",
            format_cost(each.cost),
        ]
        for each in summaries
    ]
    return table_html(headers, rows, "Means ± SEM over episodes, by variant")


def table_html(headers: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Returns a table whose first column names the rows; all cells are escaped."""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in headers)
    body = "".join(
        f'<tr><th scope="row">{_text(cells[0])}</th>'
        + "".join(f"<td>{_text(cell)}</td>" for cell in cells[1:])
        + "</tr>"
        for cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption class="hidden">{_text(caption)}'
        f"</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _comparison(comparison: Comparison, position: int) -> str:
    if not comparison.variants:
        return ""
    panels = [
        (
            measure,
            _figure(
                f"{measure.title}: difference from {comparison.label}",
                measure.direction,
                chart_svg(forest_chart(comparison, measure, theme=PAGE_THEME)),
                f"difference-{measure.name}",
            ),
        )
        for measure in MEASURES
    ]
    rows = [
        [each.variant, *(_difference(each.metrics[measure.name], measure) for measure in MEASURES)]
        for each in comparison.variants
    ]
    headers = ["Variant", *(f"Δ {measure.title}" for measure in MEASURES)]
    caption = f"Differences from {comparison.label}"
    return (
        f'<section class="comparison"><h2>Compared with {_text(comparison.label)}</h2>'
        f'<p class="lead">{_text(_how_compared(comparison))}</p>'
        f"{_tabs(f'difference-{position}', panels)}"
        f"<details><summary>All differences as a table</summary>"
        f"{table_html(headers, rows, caption)}</details></section>"
    )


def _how_compared(comparison: Comparison) -> str:
    num_pairs = max(each.num_pairs for each in comparison.variants)
    num_seeds = max(each.num_seeds for each in comparison.variants)
    several = ", better and worse only where Holm's correction allows"
    return (
        f"Differences on {count_of(num_pairs, 'pair')} of the same task and seed, with "
        f"{100 * comparison.level:g} % intervals clustered by {count_of(num_seeds, 'seed')}"
        f"{several if len(comparison.variants) > 1 else ''}."
    )


def _difference(found: MetricComparison, measure: Measure) -> str:
    return f"{difference_text(found, measure)} {found.verdict.value}".strip()


def _gates(gates: Sequence[GateResult]) -> str:
    if not gates:
        return ""
    items = "".join(
        f'<li class="gate {gate.outcome.value}"><span class="badge {gate.outcome.value}">'
        f"{gate.outcome.value}</span><code>{_text(gate.name)}</code><span>{_text(gate.reason)}"
        "</span></li>"
        for gate in sorted(gates, key=lambda gate: GATE_ORDER.index(gate.outcome))
    )
    return f'<section id="gates"><h2>Gates</h2><ul class="gates">{items}</ul></section>'


def _versions(provenance: Provenance) -> str:
    known = [f"{name} {version}" for name, version in provenance.versions.items() if version]
    command = " ".join(provenance.command_line)
    parts = [_text(" · ".join(known))] if known else []
    parts += [f"<code>{_text(command)}</code>"] if command else []
    return "<br>".join(parts)
