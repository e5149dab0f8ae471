"""Colors of charts: for pages, which choose them by style sheet, and for pictures on white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pytest_babyai.gate import Verdict

NUM_SERIES_COLORS: Final = 8


@dataclass(frozen=True, slots=True)
class ChartTheme:
    """The colors of charts; CSS variables let one picture serve light and dark pages.

    Attributes:
        ink: Text and error bars.
        muted: Names of axes.
        line: Grid and zero lines.
        background: Behind the chart.
        series: Colors of variants, by position, taken again from the start when there are more.
        verdicts: Colors of differences.
    """

    ink: str
    muted: str
    line: str
    background: str
    series: tuple[str, ...]
    verdicts: dict[Verdict, str]


PAGE_THEME: Final = ChartTheme(
    ink="var(--ink)",
    muted="var(--muted)",
    line="var(--line)",
    background="transparent",
    series=tuple(f"var(--series-{number})" for number in range(NUM_SERIES_COLORS)),
    verdicts={verdict: f"var(--{verdict.value})" for verdict in Verdict},
)
"""For the HTML report, whose style sheet gives the variables their values."""

PRINT_THEME: Final = ChartTheme(
    ink="#1b2330",
    muted="#5b6675",
    line="#d9dee6",
    background="#ffffff",
    series=(
        *("#3b6fd4", "#d9772b", "#1c8f78", "#8a57c9"),
        *("#c2417f", "#7d7a1f", "#2889ad", "#8c5a3c"),
    ),
    verdicts={
        Verdict.BETTER: "#17794b",
        Verdict.WORSE: "#c02f38",
        Verdict.TIED: "#5b6675",
        Verdict.UNDECIDED: "#5b6675",
    },
)
"""For pictures that stand alone: dark on white."""
