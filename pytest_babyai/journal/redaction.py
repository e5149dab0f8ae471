"""Keeps secrets out of every byte that is written."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REDACTED: Final = "[redacted]"

_SECRET_VARIABLE = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_SECRET_NAME = re.compile(
    r"(?:(?:api|access|private)[-_]?key|token|secret|passw(?:or)?d)$", re.IGNORECASE
)
_PATTERNS: Final = (
    (re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"), REDACTED),
    (re.compile(r"(\b[Bb]earer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{REDACTED}"),
    (re.compile(r"(://[^\s/:@\"]*):[^\s/@\"]+@"), rf"\1:{REDACTED}@"),
)
_MARKS: Final = ("@", "sk-", "earer")
_LONG: Final = 8
_SHORT: Final = 6


class Scrubber:
    """Replaces what looks like a secret by ``[redacted]``.

    Secrets are keys (``sk-...``), bearer tokens, passwords in URLs, and the values of environment
    variables whose name contains KEY, TOKEN, SECRET, PASSWORD, PASSWD or CREDENTIAL, as they stand,
    URL-quoted and JSON-escaped. Values under 8 characters count only from 6 on and with a digit:
    ``false`` and ``ollama`` are set in such variables too.

    Args:
        environ: Where secrets are looked up, once.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        found = {form for value in _secrets(environ) for form in _forms(value)}
        self._secrets = sorted(found, key=lambda secret: (-len(secret), secret))
        marks = {mark for text in (*_MARKS, *self._secrets) for mark in _escaped(text)}
        self._marks = tuple(mark.encode("utf-8", "surrogatepass") for mark in marks)

    def suspects(self, encoded: bytes) -> bool:
        """Whether JSON in UTF-8 may hold a secret; False is certain.

        A search for a few fixed strings: cheap enough for every line.
        """
        return any(mark in encoded for mark in self._marks)

    def text(self, value: str) -> str:
        """Returns a text without its secrets."""
        for secret in self._secrets:
            value = value.replace(secret, REDACTED)
        for pattern, replacement in _PATTERNS:
            value = pattern.sub(replacement, value)
        return value

    def plain(self, value: Any, keep: frozenset[str] = frozenset()) -> Any:
        """Returns plain JSON types without secrets, at any depth.

        A text under a name such as ``api_key`` is a secret whatever it looks like.

        Args:
            value: JSON types; tuples count as lists.
            keep: Names in mappings whose values stay as they are.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): part if name in keep else self._field(str(name), part, keep)
                for name, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.plain(part, keep) for part in value]
        return value

    def arguments(self, command_line: Sequence[str]) -> tuple[str, ...]:
        """Returns a command line without secrets; the value of ``--api-key`` is one."""
        clean: list[str] = []
        for argument in command_line:
            name, equals, value = argument.partition("=")
            after_name = bool(clean) and clean[-1].startswith("-") and _is_secret_name(clean[-1])
            if after_name and not argument.startswith("-"):
                clean.append(REDACTED)
            elif equals and value and name.startswith("-") and _is_secret_name(name):
                clean.append(f"{self.text(name)}={REDACTED}")
            else:
                clean.append(self.text(argument))
        return tuple(clean)

    def _field(self, name: str, value: Any, keep: frozenset[str]) -> Any:
        if isinstance(value, str) and value and _is_secret_name(name):
            return REDACTED
        return self.plain(value, keep)


def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _secrets(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if not _SECRET_VARIABLE.search(name):
            continue
        for part in (value, *value.splitlines()):  # a private key may be echoed line by line
            secret = part.strip()
            has_digit = any(character.isdigit() for character in secret)
            if len(secret) >= _LONG or (len(secret) >= _SHORT and has_digit):
                yield secret


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield urllib.parse.quote(secret, safe="", errors="replace")
    yield from _escaped(secret)


def _escaped(text: str) -> tuple[str, str]:
    """Returns a text as it stands within JSON, in ASCII and in UTF-8."""
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
