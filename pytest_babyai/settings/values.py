"""Reads raw setting values: text of a command line or ini file, types of YAML and Python.

Every reader returns the value or raises a ValueError that says what was expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from pytest_babyai.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


MAX_SEEDS: Final = 100_000
"""Seeds of a run: five variants and tasks make millions of pytest items of them."""
MAX_SEED: Final = 10**30
MAX_TIME_S: Final = 1e9
"""Some thirty years: what waits longer waits for ever, and libraries cannot tell such times."""
_MAX_NUMBER: Final = 1_000_000

_INTEGER = re.compile(r"\s*[+-]?\d{1,40}\s*", re.ASCII)
_SPAN = re.compile(r"(\d{1,40})(?:-(\d{1,40}))?", re.ASCII)
_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


class Shard(NamedTuple):
    """One of several parts of a run; its seeds are every ``num_parts``-th of the sorted ones.

    Attributes:
        part: Which one, from 1.
        num_parts: How many there are.
    """

    part: int
    num_parts: int

    def __str__(self) -> str:
        """Writes it as it is given: ``2/4``."""
        return f"{self.part}/{self.num_parts}"


def whole_number(minimum: int, maximum: int = _MAX_NUMBER) -> Callable[[Any], int]:
    """Reads a whole number from ``minimum`` to ``maximum``."""

    def parse(value: Any) -> int:
        whole = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if isinstance(whole, bool) or not isinstance(whole, int) or whole < minimum:
            raise ValueError(f"a whole number of at least {minimum}")
        if whole > maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum:,}")
        return whole

    return parse


def number(
    minimum: float, maximum: float = math.inf, *, above: bool = False
) -> Callable[..., float]:
    """Reads a finite number from ``minimum`` to ``maximum``, or above ``minimum``."""
    limits = f"above {minimum:g}" if above else f"of at least {minimum:g}"
    expected = (
        f"a number {limits}"
        if above or maximum == math.inf
        else f"a number from {minimum:g} to {maximum:g}"
    )

    def parse(value: Any) -> float:
        try:
            found = float(value)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(expected) from None
        if isinstance(value, bool) or not minimum <= found <= maximum or math.isinf(found):
            too_large = above and found > maximum
            raise ValueError(f"{expected} and at most {maximum:g}" if too_large else expected)
        if above and found == minimum:
            raise ValueError(expected)
        return found

    return parse


def one_of(*choices: str) -> Callable[[Any], str]:
    """Reads one of the given words."""

    def parse(value: Any) -> str:
        if isinstance(value, bool) and {"on", "off"} <= set(choices):
            return "on" if value else "off"  # as YAML reads these words
        if value not in choices:
            raise ValueError(f"{' or '.join(choices)}; {did_you_mean(str(value), choices)}")
        return str(value)

    return parse


switch = one_of("on", "off")
"""Reads ``on`` or ``off``."""


def _words(value: Any) -> list[Any]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    if isinstance(value, (list, tuple)):
        return [
            word for part in value for word in (_words(part) if isinstance(part, str) else [part])
        ]
    return [None]


def names(value: Any) -> tuple[str, ...]:
    """Reads names from a sequence or from text with commas or blanks; repeats count once."""
    words = _words(value)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError("one or more names, such as 'baseline,history'")
    return tuple(dict.fromkeys(words))


def seeds(value: Any) -> tuple[int, ...]:
    """Reads seeds from numbers, ranges and text such as ``200-219,300``; repeats count once."""
    is_one = isinstance(value, (int, range))
    found: dict[int, None] = {}
    for part in [value] if is_one else _words(value):
        span = _span(part)
        if not span or min(span[0], span[-1]) < 0:
            raise ValueError("whole numbers and ranges, such as '200-219,300'")
        if len(found) + span[-1] - span[0] >= MAX_SEEDS or span[-1] > MAX_SEED:
            raise ValueError(f"a choice of at most {MAX_SEEDS:,} seeds up to {MAX_SEED:.0e}")
        found.update(dict.fromkeys(span))
    if not found:
        raise ValueError("whole numbers and ranges, such as '200-219,300'")
    return tuple(found)


def _span(part: Any) -> range:
    """Returns the seeds that a number, a range or a text means; none if it is none of them."""
    match = _SPAN.fullmatch(part) if isinstance(part, str) else None
    if match:
        return range(int(match[1]), int(match[2] or match[1]) + 1)
    if isinstance(part, int) and not isinstance(part, bool):
        return range(part, part + 1)
    return part if isinstance(part, range) else range(0)


def shard(value: Any) -> Shard:
    """Reads one part of several, such as ``2/4``."""
    match = _SHARD.fullmatch(value.strip()) if isinstance(value, str) else None
    found = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= found.part <= found.num_parts <= MAX_SEEDS:
        raise ValueError("one part of several, such as 1/4 to 4/4")
    return found


def text(value: Any) -> str:
    """Reads a name or a path."""
    if not isinstance(value, (str, Path)) or not str(value).strip() or "\0" in str(value):
        raise ValueError("a name or a path")
    return str(value)


def text_or_number(value: Any) -> str:
    """Reads a text that YAML and ini files may give as a number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return str(value) if is_number else text(value)


def rules(value: Any) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
    """Reads one text, a sequence of texts, or either of them by name of a model.

    What the texts mean is found out where they are used.
    """
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _texts(part) for name, part in value.items()}
    return _texts(value)


def _texts(value: Any) -> tuple[str, ...]:
    parts = [value] if isinstance(value, str) else value
    if isinstance(parts, (list, tuple)):
        found = tuple(part.strip() for part in parts if isinstance(part, str))
        if len(found) == len(parts) and all(found):
            return found
    raise ValueError("a rule, a list of rules, or lists of rules by name of a model")


def path(value: Any) -> Path:
    """Reads a path; ``~`` is expanded."""
    return Path(text(value)).expanduser()


def url(value: Any) -> str:
    """Reads an HTTP URL; a trailing slash is dropped."""
    expected = "a URL such as http://localhost:3000"
    if not isinstance(value, str):
        raise ValueError(expected)
    try:
        parts = urlsplit(value)
        complete = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or True)
    except ValueError:
        complete = False
    if not complete:
        raise ValueError(expected)
    return value.rstrip("/")
