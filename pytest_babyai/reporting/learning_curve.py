"""The course of a training: loss by step, validation by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.chart_themes import PRINT_THEME
from pytest_babyai.reporting.charts import chart_picture, import_altair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WIDTH: Final = 460
_HEIGHT: Final = 200
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


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


def write_learning_curve(path: Path, curve: LearningCurve) -> None:
    """Draws a learning curve, as SVG or PNG by the path's ending.

    Raises:
        SettingsError: Another ending, a library is missing, or the file cannot be written.
    """
    picture_format = path.suffix.removeprefix(".").lower()
    if picture_format not in {"svg", "png"}:
        raise SettingsError(f"{path}: expected a name that ends in .svg or .png")
    content = chart_picture(_chart(curve), picture_format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


def _chart(curve: LearningCurve) -> Any:
    alt = import_altair()
    losses = [
        {"step": step, "value": value, "of": name}
        for name, points in (("training", curve.train_loss), ("validation", curve.valid_loss))
        for step, value in points
    ]
    accuracies = [
        {"step": step, "value": value, "of": "validation"}
        for step, value in curve.valid_action_accuracy
    ]
    panels = alt.hconcat(
        _panel(
            alt,
            losses,
            "Loss",
            alt.Y("value:Q", title="loss per token (nats)", scale=alt.Scale(type="log")),
        ),
        _panel(
            alt,
            accuracies,
            "Action accuracy",
            alt.Y(
                "value:Q",
                title="share of right actions",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(format="%"),
            ),
        ),
    )
    return (
        panels.properties(title=curve.title)
        .configure(font=_FONT, background=PRINT_THEME.background, padding=8)
        .configure_axis(labelColor=PRINT_THEME.ink, gridColor=PRINT_THEME.line)
        .configure_view(stroke=None)
    )


def _panel(alt: Any, rows: list[dict[str, Any]], title: str, value: Any) -> Any:
    color = alt.Color(
        "of:N",
        title=None,
        scale=alt.Scale(domain=["training", "validation"], range=list(PRINT_THEME.series[:2])),
        legend=alt.Legend(orient="top"),
    )
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point={"size": 18}, strokeWidth=1.5)
        .encode(x=alt.X("step:Q", title="training step"), y=value, color=color)
        .properties(width=_WIDTH, height=_HEIGHT, title=title)
    )
