"""Reads amounts as people write them: ``1.5M`` tokens, ``2h30m``, ``$5``, ``5%`` of the episodes.

Every reader returns the value or raises a ValueError that says what was expected.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from pytest_babyai.settings.values import MAX_TIME_S

_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION: Final = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)\s*d\s*)?(?:(?P<h>\d+(?:\.\d+)?)\s*h\s*)?"
    r"(?:(?P<m>\d+(?:\.\d+)?)\s*m(?:in)?\s*)?(?:(?P<s>\d+(?:\.\d+)?)\s*s?)?",
    re.IGNORECASE | re.ASCII,
)
_MULTIPLES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
_COUNT: Final = re.compile(r"(\d+(?:[_,]\d{3})*(?:\.\d+)?)\s*([kmgb]?)", re.IGNORECASE | re.ASCII)
_DOLLARS: Final = re.compile(r"\$?\s*(\d+(?:\.\d+)?|\.\d+)", re.ASCII)
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)
_WHOLE: Final = re.compile(r"\d{1,18}", re.ASCII)
_MAX_TOKENS: Final = 10**18
_MAX_CONCURRENCY: Final = 1_000_000


class ErrorLimit(NamedTuple):
    """How many episodes may end as errors: a number of them or a share.

    Attributes:
        num_errors: So many, None for a share.
        share: From 0 to 1, None for a number.
    """

    num_errors: int | None = None
    share: float | None = None

    def __str__(self) -> str:
        """Writes it as it is given: ``7`` or ``5%``."""
        return str(self.num_errors) if self.share is None else f"{self.share * 100:g}%"


def error_limit(value: Any) -> ErrorLimit:
    """Reads how many errors a run puts up with: ``7``, ``"7"``, ``"5%"``."""
    written = _written(value)
    percent = _PERCENT.fullmatch(written)
    if percent and Decimal(percent[1]) <= 100:  # noqa: PLR2004 - per cent
        return ErrorLimit(share=float(Decimal(percent[1]) / 100))
    if _WHOLE.fullmatch(written):
        return ErrorLimit(num_errors=int(written))
    raise ValueError("a number of episodes or a share of them, such as 7 or 5%")


def duration_s(value: Any) -> float:
    """Reads seconds above 0 from ``90``, ``"90s"``, ``"10m"``, ``"2h30m"``, ``"1.5h"``."""
    match = _DURATION.fullmatch(_written(value))
    parts = match.groupdict() if match else {}
    seconds = sum(float(number) * _SECONDS[unit] for unit, number in parts.items() if number)
    if not 0 < seconds <= MAX_TIME_S:
        limit = "" if seconds <= MAX_TIME_S else f" and at most {MAX_TIME_S:g} seconds"
        raise ValueError(f"a duration above 0{limit}, such as 90s, 10m or 2h30m")
    return float(seconds)


def token_count(value: Any) -> int:
    """Reads a whole number above 0 from ``200000``, ``"200k"``, ``"1.5M"``, ``"2G"``."""
    match = _COUNT.fullmatch(_written(value))
    number = re.sub("[_,]", "", match[1]) if match else "0"
    count = Decimal(number) * _MULTIPLES[match[2].lower() if match else ""]
    if not 0 < count <= _MAX_TOKENS or count != count.to_integral_value():
        raise ValueError("a whole number above 0, such as 200000, 200k or 1.5M")
    return int(count)


def dollars(value: Any) -> float:
    """Reads US dollars above 0 from ``5``, ``"0.50"``, ``"$5"``."""
    match = _DOLLARS.fullmatch(_written(value))
    amount = float(match[1]) if match else 0.0
    if not 0 < amount < math.inf:
        raise ValueError("US dollars above 0, such as 5 or 0.50")
    return amount


def concurrency(value: Any) -> int | Literal["auto"]:
    """Reads requests in flight: ``auto`` or a whole number of at least 1."""
    written = _written(value)
    if written.lower() == "auto":
        return "auto"
    if not _WHOLE.fullmatch(written) or not 1 <= int(written) <= _MAX_CONCURRENCY:
        raise ValueError("'auto' or a whole number of at least 1")
    return int(written)


def _written(value: Any) -> str:
    """Returns a text or number as text, and nothing for any other type."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return str(value).strip()
