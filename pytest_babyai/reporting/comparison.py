"""Comparisons and gates as lines: how far variants lie from a reference, and what rules say."""

from __future__ import annotations

import collections
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_babyai.gate import GateOutcome, Reference, RunScores, Verdict, compare
from pytest_babyai.gate.judge import spend_all
from pytest_babyai.metrics import PRIMARY
from pytest_babyai.reporting.episodes import one_line
from pytest_babyai.reporting.numbers import (
    COUNT,
    SCORE,
    TOKENS,
    UNICODE,
    NumberFormat,
    Symbols,
    count_of,
    format_number,
)
from pytest_babyai.reporting.tables import table_lines
from pytest_babyai.reporting.terminal import NO_STYLE, WARNING_STYLE, Line, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate import Comparison, GateResult, MetricComparison, VariantComparison
    from pytest_babyai.playing.stopping import Stopping
    from pytest_babyai.reporting.results import RunReport

_POINTS: Final = NumberFormat(1, 100.0)
_FORMATS: Final[Mapping[str, tuple[str, NumberFormat]]] = MappingProxyType(
    {
        "success": ("success %", _POINTS),
        "progression": ("progression", SCORE),
        "return": ("return", SCORE),
        "efficiency": ("efficiency", SCORE),
        "steps": ("steps", COUNT),
        "input_tokens": ("input tokens", TOKENS),
        "output_tokens": ("output tokens", TOKENS),
        "cost": ("cost $", NumberFormat(4)),
        "errors": ("errors %", _POINTS),
    }
)
_VERDICT_STYLES: Final = MappingProxyType(
    {
        Verdict.BETTER: MappingProxyType({"green": True}),
        Verdict.WORSE: MappingProxyType({"red": True}),
        Verdict.TIED: NO_STYLE,
        Verdict.UNDECIDED: NO_STYLE,
    }
)
_GATE_STYLES: Final = MappingProxyType(
    {
        GateOutcome.PASSED: MappingProxyType({"green": True}),
        GateOutcome.FAILED: MappingProxyType({"red": True}),
        GateOutcome.INCONCLUSIVE: WARNING_STYLE,
    }
)
DEFAULT_MARGIN: Final = 0.05
"""Difference in success, progression and return that does not matter."""

_NAME_LIMIT: Final = 200
_REASON_LIMIT: Final = 1000


def compare_variants(
    report: RunReport,
    reference: str | None = None,
    *,
    margin: float = DEFAULT_MARGIN,
    primary: str = PRIMARY,
    stopping: Stopping | None = None,
) -> Comparison | None:
    """Compares all variants of a run with one of them; None where there is only one.

    Args:
        report: The run.
        reference: The variant to compare with; None takes the first.
        margin: Difference in success, progression and return that does not matter.
        primary: The metric whose verdicts count.
        stopping: What stopped variants early, None where nothing did.
    """
    variants = report.variants
    if len(variants) < 2:  # noqa: PLR2004 - a comparison needs two
        return None
    name = reference or variants[0]
    outcomes = [episode.outcome for episode in report.episodes]
    scores = RunScores.of_outcomes(outcomes, variants=variants, tasks=report.tasks)
    if stopping is not None:
        scores = stopping.seen(scores)
    return compare(
        scores,
        Reference(f"variant {name}", scores, name),
        margins=margins(margin),
        primary=primary,
        spend=stopping.spend if stopping else spend_all,
    )


def margins(margin: float) -> dict[str, float]:
    """Returns by metric the difference that does not matter, for `compare`."""
    return dict.fromkeys(("success", "progression", "return", "efficiency"), margin)


