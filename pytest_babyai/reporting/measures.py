"""What reports call the numbers of an episode, and how they write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.reporting.numbers import COUNT, DASH, RATE, SCORE, TOKENS, NumberFormat

if TYPE_CHECKING:
    from pytest_babyai.reporting.results import VariantSummary
    from pytest_babyai.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that every episode has.

    Attributes:
        name: As gates and comparisons call it, a name of `pytest_babyai.gate.METRICS`.
        short: In the rows of a table, ``input tokens``.
        title: Above a chart.
        number_format: How its values are written.
        lower_is_better: True for steps, tokens, cost and errors.
        is_drawn: Whether it has a chart.
        attribute: Name of its `Estimate` in a `VariantSummary`, empty where it has none.
    """

    name: str
    short: str
    title: str
    number_format: NumberFormat
    lower_is_better: bool = False
    is_drawn: bool = True
    attribute: str = ""

    @property
    def direction(self) -> str:
        """Which end of the scale is the good one."""
        return "lower is better" if self.lower_is_better else "higher is better"

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1, and is written in percent."""
        return self.number_format is RATE

    @property
    def difference_title(self) -> str:
        """Names a column of differences: ``success %``."""
        unit = "%" if self.is_share else "$" if self.name == "cost" else ""
        return f"{self.short} {unit}".strip()

    def estimate(self, summary: VariantSummary) -> Estimate:
        """Returns mean and SEM over the episodes of a variant."""
        found: Estimate = getattr(summary, self.attribute or self.name)
        return found


ALL_MEASURES: Final = {
    each.name: each
    for each in (
        Measure("success", "success", "Success rate", RATE),
        Measure("progression", "progression", "Progression", SCORE, is_drawn=False),
        Measure("return", "return", "Episode return", SCORE, attribute="episode_return"),
        Measure("efficiency", "efficiency", "Efficiency (SPL)", SCORE, is_drawn=False),
        Measure("steps", "steps", "Steps per episode", COUNT, lower_is_better=True),
        Measure("input_tokens", "input tokens", "Input tokens per episode", TOKENS, True),
        Measure("output_tokens", "output tokens", "Output tokens per episode", TOKENS, True),
        Measure("cost", "cost", "Cost per episode", NumberFormat(4), True, False),
        Measure("errors", "errors", "Errors", RATE, True, False),
    )
}
"""By name."""

MEASURES: Final = tuple(each for each in ALL_MEASURES.values() if each.is_drawn)
"""In the order in which they are drawn."""

TABLE_ORDER: Final = (
    "success", "progression", "return", "efficiency", "steps", "input_tokens", "output_tokens",
)  # fmt: skip
"""Rows of the table in the terminal."""

WITH_INTERVAL: Final = ("success", "return")
"""Rows under which the interval clustered by seed stands."""


def interval_text(summary: VariantSummary, measure: Measure) -> str:
    """Writes the 95 % interval of a mean, clustered by seed: ``[35.2, 62.9]``, or a dash."""
    found = summary.interval(measure.name)
    if found is None:
        return DASH
    written = measure.number_format
    low, high = (f"{end * written.scale:,.{written.decimals}f}" for end in (found.low, found.high))
    return f"[{low}, {high}]"
