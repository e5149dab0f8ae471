"""A summary in the terminal, as lines."""

from __future__ import annotations

import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.reporting.diagnosis import DEFINITIONS
from pytest_babyai.reporting.episodes import one_line
from pytest_babyai.reporting.measures import (
    ALL_MEASURES,
    TABLE_ORDER,
    WITH_INTERVAL,
    interval_text,
)
from pytest_babyai.reporting.numbers import (
    DASH,
    RATE,
    UNICODE,
    Symbols,
    count_of,
    format_cost,
    format_estimate,
    format_number,
    format_seeds,
    translated,
)
from pytest_babyai.reporting.summary import OFFLINE_NOTE, counts_of, in_order
from pytest_babyai.reporting.tables import table_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.reporting.changes import Change
    from pytest_babyai.reporting.results import VariantSummary
    from pytest_babyai.reporting.summary import Compared, ComparedVariant, Gate, Notice, Summary

_MIN_WIDTH: Final = 20
_NAME_LIMIT: Final = 200
_TEXT_LIMIT: Final = 1000
NO_STYLE: Mapping[str, bool] = MappingProxyType({})
BOLD: Mapping[str, bool] = MappingProxyType({"bold": True})
WARNING_STYLE: Mapping[str, bool] = MappingProxyType({"yellow": True})
_GREEN, _RED = MappingProxyType({"green": True}), MappingProxyType({"red": True})
_STYLES: Final = MappingProxyType(
    {
        "better": _GREEN,
        "worse": _RED,
        "passed": _GREEN,
        "failed": _RED,
        "inconclusive": WARNING_STYLE,
    }
)
_HOW_TO_READ: Final = (
    "Mean ± SEM (n-1) over episodes. Episodes of one seed share their layout, so the SEM is too "
    "small to judge by; the 95 % intervals are clustered by seed."
)


class Line(NamedTuple):
    """A line and the style that ``terminalreporter.write_line(text, **style)`` takes."""

    text: str
    style: Mapping[str, bool] = NO_STYLE


def terminal_lines(
    summary: Summary, *, width: int = 80, symbols: Symbols = UNICODE, verbosity: int = 0
) -> Iterator[Line]:
    """Yields all that there is to say of a run.

    Args:
        summary: The run.
        width: Columns of the terminal; tables that are too wide are turned.
        symbols: What the terminal can print.
        verbosity: From 1 on with a table per task, all metrics of every comparison, why episodes
            fail, what differs between variants, and how to read it.
    """
    page = _Page(width, symbols)
    yield from page.setup(summary)
    if summary.detectable_text:
        yield from page.text(summary.detectable_text)
    if summary.variants:
        yield Line("")
        yield from page.means((*summary.variants, *summary.report.by_reference()))
    for task in summary.report.tasks if verbosity > 0 else ():
        yield from (Line(""), *page.text(f"task {task}", BOLD))
        report = summary.report
        yield from page.means((*report.by_variant(task), *report.by_reference(task)))
    yield Line("")
    yield from page.notices(summary.notices)
    if verbosity > 0:
        yield from page.text(_HOW_TO_READ)
    yield from page.text(summary.effort_text)
    yield from page.verdicts(summary, verbosity)
    if verbosity > 0:
        yield from page.diagnoses(summary)
    yield from page.counts(summary)


def comparison_lines(
    comparison: Compared, *, width: int = 80, symbols: Symbols = UNICODE, verbosity: int = 0
) -> Iterator[Line]:
    """Yields the differences of every variant in every metric, and what they mean."""
    yield from _Page(width, symbols).comparison(comparison, verbosity)


def reference_lines(
    comparison: Compared,
    metric: str | None = None,
    *,
    width: int = 80,
    symbols: Symbols = UNICODE,
) -> Iterator[Line]:
    """Yields one metric's differences, a line per variant.

    A line reads ``reasoning +15.0 [+2.1, +27.9] better``; there is none where there is nothing to
    compare.
    """
    yield from _Page(width, symbols).differences(comparison, metric)


def gate_lines(
    gates: Iterable[Gate], *, width: int = 80, symbols: Symbols = UNICODE
) -> Iterator[Line]:
    """Yields every gate with its outcome and reason, the failed first, and their counts."""
    yield from _Page(width, symbols).gates(in_order(gates))


