"""Reads raw setting values: text of a command line or ini file, types of YAML and Python.

Every reader returns the value or raises a ValueError that says what was expected.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytest_babyai.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable


def whole_number(minimum: int) -> Callable[[Any], int]:
    """Reads a whole number of at least ``minimum``."""

    def parse(value: Any) -> int:
        whole = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if isinstance(whole, bool) or not isinstance(whole, int) or whole < minimum:
            raise ValueError(f"a whole number of at least {minimum}")
        return whole

    return parse


_INTEGER = re.compile(r"\s*[+-]?\d+\s*")


def number(
    minimum: float, maximum: float = math.inf, *, above: bool = False
) -> Callable[..., float]:
    """Reads a finite number from ``minimum`` to ``maximum``, or above ``minimum``."""
    limits = f"above {minimum:g}" if above else f"of at least {minimum:g}"
    expected = (
        f"a number {limits}" if maximum == math.inf else f"a number from {minimum:g} to {maximum:g}"
    )

    def parse(value: Any) -> float:
        try:
            found = float(value)
        except (TypeError, ValueError):
            raise ValueError(expected) from None
        if isinstance(value, bool) or not minimum <= found <= maximum or math.isinf(found):
            raise ValueError(expected)
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
    expected = "whole numbers and ranges, such as '200-219,300'"
    parts = _words(list(value) if isinstance(value, range) else value)
    found: list[int] = []
    for part in [value] if isinstance(value, int) else parts:
        span = _SPAN.fullmatch(part) if isinstance(part, str) else None
        if span:
            found.extend(range(int(span[1]), int(span[2] or span[1]) + 1))
        elif isinstance(part, int) and not isinstance(part, bool) and part >= 0:
            found.append(part)
        else:
            raise ValueError(expected)
    if not found:
        raise ValueError(expected)
    return tuple(dict.fromkeys(found))


_SPAN = re.compile(r"(\d+)(?:-(\d+))?")


def text(value: Any) -> str:
    """Reads a name or a path."""
    if not isinstance(value, (str, Path)) or not str(value).strip():
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