def comparison_lines(
    comparison: Comparison,
    *,
    notes: Sequence[str] = (),
    width: int = 80,
    verbosity: int = 0,
    symbols: Symbols = UNICODE,
) -> Iterator[Line]:
    """Yields the differences of every variant in every metric, and what they mean.

    Args:
        comparison: As `compare` gives it.
        notes: Differences between the runs, as `check_comparable` gives them.
        width: Columns of the terminal.
        verbosity: From 1 on with a table per variant: both means, and what could be detected.
        symbols: What the terminal can print.
    """
    yield from wrapped([_title(comparison)], width, MappingProxyType({"bold": True}))
    for note in notes:
        style = WARNING_STYLE if note.startswith("WARNING") else NO_STYLE
        yield from wrapped([one_line(note, _REASON_LIMIT, symbols)], width, style)
    if comparison.variants and verbosity > 0:
        for variant in comparison.variants:
            yield Line("")
            yield from _detailed_table(variant, comparison, width, symbols)
    elif comparison.variants:
        yield Line("")
        yield from _table(comparison, width, symbols)
    yield Line("")
    for variant in comparison.variants:
        yield from _verdict_lines(variant, comparison.primary, width)
    yield from wrapped(_remarks(comparison, symbols), width)


def reference_lines(
    comparison: Comparison,
    metric: str | None = None,
    *,
    width: int = 80,
    symbols: Symbols = UNICODE,
) -> Iterator[Line]:
    """Yields one metric's differences, a line per variant.

    A line reads ``reasoning +15.0 [+2.1, +27.9] better``. Nothing is yielded where there is nothing
    to compare.
    """
    if not comparison.variants:
        return
    metric = metric or comparison.primary
    name, number_format = _FORMATS[metric]
    label = one_line(comparison.label, _NAME_LIMIT)
    level = f"{100 * comparison.level:g} %{_corrected(comparison)}"
    yield from wrapped([f"{_delta(symbols)} {name} against {label} ({level}):"], width)
    names = [one_line(variant.variant, _NAME_LIMIT, symbols) for variant in comparison.variants]
    widest = max(map(len, names))
    for padded, variant in zip(
        [text.ljust(widest) for text in names], comparison.variants, strict=True
    ):
        found = variant.metrics[metric]
        text = f"  {padded}  {_cell(found, number_format, symbols)}"
        yield from wrapped([text], width, _VERDICT_STYLES[found.verdict])


def gate_lines(
    results: Iterable[GateResult], *, width: int = 80, symbols: Symbols = UNICODE
) -> Iterator[Line]:
    """Yields every gate with its outcome and reason, the failed first, and their counts."""
    order = (GateOutcome.FAILED, GateOutcome.INCONCLUSIVE, GateOutcome.PASSED)
    ordered = sorted(results, key=lambda result: order.index(result.outcome))
    for result in ordered:
        outcome = result.outcome.value
        shown = outcome.upper() if result.outcome is GateOutcome.FAILED else outcome
        reason = one_line(result.reason, _REASON_LIMIT, symbols)
        text = f"{shown} {one_line(result.name, _NAME_LIMIT, symbols)}: {reason}"
        yield from wrapped([text], width, _GATE_STYLES[result.outcome])
    if ordered:
        counts = collections.Counter(result.outcome for result in ordered)
        told = ", ".join(f"{counts[outcome]:,} {outcome.value}" for outcome in order)
        yield from wrapped([f"{count_of(len(ordered), 'gate')}: {told}"], width)


def _title(comparison: Comparison) -> str:
    label = one_line(comparison.label, _NAME_LIMIT)
    task = f" on {comparison.task}" if comparison.task else ""
    return f"Compared with {label}{task}"


def _table(comparison: Comparison, width: int, symbols: Symbols) -> Iterator[Line]:
    metrics = _shown_metrics(comparison)
    headers = ["variant", *(f"{_delta(symbols)} {_FORMATS[name][0]}" for name in metrics)]
    rows = [
        [
            one_line(variant.variant, _NAME_LIMIT, symbols),
            *(_cell(variant.metrics[name], _FORMATS[name][1], symbols) for name in metrics),
        ]
        for variant in comparison.variants
    ]
    for line in table_lines(headers, rows, width=width, ellipsis=symbols.ellipsis):
        yield Line(line)


