"""Numbers as text: mean ± SEM, counts, seeds and durations; undefined is a dash."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_babyai.statistics import Estimate

_MAX_SPANS = 6
_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Symbols:
    """The few characters that not every terminal can print."""

    plus_minus: str
    dash: str
    arrow: str
    ellipsis: str
    dot: str


UNICODE = Symbols("±", "–", "→", "…", "·")  # noqa: RUF001 -- an en dash is meant
ASCII = Symbols("+/-", "-", "->", "...", "|")


def symbols_for(encoding: str | None) -> Symbols:
    """Returns the symbols that a stream of this encoding can print.

    Args:
        encoding: As in ``sys.stdout.encoding``; None and unknown ones get ASCII.
    """
    try:
        "".join(dataclasses.astuple(UNICODE)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the numbers of one column are written.

    Attributes:
        decimals: Digits after the point; more where the SEM would read as 0.
        scale: Factor before writing, 100 for percentages.
        unit: Text after the number.
    """

    decimals: int
    scale: float = 1.0
    unit: str = ""


RATE = NumberFormat(1, 100.0, " %")
SCORE = NumberFormat(2)
COUNT = NumberFormat(1)
TOKENS = NumberFormat(0)


def format_estimate(
    estimate: Estimate, number_format: NumberFormat, symbols: Symbols = UNICODE
) -> str:
    """Writes mean ± SEM, such as ``0.62 ± 0.05``; a single value reads ``0.62 ± –``."""  # noqa: RUF002
    if estimate.mean is None:
        return symbols.dash
    if estimate.sem is None:
        number = format_number(estimate.mean, number_format, symbols)
        return f"{number.removesuffix(number_format.unit)} {symbols.plus_minus} {symbols.dash}"
    spread = estimate.sem * number_format.scale
    decimals = _decimals_for(spread, number_format.decimals)
    center = _fixed(estimate.mean * number_format.scale, decimals)
    return f"{center} {symbols.plus_minus} {_fixed(spread, decimals)}{number_format.unit}"


def format_number(
    value: float | None, number_format: NumberFormat, symbols: Symbols = UNICODE
) -> str:
    """Writes one number, such as ``62.0 %``; None is a dash."""
    if value is None:
        return symbols.dash
    return _fixed(value * number_format.scale, number_format.decimals) + number_format.unit


def count_of(number: int, singular: str, plural: str | None = None) -> str:
    """Writes a count with its noun: ``1 episode``, ``1,234 episodes``."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}"


def format_seeds(seeds: Iterable[int], symbols: Symbols = UNICODE) -> str:
    """Writes seeds as spans, such as ``200–219, 300``; many spans end in their number."""  # noqa: RUF002
    ordered = sorted(set(seeds))
    if not ordered:
        return symbols.dash
    groups = itertools.groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    spans = [[seed for _, seed in group] for _, group in groups]
    texts = [
        str(span[0]) if len(span) == 1 else f"{span[0]}{symbols.dash}{span[-1]}" for span in spans
    ]
    if len(texts) <= _MAX_SPANS:
        return ", ".join(texts)
    shown = ", ".join(texts[: _MAX_SPANS - 1])
    return f"{shown}, {symbols.ellipsis} {texts[-1]} ({len(ordered)} seeds)"


def format_cost(cost: float | None, symbols: Symbols = UNICODE) -> str:
    """Writes US dollars: ``$12.34``, ``$0.0012``, a dash where unknown."""
    if cost is None:
        return symbols.dash
    return f"${cost:,.2f}" if cost >= 1 or not cost else f"${cost:.4f}"


def format_duration(seconds: float) -> str:
    """Writes a duration: ``8.2 s``, ``2 min 05 s``, ``1 h 03 min``."""
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    minutes = round(seconds / _MINUTE_S)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _decimals_for(spread: float, decimals: int) -> int:
    for more in range(decimals, decimals + 3):
        if round(spread, more) > 0:
            return more
    return decimals


def _fixed(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0 turns -0.0 into 0.0
