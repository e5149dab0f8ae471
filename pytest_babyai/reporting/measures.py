"""The five numbers that every report draws: what they are called and how they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.reporting.numbers import (
    COUNT,
    RATE,
    SCORE,
    TOKENS,
    UNICODE,
    NumberFormat,
    Symbols,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gate import MetricComparison
    from pytest_babyai.reporting.results import VariantSummary
    from pytest_babyai.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Measure:
    """A number that is drawn for every variant.

    Attributes:
        name: As gates and comparisons call it, a name of `pytest_babyai.gate.METRICS`.
        title: As readers call it.
        estimate: Finds mean and SEM in a summary.
        number_format: How its values are written.
        lower_is_better: True for steps and tokens.
    """

    name: str
    title: str
    estimate: Callable[[VariantSummary], Estimate]
    number_format: NumberFormat
    lower_is_better: bool = False

    @property
    def direction(self) -> str:
        """Says which end of the scale is the good one."""
        return "lower is better" if self.lower_is_better else "higher is better"

    @property
    def difference_format(self) -> NumberFormat:
        """How a difference of two values is written: shares differ by percentage points."""
        if self.number_format is RATE:
            return NumberFormat(RATE.decimals, RATE.scale, " pp")
        return self.number_format


MEASURES: Final = (
    Measure("success", "Success rate", lambda summary: summary.success, RATE),
    Measure("return", "Episode return", lambda summary: summary.episode_return, SCORE),
    Measure("steps", "Steps per episode", lambda summary: summary.steps, COUNT, True),
    Measure(
        "output_tokens",
        "Output tokens per episode",
        lambda summary: summary.output_tokens,
        TOKENS,
        True,
    ),
    Measure(
        "input_tokens",
        "Input tokens per episode",
        lambda summary: summary.input_tokens,
        TOKENS,
        True,
    ),
)
"""In the order in which they are drawn."""


def format_difference(
    value: float | None, number_format: NumberFormat, symbols: Symbols = UNICODE
) -> str:
    """Writes a difference with its sign, such as ``+12.0 pp``; None is a dash."""
    if value is None:
        return symbols.dash
    rounded = round(value * number_format.scale, number_format.decimals) + 0.0
    sign = "+" if rounded > 0 else ""
    return f"{sign}{rounded:,.{number_format.decimals}f}{number_format.unit}"


def difference_text(found: MetricComparison, measure: Measure) -> str:
    """Writes a difference with its interval: ``+12.0 pp [+4.0, +20.0]``."""
    written = measure.difference_format
    text = format_difference(found.difference.mean, written)
    interval = found.difference.interval
    if interval is None:
        return text
    low, high = (
        format_difference(end, written).removesuffix(written.unit)
        for end in (interval.low, interval.high)
    )
    return f"{text} [{low}, {high}]"
