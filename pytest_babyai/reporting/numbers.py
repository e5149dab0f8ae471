"""Numbers as text: mean ± SEM, counts, seeds, costs and durations; undefined is a dash.

Texts are written in Unicode throughout; `translated` puts them into what a terminal can print,
where lines are written.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_babyai.statistics import Estimate

DASH: Final = "–"  # noqa: RUF001 - an en dash is meant
_MAX_SPANS = 6
_MINUTE_S = 60
_HOUR_S = 3600
_CENT = 0.01


@dataclass(frozen=True, slots=True)
class Symbols:
    """The few characters that not every terminal can print."""

    plus_minus: str
    dash: str
    arrow: str
    ellipsis: str
    dot: str
    delta: str = "Δ"
    times: str = "×"  # noqa: RUF001 - a multiplication sign is meant


UNICODE = Symbols("±", DASH, "→", "…", "·")
ASCII = Symbols("+/-", "-", "->", "...", "|", "change in", "x")
_TRANSLATION: Final = str.maketrans(
    dict(zip(dataclasses.astuple(UNICODE), dataclasses.astuple(ASCII), strict=True))
)


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


def translated(text: str, symbols: Symbols) -> str:
    """Returns a text with the symbols of `UNICODE` replaced by those that can be printed."""
    return text if symbols is UNICODE else text.translate(_TRANSLATION)


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


def format_estimate(estimate: Estimate, number_format: NumberFormat) -> str:
    """Writes mean ± SEM, such as ``0.62 ± 0.05``; a single value reads ``0.62 ± –``."""  # noqa: RUF002
    if estimate.mean is None:
        return DASH
    if estimate.sem is None:
        number = format_number(estimate.mean, number_format)
        return f"{number.removesuffix(number_format.unit)} ± {DASH}"
    spread = estimate.sem * number_format.scale
    decimals = _decimals_for(spread, number_format.decimals)
    center = _fixed(estimate.mean * number_format.scale, decimals)
    return f"{center} ± {_fixed(spread, decimals)}{number_format.unit}"


def format_number(value: float | None, number_format: NumberFormat) -> str:
    """Writes one number, such as ``62.0 %``; None is a dash."""
    if value is None:
        return DASH
    return _fixed(value * number_format.scale, number_format.decimals) + number_format.unit


def format_signed(value: float | None, number_format: NumberFormat) -> str:
    """Writes a difference with its sign and without a unit, such as ``+12.0``; None is a dash."""
    if value is None:
        return DASH
    text = _fixed(value * number_format.scale, number_format.decimals)
    return text if text.startswith("-") or not float(text.replace(",", "")) else f"+{text}"


def count_of(number: int, singular: str, plural: str | None = None) -> str:
    """Writes a count with its noun: ``1 episode``, ``1,234 episodes``."""
    noun = singular if number == 1 else plural or f"{singular}s"
    return f"{number:,} {noun}"


def format_seeds(seeds: Iterable[int]) -> str:
    """Writes seeds as spans, such as ``200–219, 300``; many spans end in their number."""  # noqa: RUF002
    ordered = sorted(set(seeds))
    if not ordered:
        return DASH
    groups = itertools.groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0])
    spans = [[seed for _, seed in group] for _, group in groups]
    texts = [str(span[0]) if len(span) == 1 else f"{span[0]}{DASH}{span[-1]}" for span in spans]
    if len(texts) <= _MAX_SPANS:
        return ", ".join(texts)
    return f"{', '.join(texts[: _MAX_SPANS - 1])}, … {texts[-1]} ({len(ordered)} seeds)"


def format_cost(cost: float | None) -> str:
    """Writes US dollars: ``$12.34``, below a cent ``$0.00042``, a dash where unknown."""
    if cost is None:
        return DASH
    if cost >= 1 or not cost:
        return f"${cost:,.2f}"
    decimals = 4 if cost >= _CENT else 1 - math.floor(math.log10(cost))
    return f"${cost:.{decimals}f}"


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