def _detailed_table(
    variant: VariantComparison, comparison: Comparison, width: int, symbols: Symbols
) -> Iterator[Line]:
    pairs, seeds = count_of(variant.num_pairs, "pair"), count_of(variant.num_seeds, "seed")
    name = one_line(variant.variant, _NAME_LIMIT, symbols)
    yield Line(f"{name}: {pairs} of {seeds}", {"bold": True})
    headers = ["metric", "from", "to", _delta(symbols), "detectable"]
    rows = []
    for metric in _shown_metrics(comparison):
        title, number_format = _FORMATS[metric]
        found = variant.metrics[metric]
        rows.append(
            [
                title,
                format_number(found.reference, number_format, symbols),
                format_number(found.candidate, number_format, symbols),
                _cell(found, number_format, symbols),
                format_number(found.detectable(comparison.level), number_format, symbols),
            ]
        )
    for line in table_lines(headers, rows, width=width, ellipsis=symbols.ellipsis):
        yield Line(line)


def _shown_metrics(comparison: Comparison) -> list[str]:
    # Prices are rarely known and errors rare, so their rows are left out where they say nothing.
    def tells(metric: str) -> bool:
        found = [variant.metrics[metric] for variant in comparison.variants]
        return any(each.candidate or each.reference for each in found)

    return [name for name in _FORMATS if name not in {"cost", "errors"} or tells(name)]


def _cell(found: MetricComparison, number_format: NumberFormat, symbols: Symbols) -> str:
    difference = found.difference
    if difference.mean is None:
        return symbols.dash
    parts = [_signed(difference.mean, number_format)]
    if difference.interval is not None:
        low = _signed(difference.interval.low, number_format)
        parts.append(f"[{low}, {_signed(difference.interval.high, number_format)}]")
    return " ".join([*parts, found.note or found.verdict.value])


def _signed(value: float, number_format: NumberFormat) -> str:
    rounded = round(value * number_format.scale, number_format.decimals) + 0.0
    return (
        f"{rounded:+,.{number_format.decimals}f}" if rounded else f"{0:.{number_format.decimals}f}"
    )


def _verdict_lines(variant: VariantComparison, primary: str, width: int) -> Iterator[Line]:
    for verdict in (Verdict.WORSE, Verdict.BETTER):
        names = [name for name, found in variant.metrics.items() if found.verdict is verdict]
        words = [
            _FORMATS[name][0].rstrip(" %$") + ("" if name == primary else " (exploratory)")
            for name in sorted(names, key=lambda name: name != primary)
        ]
        if words:
            text = (
                f"{one_line(variant.variant, _NAME_LIMIT)} is {verdict.value}: {', '.join(words)}"
            )
            yield from wrapped([text], width, _VERDICT_STYLES[verdict])


def _remarks(comparison: Comparison, symbols: Symbols) -> Iterator[str]:
    label = one_line(comparison.label, _NAME_LIMIT)
    if comparison.only_candidate:
        yield f"Not in {label}: {', '.join(comparison.only_candidate)}"
    if comparison.only_reference:
        yield f"In {label} only: {', '.join(comparison.only_reference)}"
    if not comparison.variants:
        yield f"No variant has a counterpart in {label}."
        return
    for variant in comparison.variants:
        if variant.num_unpaired:
            pairs = count_of(variant.num_unpaired, "(task, seed) pair")
            yield f"{variant.variant}: {pairs} without a score on both sides left out"
    yield _how_to_read(comparison, symbols)


def _how_to_read(comparison: Comparison, symbols: Symbols) -> str:
    pairs = sorted({variant.num_pairs for variant in comparison.variants})
    span = f"{pairs[0]:,}" if len(pairs) == 1 else f"{pairs[0]:,} to {pairs[-1]:,}"
    corrected = _corrected(comparison)
    return (
        f"{_delta(symbols)} with {100 * comparison.level:g} % interval, paired on {span} "
        f"(task, seed) of the same level, clustered by seed{corrected}."
    )


def _corrected(comparison: Comparison) -> str:
    num_variants = len(comparison.variants)
    return f", Holm over {num_variants} variants" if num_variants > 1 else ""


def _delta(symbols: Symbols) -> str:
    return "change in" if symbols.plus_minus.isascii() else "Δ"
