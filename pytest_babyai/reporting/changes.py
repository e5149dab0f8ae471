"""What differs between two definitions of a variant: prompts line by line, settings by name."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CONTEXT_LINES: Final = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One part of a variant that differs.

    Attributes:
        part: ``template system``, ``variant table``, ...
        lines: A sign (``+``, ``-``, a space, ``@`` for lines left out) and a line.
    """

    part: str
    lines: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """All of it, as ``diff`` writes it."""
        return "\n".join(f"{sign}{line}" if sign != "@" else "…" for sign, line in self.lines)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Change:
        """Rebuilds it from JSON types."""
        return cls(plain["part"], tuple((sign, line) for sign, line in plain["lines"]))


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Change, ...]:
    """Returns what differs between two definitions, as a run's manifest keeps them.

    Args:
        old: Content by part.
        new: The same of the other one.
    """
    before, after = dict(_texts(old)), dict(_texts(new))
    parts = dict.fromkeys([*before, *after])
    found = (Change(part, _diff(before.get(part, []), after.get(part, []))) for part in parts)
    return tuple(change for change in found if change.lines)


def template_texts(part: Any) -> dict[str, str]:
    """Returns the texts of a template and of what it includes: its own under the empty name.

    Raises:
        ValueError: The part is no template that was kept.
    """
    content = part.get("path") if isinstance(part, dict) else part
    texts = json.loads(content) if isinstance(content, str) else None
    if not isinstance(texts, dict):
        raise ValueError("no template")
    return texts


def _texts(definition: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[str]]]:
    for part, content in definition.items():
        if part.startswith("template "):
            try:
                texts = template_texts(content)
            except ValueError:
                texts = {"": str(content)}
            for name, text in texts.items():
                yield (f"{part}, {name}" if name else part), text.splitlines()
        elif part.startswith("schema "):
            yield part, _schema_lines(content)
        else:
            yield part, list(_settings(content))


def _schema_lines(content: Any) -> list[str]:
    try:
        texts = template_texts(content)
        return json.dumps(json.loads(texts[""]), indent=1).splitlines()
    except (ValueError, KeyError):
        return json.dumps(content, indent=1, default=str).splitlines()


def _settings(content: Any, path: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for name, part in sorted(content.items()):
            yield from _settings(part, f"{path}.{name}" if path else name)
    else:
        yield f"{path} = {json.dumps(content, default=str)}"


def _diff(old: Sequence[str], new: Sequence[str]) -> tuple[tuple[str, str], ...]:
    if old == new:
        return ()
    lines = list(difflib.unified_diff(old, new, lineterm="", n=_CONTEXT_LINES))[2:]
    found = [("@", "") if line.startswith("@@") else (line[0], line[1:]) for line in lines]
    return tuple(found[1:] if found and found[0][0] == "@" else found)
