"""The terminal summary of a run, as lines."""

from __future__ import annotations

import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.metrics import METRICS
from pytest_babyai.reporting.numbers import (
    COUNT,
    RATE,
    SCORE,
    TOKENS,
    UNICODE,
    NumberFormat,
    Symbols,
    count_of,
    format_cost,
    format_duration,
    format_estimate,
    format_number,
    format_seeds,
)
from pytest_babyai.reporting.tables import table_lines
from pytest_babyai.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate import Comparison
    from pytest_babyai.reporting.results import RunReport, VariantSummary

_MIN_WIDTH = 20
NO_STYLE: Mapping[str, bool] = MappingProxyType({})
WARNING_STYLE = MappingProxyType({"yellow": True})
OFFLINE_NOTE = "OFFLINE: a rule-based policy answered, no language model"


class Line(NamedTuple):
    """A line and the style that ``terminalreporter.write_line(text, **style)`` takes."""

    text: str
    style: Mapping[str, bool] = NO_STYLE


def summary_lines(
    report: RunReport,
    *,
    comparison: Comparison | None = None,
    width: int = 80,
    verbosity: int = 0,
    symbols: Symbols = UNICODE,
) -> Iterator[Line]:
    """Yields the summary: what was played, the tables, what to beware of, time and requests.

    Args:
        report: The run.
        comparison: Of its variants; tells how small a difference could have been found.
        width: Columns of the terminal; tables that are too wide are turned.
        verbosity: From 1 on with a table per task and how to read it.
        symbols: What the terminal can print.
    """
    yield from _setup_lines(report, width, symbols)
    yield from wrapped(_detectable(comparison), width)
    summaries = report.by_variant()
    if summaries:
        yield Line("")
        yield from _table((*summaries, *report.by_reference()), width, symbols)
    for task in report.tasks if verbosity > 0 else ():
        yield Line("")
        yield Line(f"task {task}", {"bold": True})
        summaries_of_task = (*report.by_variant(task), *report.by_reference(task))
        yield from _table(summaries_of_task, width, symbols)
    yield Line("")
    yield from wrapped(_warnings(summaries, report.setup.on_error), width, WARNING_STYLE)
    yield from wrapped(_notes(summaries), width)
    if verbosity > 0:
        yield from wrapped([_how_to_read(symbols)], width)
    yield from wrapped(_progress(report), width, WARNING_STYLE)
    yield from wrapped([_effort(report, symbols)], width)


def _setup_lines(report: RunReport, width: int, symbols: Symbols) -> Iterator[Line]:
    setup = report.setup
    if setup.offline:
        yield from wrapped([f"model: {setup.model_label} ({OFFLINE_NOTE})"], width, {"cyan": True})
    else:
        yield from wrapped([f"model: {setup.model_label}"], width)
    seeds = format_seeds(report.seeds, symbols)
    parts = (f"seeds: {seeds}", f"environment: {setup.environment}", f"gate: {setup.gate}")
    yield from wrapped([f" {symbols.dot} ".join(parts)], width)


def _detectable(comparison: Comparison | None) -> Iterator[str]:
    found = comparison.detectable() if comparison else None
    if comparison is None or found is None:
        return
    metric, num_variants = METRICS[comparison.primary], len(comparison.variants)
    unit = " points" if metric.scale != 1 else ""
    corrected = f", Holm over {num_variants} variants" if num_variants > 1 else ""
    size = f"{found * metric.scale:.{metric.decimals}f}{unit}"
    yield f"detectable difference in {metric.label}: {size} (80 % power{corrected})"


def _table(summaries: Sequence[VariantSummary], width: int, symbols: Symbols) -> Iterator[Line]:
    with_errors = any(summary.failures for summary in summaries)
    headers, *rows = zip(*(_columns(summaries, symbols, with_errors=with_errors)), strict=True)
    for line in table_lines(headers, rows, width=width, ellipsis=symbols.ellipsis):
        yield Line(line)


