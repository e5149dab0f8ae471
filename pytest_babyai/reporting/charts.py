"""Charts by altair: mean and SEM per variant, and differences from a reference as a forest plot.

A chart is a row per variant, its value written beside it, so that it can be read without a legend
and without telling colors apart. Altair and vl-convert, which turns charts into pictures without a
browser, are imported by the first chart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.chart_themes import PRINT_THEME
from pytest_babyai.reporting.measures import MEASURES, difference_text
from pytest_babyai.reporting.numbers import format_estimate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import altair as alt

    from pytest_babyai.gate import Comparison, VariantComparison
    from pytest_babyai.reporting.chart_themes import ChartTheme
    from pytest_babyai.reporting.measures import Measure
    from pytest_babyai.reporting.results import RunReport, VariantSummary

CHART_FORMATS: Final = ("svg", "png")

_WIDTH: Final = 370
_FOREST_WIDTH: Final = 680
_ROW_HEIGHT: Final = 30
_LABEL_WIDTH: Final = 146
_CHARACTER_WIDTH: Final = 6.9
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_LARGE: Final = 1000
_PNG_SCALE: Final = 2.0


def measure_chart(
    summaries: Sequence[VariantSummary],
    measure: Measure,
    *,
    variants: Sequence[str],
    largest: float | None = None,
    theme: ChartTheme = PRINT_THEME,
) -> alt.LayerChart:
    """Returns a chart of one measure: a bar of the mean and a line of ± SEM per variant.

    Args:
        summaries: One per variant, in the order of the rows.
        measure: What is drawn.
        variants: All variants of the run; the position among them decides the color.
        largest: End of the scale, for charts that are to be compared; None for the chart's own.
        theme: The colors.

    Raises:
        SettingsError: Altair is not installed.
    """
    alt = import_altair()
    end = largest or largest_value(summaries, measure) or 1.0
    rows = [_row(each, measure) for each in summaries]
    base = alt.Chart(alt.Data(values=rows)).encode(y=_names_axis(alt))
    color = alt.Color("variant:N", legend=None, scale=_color_scale(alt, variants, theme))
    bars = base.mark_bar(cornerRadiusEnd=3, height={"band": 0.62}).encode(
        x=_values_axis(alt, [0.0, end * _room_for_labels(rows)], end, measure),
        color=color,
        description="description:N",
    )
    spread = base.mark_rule(color=theme.ink, strokeWidth=1.5, aria=False).encode(
        x="low:Q", x2="high:Q"
    )
    labels = base.mark_text(align="left", dx=6, color=theme.ink, fontSize=12, aria=False).encode(
        x="end:Q", text="label:N"
    )
    return _styled(alt, bars + spread + labels, theme)


def forest_chart(
    comparison: Comparison, measure: Measure, *, theme: ChartTheme = PRINT_THEME
) -> alt.LayerChart:
    """Returns a forest plot: per variant the paired difference, its interval and its verdict.

    Raises:
        SettingsError: Altair is not installed.
    """
    alt = import_altair()
    rows = [_difference_row(comparison, each, measure) for each in comparison.variants]
    end = (
        max((abs(row[at] or 0.0) for row in rows for at in ("low", "mean", "high")), default=0)
        or 1.0
    )
    base = alt.Chart(alt.Data(values=rows)).encode(y=_names_axis(alt))
    color = alt.Color(
        "verdict:N",
        legend=None,
        scale=alt.Scale(
            domain=[verdict.value for verdict in theme.verdicts],
            range=list(theme.verdicts.values()),
        ),
    )
    axis = _values_axis(alt, [-end * 1.05, end * 2.4], end, measure)
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(
        color=theme.muted, strokeDash=[4, 3], aria=False
    )
    intervals = base.mark_rule(strokeWidth=2, aria=False).encode(x=axis, x2="high:Q", color=color)
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x="mean:Q", color=color, description="description:N"
    )
    labels = base.mark_text(align="left", dx=10, fontSize=12, aria=False).encode(
        x=alt.datum(end * 1.05), text="label:N", color=color
    )
    return _styled(alt, zero.encode(x="zero:Q") + intervals + dots + labels, theme, _FOREST_WIDTH)


def chart_svg(chart: alt.LayerChart) -> str:
    """Returns a chart as the text of an SVG element.

    Raises:
        SettingsError: vl-convert is not installed.
    """
    return chart_picture(chart, "svg").decode()


def write_charts(
    directory: Path,
    report: RunReport,
    *,
    comparison: Comparison | None = None,
    formats: Sequence[str] = CHART_FORMATS,
) -> list[Path]:
    """Writes the charts of a run as pictures, made to stand alone on white.

    Args:
        directory: Made if it is not there; files of the same name are overwritten.
        report: The run.
        comparison: Adds a forest plot per measure.
        formats: Of `CHART_FORMATS`.

    Returns:
        The files: ``success.svg``, ``success.png``, ..., ``difference-success.svg``, ...

    Raises:
        SettingsError: A library is missing, or the directory cannot be written.
    """
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, chart in _charts(report, comparison):
            for picture_format in formats:
                path = directory / f"{name}.{picture_format}"
                path.write_bytes(chart_picture(chart, picture_format))
                written.append(path)
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"{error.filename or directory}: {reason}") from None
    return written


def largest_value(summaries: Sequence[VariantSummary], measure: Measure) -> float | None:
    """Returns where the scale of a measure has to end to show mean + SEM of all summaries."""
    estimates = [measure.estimate(summary) for summary in summaries]
    tops = [each.mean + (each.sem or 0.0) for each in estimates if each.mean is not None]
    return max(tops, default=0.0) or None


def _charts(
    report: RunReport, comparison: Comparison | None
) -> Iterator[tuple[str, alt.LayerChart]]:
    for measure in MEASURES:
        chart = measure_chart(report.by_variant(), measure, variants=report.variants)
        yield measure.name, chart.properties(title=measure.title)
    if comparison is not None and comparison.variants:
        for measure in MEASURES:
            title = f"{measure.title}: difference from {comparison.label}"
            chart = forest_chart(comparison, measure)
            yield f"difference-{measure.name}", chart.properties(title=title)


def _row(summary: VariantSummary, measure: Measure) -> dict[str, Any]:
    found = measure.estimate(summary)
    end = (found.mean or 0.0) + (found.sem or 0.0)
    has_spread = found.mean is not None and found.sem is not None
    label = format_estimate(found, measure.number_format)
    name = measure.title.lower()
    return {
        "variant": summary.variant,
        "mean": found.mean,
        "low": max(0.0, 2 * (found.mean or 0.0) - end) if has_spread else None,
        "high": end if has_spread else None,
        "end": end,
        "label": label,
        "description": f"{summary.variant}: {name} {label} (n = {found.n})",
    }


def _room_for_labels(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns how many times longer than its largest value an axis is to be."""
    plot = _WIDTH - _LABEL_WIDTH
    longest = max((len(row["label"]) for row in rows), default=0)
    return plot / max(plot / 4, plot - 8 - longest * _CHARACTER_WIDTH)