class _Page:
    """Lays out parts of a summary for one terminal."""

    def __init__(self, width: int, symbols: Symbols) -> None:
        self._width = width
        self._symbols = symbols

    def text(self, text: str, style: Mapping[str, bool] = NO_STYLE) -> Iterator[Line]:
        yield from wrapped([translated(text, self._symbols)], self._width, style)

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Line]:
        cells = [[self._cell(cell) for cell in row] for row in rows]
        names = [self._cell(name) for name in headers]
        ellipsis = self._symbols.ellipsis
        for line in table_lines(names, cells, width=self._width, ellipsis=ellipsis):
            yield Line(line)

    def _cell(self, text: str) -> str:
        return translated(one_line(text, _NAME_LIMIT), self._symbols)

    def setup(self, summary: Summary) -> Iterator[Line]:
        setup = summary.report.setup
        model = f"model: {setup.model_label}"
        if setup.offline:
            yield from self.text(f"{model} ({OFFLINE_NOTE})", MappingProxyType({"cyan": True}))
        else:
            yield from self.text(model)
        seeds = format_seeds(summary.report.seeds)
        yield from self.text(
            f"seeds: {seeds} · environment: {setup.environment} · gate: {setup.gate}"
        )

    def means(self, summaries: Sequence[VariantSummary]) -> Iterator[Line]:
        headers, *rows = zip(*_columns(summaries), strict=True)
        yield from self.table(headers, rows)

    def notices(self, notices: Iterable[Notice]) -> Iterator[Line]:
        for notice in notices:
            if not notice.text.startswith(OFFLINE_NOTE):  # stands beside the model's name
                style = WARNING_STYLE if notice.is_warning else NO_STYLE
                yield from self.text(one_line(notice.text, _TEXT_LIMIT), style)

    def verdicts(self, summary: Summary, verbosity: int) -> Iterator[Line]:
        between = [each for each in summary.comparisons if each.between_variants]
        for comparison in between:
            if comparison.variants:
                yield Line("")
                if verbosity > 0:
                    yield from self.comparison(comparison, verbosity)
                yield from self.differences(comparison)
        for comparison in summary.comparisons:
            if not comparison.between_variants:
                yield Line("")
                yield from self.comparison(comparison, verbosity)
        if summary.gates:
            yield Line("")
            yield from self.gates(summary.gates)

    def differences(self, comparison: Compared, metric: str | None = None) -> Iterator[Line]:
        if not comparison.variants:
            return
        metric = metric or comparison.primary
        title, label = ALL_MEASURES[metric].difference_title, comparison.label
        yield from self.text(
            f"Δ {title} against {one_line(label, _NAME_LIMIT)} ({comparison.level_text}):"
        )
        names = [self._cell(each.variant) for each in comparison.variants]
        widest = max(map(len, names))
        for name, each in zip(names, comparison.variants, strict=True):
            found = each.differences[metric]
            text = f"  {name.ljust(widest)}  {found.text}"
            yield from self.text(text, _STYLES.get(found.verdict, NO_STYLE))

    def comparison(self, comparison: Compared, verbosity: int) -> Iterator[Line]:
        yield from self.text(one_line(comparison.title, _NAME_LIMIT), BOLD)
        yield from self.notices(comparison.notes)
        if comparison.variants and verbosity > 0:
            for variant in comparison.variants:
                yield Line("")
                yield from self._all_metrics(variant, comparison)
                yield from self._changes(variant.changes or ())
        elif comparison.variants:
            yield Line("")
            yield from self._one_table(comparison)
        yield Line("")
        for variant in comparison.variants:
            for verdict in ("worse", "better"):
                if names := variant.metrics_that_are(verdict):
                    name = one_line(variant.variant, _NAME_LIMIT)
                    yield from self.text(
                        f"{name} is {verdict}: {', '.join(names)}", _STYLES[verdict]
                    )
        for remark in (*comparison.remarks, comparison.how_to_read):
            yield from self.text(one_line(remark, _TEXT_LIMIT))

    def _one_table(self, comparison: Compared) -> Iterator[Line]:
        metrics = comparison.metrics
        headers = ["variant", *(f"Δ {ALL_MEASURES[name].difference_title}" for name in metrics)]
        rows = [
            [each.variant, *(each.differences[name].text for name in metrics)]
            for each in comparison.variants
        ]
        yield from self.table(headers, rows)

    def _all_metrics(self, variant: ComparedVariant, comparison: Compared) -> Iterator[Line]:
        pairs, seeds = count_of(variant.num_pairs, "pair"), count_of(variant.num_seeds, "seed")
        yield from self.text(f"{one_line(variant.variant, _NAME_LIMIT)}: {pairs} of {seeds}", BOLD)
        rows = []
        for name in comparison.metrics:
            measure, found = ALL_MEASURES[name], variant.differences[name]
            written = measure.number_format
            plain = [
                format_number(value, written).removesuffix(written.unit)
                for value in (found.reference, found.candidate, found.detectable)
            ]
            rows.append([measure.difference_title, plain[0], plain[1], found.text, plain[2]])
        yield from self.table(["metric", "from", "to", "Δ", "detectable"], rows)

    def _changes(self, changes: Iterable[Change]) -> Iterator[Line]:
        for change in changes:
            yield from self.text(f"changed: {change.part}")
            for line in change.text.split("\n"):
                shown = translated(one_line(line, _TEXT_LIMIT), self._symbols)
                style = _STYLES["better"] if line[:1] == "+" else NO_STYLE
                yield Line(f"  {shown}", _STYLES["worse"] if line[:1] == "-" else style)

    def gates(self, gates: Sequence[Gate]) -> Iterator[Line]:
        for gate in gates:
            shown = gate.outcome.upper() if gate.outcome == "failed" else gate.outcome
            reason = one_line(gate.reason, _TEXT_LIMIT)
            text = f"{shown} {one_line(gate.name, _NAME_LIMIT)}: {reason}"
            yield from self.text(text, _STYLES[gate.outcome])
        if gates:
            yield from self.text(counts_of(gates))

    def diagnoses(self, summary: Summary) -> Iterator[Line]:
        shown = [
            name for name in DEFINITIONS if any(each.counts[name] for each in summary.diagnoses)
        ]
        if not shown:
            return
        yield from (Line(""), *self.text("Why episodes that were not solved failed:", BOLD))
        headers = ["variant", "not solved", *shown]
        yield from self.table(
            headers,
            [
                [each.variant, str(each.num_failed), *(each.text(name) for name in shown)]
                for each in summary.diagnoses
            ],
        )
        for name in shown:
            yield from self.text(f"{name}: {DEFINITIONS[name]}")

    def counts(self, summary: Summary) -> Iterator[Line]:
        report = summary.report
        num_below = sum(cell.num_below for cell in summary.by_task.values())
        if num_below:
            num_scored = sum(cell.num_scored for cell in summary.by_task.values())
            scored = count_of(num_scored, "scored episode")
            yield from self.text(f"{num_below:,} of {scored} below their threshold:")
            yield from self.table(
                ["variant", *report.tasks],
                [[name, *_below(summary, name, report.tasks)] for name in report.variants],
            )
        if summary.errors:
            kinds = sorted({kind for counts in summary.errors.values() for kind in counts})
            num_errors = sum(sum(counts.values()) for counts in summary.errors.values())
            yield from self.text(f"{count_of(num_errors, 'error')} by kind:")
            yield from self.table(
                ["variant", *kinds],
                [
                    [name, *(str(counts.get(kind, 0)) for kind in kinds)]
                    for name, counts in summary.errors.items()
                ],
            )