def _columns(
    summaries: Sequence[VariantSummary], symbols: Symbols, *, with_errors: bool
) -> Iterator[list[str]]:
    yield ["variant", *(summary.variant for summary in summaries)]
    yield ["episodes", *(f"{summary.num_episodes:,}" for summary in summaries)]
    yield ["errors", *(f"{summary.num_errors:,}" for summary in summaries)]
    yield ["success", *(format_estimate(summary.success, RATE, symbols) for summary in summaries)]
    yield ["95 % interval", *(_interval(each, "success", RATE, symbols) for each in summaries)]
    if with_errors:
        rates = [summary.success_if_errors_failed for summary in summaries]
        yield ["errors as failures", *(format_number(rate, RATE, symbols) for rate in rates)]
    for name, number_format, estimates in (
        ("progression", SCORE, [summary.progression for summary in summaries]),
        ("return", SCORE, [summary.episode_return for summary in summaries]),
        ("efficiency", SCORE, [summary.efficiency for summary in summaries]),
        ("steps", COUNT, [summary.steps for summary in summaries]),
        ("input tokens", TOKENS, [summary.input_tokens for summary in summaries]),
        ("output tokens", TOKENS, [summary.output_tokens for summary in summaries]),
    ):
        yield [name, *(format_estimate(each, number_format, symbols) for each in estimates)]
        if name == "return":
            yield ["95 % interval", *(_interval(each, name, SCORE, symbols) for each in summaries)]
    num_repeats = min((each.num_repeats for each in summaries if each.num_repeats > 1), default=1)
    if num_repeats > 1:
        for title, estimates in (
            (f"pass@{num_repeats}", [_pass(each, num_repeats) for each in summaries]),
            (f"pass^{num_repeats}", [_pass(each, num_repeats, hat=True) for each in summaries]),
        ):
            yield [title, *(format_estimate(each, RATE, symbols) for each in estimates)]
    if any(summary.num_cached for summary in summaries):
        yield ["cached answers", *(f"{summary.num_cached:,}" for summary in summaries)]
    costs = [summary.cost for summary in summaries]
    if any(cost is not None for cost in costs):
        yield ["cost", *(format_cost(cost, symbols) for cost in costs)]


def _interval(
    summary: VariantSummary, metric: str, number_format: NumberFormat, symbols: Symbols
) -> str:
    found = summary.interval(metric)
    if found is None:
        return symbols.dash
    ends = (end * number_format.scale for end in (found.low, found.high))
    low, high = (f"{end:,.{number_format.decimals}f}" for end in ends)
    return f"[{low}, {high}]"


def _pass(summary: VariantSummary, k: int, *, hat: bool = False) -> Estimate:
    if summary.num_repeats < k:
        return Estimate(None, None, 0)
    return summary.pass_hat(k) if hat else summary.pass_at(k)


def _warnings(summaries: Sequence[VariantSummary], on_error: str) -> Iterator[str]:
    num_fallbacks = sum(summary.num_fallbacks for summary in summaries)
    if num_fallbacks:
        episodes = count_of(sum(each.num_fallback_episodes for each in summaries), "episode")
        yield (
            f"WARNING: random actions stood in for failed requests on "
            f"{count_of(num_fallbacks, 'step')} of {episodes} (--babyai-on-error={on_error}); "
            f"these means are not the model's alone: "
            + _by_variant((each.variant, each.num_fallbacks) for each in summaries)
        )


def _notes(summaries: Sequence[VariantSummary]) -> Iterator[str]:
    if any(summary.failures for summary in summaries):
        yield (
            "Errors are in no mean; 'errors as failures' is the success rate if every error "
            "counted as a failure."
        )
    num_cached = sum(summary.num_cached for summary in summaries)
    if num_cached:
        yield (
            f"{count_of(num_cached, 'answer')} came from the cache: at no cost, with the tokens "
            "that they once took."
        )
    num_invalid = sum(summary.num_invalid for summary in summaries)
    if num_invalid:
        answers = count_of(num_invalid, "answer")
        counts = _by_variant((summary.variant, summary.num_invalid) for summary in summaries)
        yield f"{answers} without a valid action became 'go forward': {counts}"


def _by_variant(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{variant} {number:,}" for variant, number in counts if number)


def _how_to_read(symbols: Symbols) -> str:
    return (
        f"Mean {symbols.plus_minus} SEM (n-1) over episodes. Episodes of one seed share their "
        "layout, so the SEM is too small to judge by; the 95 % intervals are clustered by seed."
    )


def _progress(report: RunReport) -> Iterator[str]:
    num_played = len(report.episodes)
    if report.interrupted or num_played < report.num_selected:
        state = "Interrupted: " if report.interrupted else ""
        yield f"{state}{num_played:,} of {count_of(report.num_selected, 'episode')} played."


def _effort(report: RunReport, symbols: Symbols) -> str:
    parts = [
        f"{count_of(len(report.episodes), 'episode')} in {format_duration(report.wall_time_s)}",
        count_of(report.num_requests, "request"),
    ]
    if report.wall_time_s > 0:
        rate = report.num_requests / report.wall_time_s
        parts.append(f"{format_number(rate, TOKENS if rate >= 100 else COUNT)} requests/s")  # noqa: PLR2004
    costs = [summary.cost for summary in report.by_variant()]
    total = sum(cost for cost in costs if cost is not None)
    if total > 0 and None not in costs:
        parts.append(format_cost(total, symbols))
    return f" {symbols.dot} ".join(parts)


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
