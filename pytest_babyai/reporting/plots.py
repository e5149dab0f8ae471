"""Charts of the HTML report as plain numbers: a template makes SVG of them.

Places along an axis are percentages of its width, so that a chart fits any page and its texts keep
their size.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.reporting.numbers import (
    count_of,
    format_cost,
    format_duration,
    format_estimate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.reporting.measures import Measure
    from pytest_babyai.reporting.results import RunReport, VariantSummary
    from pytest_babyai.reporting.summary import Compared

NUM_SERIES_COLORS: Final = 8
_MAX_POINTS: Final = 300
_THOUSAND: Final = 1000
_ROOM: Final = 1.02
_QUARTERS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)


def bar_chart(
    summaries: Sequence[VariantSummary],
    measure: Measure,
    variants: Sequence[str],
    *,
    largest: float | None = None,
) -> dict[str, Any]:
    """Returns a chart of one measure: a bar of the mean and a line of ± SEM per variant.

    Args:
        summaries: One per variant, in the order of the rows.
        measure: What is drawn; shares are drawn from 0 to 100 %.
        variants: All variants of the run; the position among them decides the color.
        largest: End of the scale, for charts that are to be compared; None for the chart's own.
    """
    end = 1.0 if measure.is_share else (largest or largest_value(summaries, measure)) or 1.0
    scale = 100 / (end if measure.is_share else end * _ROOM)
    rows = []
    for summary in summaries:
        found = measure.estimate(summary)
        mean, sem = found.mean or 0.0, found.sem or 0.0
        text = format_estimate(found, measure.number_format)
        rows.append(
            {
                "name": summary.variant,
                "series": variants.index(summary.variant) % NUM_SERIES_COLORS,
                "width": mean * scale,
                "low": max(0.0, mean - sem) * scale,
                "high": min(100.0, (mean + sem) * scale),
                "has_spread": found.sem is not None,
                "verdict": "",
                "text": text,
                "label": f"{summary.variant}: {measure.title.lower()} {text} (n = {found.n})",
            }
        )
    return {
        "name": measure.name,
        "title": measure.title,
        "direction": measure.direction,
        "rows": rows,
        "ticks": [
            _tick(at, at * scale, measure)
            for at in (_QUARTERS if measure.is_share else ticks(0.0, end))
        ],
    }


def forest_chart(comparison: Compared, measure: Measure) -> dict[str, Any]:
    """Returns a forest plot: per variant the paired difference, its interval and its verdict."""
    found = [(each, each.differences[measure.name]) for each in comparison.variants]
    ends = [abs(at or 0.0) for _, each in found for at in (each.low, each.mean, each.high)]
    end = max(ends, default=0.0) or 1.0
    scale = 50 / (end * _ROOM)

    def place(value: float | None) -> float | None:
        return None if value is None else 50 + value * scale

    rows = [
        {
            "name": variant.variant,
            "at": place(each.mean),
            "low": place(each.low),
            "high": place(each.high),
            "verdict": each.verdict,
            "text": each.text,
            "label": (
                f"{variant.variant} against {comparison.label}: {measure.title.lower()} "
                f"{each.text} ({count_of(variant.num_pairs, 'pair')}, "
                f"{count_of(variant.num_seeds, 'seed')})"
            ),
        }
        for variant, each in found
    ]
    return {
        "name": f"difference-{measure.name}",
        "title": measure.title.removesuffix(" per episode"),
        "direction": measure.direction,
        "rows": rows,
        "ticks": [_tick(at, 50 + at * scale, measure) for at in ticks(-end, end)],
    }


def course_charts(report: RunReport) -> list[dict[str, Any]]:
    """Returns how the run went on: episodes over time, and cost where all prices are known."""
    ends = sorted(
        (each.outcome.started_at_s + each.outcome.duration_s, each.outcome.usage.cost)
        for each in report.episodes
    )
    if len(ends) < 2:  # noqa: PLR2004 - a line needs two points
        return []
    start_s = min(each.outcome.started_at_s for each in report.episodes)
    span_s = ends[-1][0] - start_s
    times = [end_s - start_s for end_s, _ in ends]
    charts = [
        _course("Episodes over time", times, list(range(1, len(ends) + 1)), span_s, "episodes")
    ]
    charts[0]["top"] = f"{len(ends):,}"
    totals = list(itertools.accumulate(cost for _, cost in ends if cost is not None))
    if len(totals) == len(ends) and totals[-1]:
        charts.append(_course("Cost over time", times, totals, span_s, "US dollars"))
        charts[1]["top"] = format_cost(totals[-1])
    return charts


def _course(
    title: str, times: Sequence[float], values: Sequence[float], span_s: float, unit: str
) -> dict[str, Any]:
    stride = max(1, len(times) // _MAX_POINTS)
    picked = [*range(0, len(times) - 1, stride), len(times) - 1]
    points = [
        f"{100 * times[at] / (span_s or 1):.2f},{100 - 100 * values[at] / values[-1]:.2f}"
        for at in picked
    ]
    return {
        "title": title,
        "unit": unit,
        "points": " ".join(["0,100", *points]),
        "span": format_duration(span_s),
        "label": f"{title}: {values[-1]:,.6g} {unit} after {format_duration(span_s)}",
    }


def largest_value(summaries: Sequence[VariantSummary], measure: Measure) -> float:
    """Returns where the scale of a measure has to end to show mean + SEM of all summaries."""
    estimates = [measure.estimate(summary) for summary in summaries]
    return max(
        (each.mean + (each.sem or 0.0) for each in estimates if each.mean is not None), default=0.0
    )


def ticks(start: float, end: float) -> list[float]:
    """Returns round numbers between the ends, 0 among them: two to five on either side."""
    power = 10.0 ** math.floor(math.log10(end))
    width = next(power * share for share in (2, 1, 0.5, 0.2) if end >= 2 * power * share)
    first, last = -int(-start / width) if start < 0 else 0, int(end / width + 1e-9)
    return [number * width for number in range(first, last + 1)]


def _tick(value: float, at: float, measure: Measure) -> dict[str, Any]:
    if measure.is_share:
        text = f"{100 * value:.0f} %"
    elif abs(value) >= _THOUSAND:
        text = f"{value / _THOUSAND:g}k"
    else:
        text = f"{value:g}" if value else "0"
    return {"at": at, "text": text}