def _difference_row(
    comparison: Comparison, variant: VariantComparison, measure: Measure
) -> dict[str, Any]:
    found = variant.metrics[measure.name]
    interval = found.difference.interval
    text = difference_text(found, measure)
    return {
        "variant": variant.variant,
        "mean": found.difference.mean,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
        "label": f"{text}  {found.verdict.value}",
        "verdict": found.verdict.value,
        "description": (
            f"{variant.variant} against {comparison.label}: {measure.title.lower()} {text}, "
            f"{found.verdict.value} ({variant.num_pairs} pairs, {variant.num_seeds} seeds)"
        ),
    }


def _names_axis(alt: Any) -> Any:
    plain = {"title": None, "ticks": False, "domain": False}
    axis = alt.Axis(**plain, labelLimit=_LABEL_WIDTH, labelPadding=8, minExtent=_LABEL_WIDTH)
    return alt.Y("variant:N", sort=None, axis=axis)


def _values_axis(alt: Any, domain: list[float], end: float, measure: Measure) -> Any:
    is_share = measure.number_format.scale != 1
    written = ".0%" if is_share else "~g" if end < _LARGE else "~s"
    axis = alt.Axis(
        title=None,
        values=_ticks(domain[0], end),
        ticks=False,
        domain=False,
        labelExpr=f"datum.value === 0 ? '0' : format(datum.value, '{written}')",
    )
    field = "mean:Q" if domain[0] == 0 else "low:Q"
    return alt.X(field, scale=alt.Scale(domain=domain, nice=False), axis=axis)


def _ticks(start: float, end: float) -> list[float]:
    """Returns round numbers between the ends, 0 among them: two to five on either side."""
    power = 10.0 ** math.floor(math.log10(end))
    width = next(power * share for share in (2, 1, 0.5) if end >= 2 * power * share)
    first, last = -int(-start / width) if start < 0 else 0, int(end / width + 1e-9)
    return [number * width for number in range(first, last + 1)]


def _color_scale(alt: Any, variants: Sequence[str], theme: ChartTheme) -> Any:
    colors = [theme.series[number % len(theme.series)] for number in range(len(variants))]
    return alt.Scale(domain=list(variants), range=colors)


def _styled(altair: Any, chart: Any, theme: ChartTheme, width: int = _WIDTH) -> alt.LayerChart:
    styled: alt.LayerChart = (
        chart.properties(width=width - _LABEL_WIDTH, height=altair.Step(_ROW_HEIGHT))
        .configure(font=_FONT, background=theme.background, padding=2)
        .configure_axis(
            labelColor=theme.ink, labelFontSize=12, gridColor=theme.line, gridOpacity=0.8
        )
        .configure_axisX(labelColor=theme.muted, labelFontSize=11)
        .configure_title(color=theme.ink, fontSize=14, anchor="start", offset=10)
        .configure_view(stroke=None)
    )
    return styled


def import_altair() -> Any:
    """Imports Altair.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        import altair as alt
    except ImportError:
        raise _missing("altair") from None
    return alt


def chart_picture(chart: Any, picture_format: str) -> bytes:
    """Returns a chart as a picture.

    Args:
        chart: The chart.
        picture_format: ``svg`` or ``png``.

    Raises:
        SettingsError: vl-convert is not installed.
    """
    try:
        import altair as alt
        import vl_convert
    except ImportError:
        raise _missing("vl-convert-python") from None
    # Validating a chart takes as long as drawing it, and these are not the user's.
    content = chart.to_dict(validate=False)
    version = ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
    if picture_format == "png":
        return bytes(vl_convert.vegalite_to_png(content, vl_version=version, scale=_PNG_SCALE))
    return str(vl_convert.vegalite_to_svg(content, vl_version=version)).encode()


def _missing(distribution: str) -> SettingsError:
    return SettingsError(
        f"charts need {distribution}, which is not installed: pip install 'pytest-babyai[report]'"
    )
