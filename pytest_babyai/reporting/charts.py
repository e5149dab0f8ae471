"""Pictures of charts by Altair, for ``--babyai-charts`` and the course of a training.

A chart is a row per variant, its value written beside it, so that it can be read without a legend
and without telling colors apart. Altair and vl-convert, which turns charts into pictures without a
browser, are imported by the first chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.measures import ALL_MEASURES, MEASURES
from pytest_babyai.reporting.plots import bar_chart, forest_chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.reporting.summary import Summary

CHART_FORMATS: Final = ("svg", "png")

_INK: Final = "#1b2330"
_LINE: Final = "#d9dee6"
_BACKGROUND: Final = "#ffffff"
_SERIES: Final = (
    *("#3b6fd4", "#d9772b", "#1c8f78", "#8a57c9"),
    *("#c2417f", "#7d7a1f", "#2889ad", "#8c5a3c"),
)
_VERDICTS: Final = {
    "better": "#17794b",
    "worse": "#c02f38",
    "tied": "#5b6675",
    "undecided": "#5b6675",
}
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_WIDTH: Final = 460
_ROW_HEIGHT: Final = 30
_LABEL_ROOM: Final = 60.0
_PNG_SCALE: Final = 2.0


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """What a training measured.

    Attributes:
        title: Names it.
        train_loss: Step and mean loss of an answer's token, in nats.
        valid_loss: The same on what it does not learn from.
        valid_action_accuracy: Step and share of the answers that name the right action.
    """

    title: str
    train_loss: Sequence[tuple[int, float]]
    valid_loss: Sequence[tuple[int, float]]
    valid_action_accuracy: Sequence[tuple[int, float]]


def write_charts(
    directory: Path, summary: Summary, *, formats: Sequence[str] = CHART_FORMATS
) -> list[Path]:
    """Writes the charts of a run as pictures, made to stand alone on white.

    Args:
        directory: Made if it is not there; files of the same name are overwritten.
        summary: The run; its first comparison adds a forest plot per measure.
        formats: Of `CHART_FORMATS`.

    Returns:
        The files: ``success.svg``, ``success.png``, ..., ``difference-success.svg``, ...

    Raises:
        SettingsError: A library is missing, or the directory cannot be written.
    """
    written: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, chart in _charts(summary):
            for picture_format in formats:
                path = directory / f"{name}.{picture_format}"
                path.write_bytes(_picture(chart, picture_format))
                written.append(path)
    except OSError as error:
        raise _not_written(directory, error) from None
    return written


def write_learning_curve(path: Path, curve: LearningCurve) -> None:
    """Draws a learning curve, as SVG or PNG by the path's ending.

    Raises:
        SettingsError: Another ending, a library is missing, or the file cannot be written.
    """
    picture_format = path.suffix.removeprefix(".").lower()
    if picture_format not in CHART_FORMATS:
        raise SettingsError(f"{path}: expected a name that ends in .svg or .png")
    content = _picture(_learning_chart(curve), picture_format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise _not_written(path, error) from None


def _charts(summary: Summary) -> Iterator[tuple[str, Any]]:
    for measure in MEASURES if summary.variants else ():
        drawn = bar_chart(summary.variants, measure, summary.report.variants)
        colors = [_SERIES[row["series"]] for row in drawn["rows"]]
        yield measure.name, _chart(drawn, measure.title, colors, _bars)
    comparison = summary.comparisons[0] if summary.comparisons else None
    if comparison is None or not comparison.variants:
        return
    for measure in MEASURES:
        drawn = forest_chart(comparison, ALL_MEASURES[measure.name])
        colors = [_VERDICTS[row["verdict"]] for row in drawn["rows"]]
        title = f"{measure.title}: difference from {comparison.label}"
        yield drawn["name"], _chart(drawn, title, colors, _intervals)


def _chart(
    drawn: Mapping[str, Any],
    title: str,
    colors: Sequence[str],
    marks: Callable[[Any, Any, Any], Any],
) -> Any:
    alt = _import_altair()
    rows = [{**row, "color": color} for row, color in zip(drawn["rows"], colors, strict=True)]
    names = alt.Y("name:N", sort=None, axis=alt.Axis(title=None, ticks=False, domain=False))
    base = alt.Chart(alt.Data(values=rows)).encode(y=names)
    axis = alt.Axis(
        title=None,
        values=[tick["at"] for tick in drawn["ticks"]],
        labelExpr=_labels(drawn["ticks"]),
        ticks=False,
        domain=False,
    )
    scale = alt.Scale(domain=[0.0, 100.0 + _LABEL_ROOM], nice=False)
    layers = marks(alt, base, alt.X("low:Q", scale=scale, axis=axis))
    return (
        layers.properties(width=_WIDTH, height=alt.Step(_ROW_HEIGHT), title=title)
        .configure(font=_FONT, background=_BACKGROUND, padding=6)
        .configure_axis(labelColor=_INK, labelFontSize=12, gridColor=_LINE)
        .configure_title(color=_INK, fontSize=14, anchor="start", offset=10)
        .configure_view(stroke=None)
    )


def _labels(ticks: Sequence[Mapping[str, Any]]) -> str:
    cases = "".join(
        f"abs(datum.value - {tick['at']!r}) < 0.001 ? '{tick['text']}' : " for tick in ticks
    )
    return f"{cases}''"


def _color(alt: Any) -> Any:
    return alt.Color("color:N", legend=None, scale=None)


def _bars(alt: Any, base: Any, x: Any) -> Any:
    bars = base.transform_calculate(zero="0").mark_bar(height={"band": 0.62})
    bars = bars.encode(
        x="zero:Q",
        x2="width:Q",
        color=_color(alt),
        description="label:N",
    )
    spread = base.transform_filter("datum.has_spread").mark_rule(color=_INK, strokeWidth=1.5)
    texts = base.mark_text(align="left", dx=6, color=_INK, fontSize=12)
    # The layer that has the axis comes first: Vega takes it from there.
    return (
        spread.encode(x=x, x2="high:Q")
        + bars
        + spread.encode(x="low:Q", x2="high:Q")
        + texts.encode(x="high:Q", text="text:N")
    )


def _intervals(alt: Any, base: Any, x: Any) -> Any:
    intervals = base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q", color=_color(alt))
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x="at:Q", color=_color(alt), description="label:N"
    )
    texts = base.mark_text(align="left", dx=8, fontSize=12).encode(
        x=alt.datum(100), text="text:N", color=_color(alt)
    )
    return intervals + dots + texts


def _learning_chart(curve: LearningCurve) -> Any:
    alt = _import_altair()
    losses = [
        {"step": step, "value": value, "of": name}
        for name, points in (("training", curve.train_loss), ("validation", curve.valid_loss))
        for step, value in points
    ]
    accuracies = [
        {"step": step, "value": value, "of": "validation"}
        for step, value in curve.valid_action_accuracy
    ]
    loss = alt.Y("value:Q", title="loss per token (nats)", scale=alt.Scale(type="log"))
    accuracy = alt.Y(
        "value:Q",
        title="share of right actions",
        scale=alt.Scale(zero=False),
        axis=alt.Axis(format="%"),
    )
    panels = alt.hconcat(
        _panel(alt, losses, "Loss", loss), _panel(alt, accuracies, "Action accuracy", accuracy)
    )
    return (
        panels.properties(title=curve.title)
        .configure(font=_FONT, background=_BACKGROUND, padding=8)
        .configure_axis(labelColor=_INK, gridColor=_LINE)
        .configure_view(stroke=None)
    )


def _panel(alt: Any, rows: list[dict[str, Any]], title: str, value: Any) -> Any:
    color = alt.Color(
        "of:N",
        title=None,
        scale=alt.Scale(domain=["training", "validation"], range=list(_SERIES[:2])),
        legend=alt.Legend(orient="top"),
    )
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point={"size": 18}, strokeWidth=1.5)
        .encode(x=alt.X("step:Q", title="training step"), y=value, color=color)
        .properties(width=_WIDTH, height=200, title=title)
    )


def _import_altair() -> Any:
    try:
        import altair as alt
    except ImportError:
        raise _missing("altair") from None
    return alt


def _picture(chart: Any, picture_format: str) -> bytes:
    alt = _import_altair()
    try:
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


def _not_written(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{error.filename or path}: {error.strerror or error}")