def _below(summary: Summary, variant: str, tasks: Sequence[str]) -> Iterator[str]:
    for task in tasks:
        cell = summary.by_task.get((variant, task))
        yield f"{cell.num_below}/{cell.num_scored}" if cell and cell.num_scored else DASH


def _columns(summaries: Sequence[VariantSummary]) -> Iterator[list[str]]:
    yield ["variant", *(summary.variant for summary in summaries)]
    yield ["episodes", *(f"{summary.num_episodes:,}" for summary in summaries)]
    yield ["errors", *(f"{summary.num_errors:,}" for summary in summaries)]
    for name in TABLE_ORDER:
        measure = ALL_MEASURES[name]
        cells = [
            format_estimate(measure.estimate(each), measure.number_format) for each in summaries
        ]
        yield [measure.short, *cells]
        if name in WITH_INTERVAL:
            yield ["95 % interval", *(interval_text(each, measure) for each in summaries)]
        if name == "success" and any(summary.failures for summary in summaries):
            rates = [format_number(each.success_if_errors_failed, RATE) for each in summaries]
            yield ["errors as failures", *rates]
    yield from _repeated(summaries)
    if any(summary.num_cached for summary in summaries):
        yield ["cached answers", *(f"{summary.num_cached:,}" for summary in summaries)]
    costs = [summary.cost for summary in summaries]
    if any(cost is not None for cost in costs):
        yield ["cost", *(format_cost(cost) for cost in costs)]


def _repeated(summaries: Sequence[VariantSummary]) -> Iterator[list[str]]:
    """Yields pass@k and pass^k, where every episode was played ``k`` times."""
    k = min((each.num_repeats for each in summaries if each.num_repeats > 1), default=1)
    if k == 1:
        return
    for title, name in ((f"pass@{k}", "pass_at"), (f"pass^{k}", "pass_hat")):
        known = [getattr(each, name)(k) if each.num_repeats >= k else None for each in summaries]
        yield [title, *(format_estimate(found, RATE) if found else DASH for found in known)]


def wrapped(
    texts: Iterable[str], width: int, style: Mapping[str, bool] = NO_STYLE
) -> Iterator[Line]:
    """Yields texts as lines of at most ``width`` columns, continued ones indented."""
    wrapper = textwrap.TextWrapper(
        max(width, _MIN_WIDTH), subsequent_indent="  ", break_on_hyphens=False
    )
    for text in texts:
        for line in wrapper.wrap(text):
            yield Line(line, style)
