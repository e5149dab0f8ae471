"""The language of BabyAI-Text: things, observations, missions; and how many tokens a text has."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


TURN_LEFT = "turn left"
TURN_RIGHT = "turn right"
GO_FORWARD = "go forward"
PICK_UP = "pick up"
DROP = "drop"
TOGGLE = "toggle"
ACTIONS = (TURN_LEFT, TURN_RIGHT, GO_FORWARD, PICK_UP, DROP, TOGGLE)

GO_TO = "go to"
OPEN = "open"
PUT = "put"

_COLOUR = r"(?:red|green|blue|purple|yellow|grey|gray)"
_THING = rf"(?:(open|closed|locked)\s+)?(?:({_COLOUR})\s+)?(ball|box|key|door"
_STEPS = r"(\d+)\s+steps?\s+(forward|left|right)"
_SIGHTING = re.compile(rf"\b{_THING}|wall)\s+{_STEPS}(?:\s+and\s+{_STEPS})?", re.IGNORECASE)
_CARRYING = re.compile(rf"\byou\s+carry\s+an?\s+{_THING})\b", re.IGNORECASE)
_ARTICLE = r"(?:the|an?)\s+"
_CLAUSE = re.compile(
    rf"\b(go\s+to|pick\s+up|open|put)\s+{_ARTICLE}{_THING})\b"
    rf"(?:\s+next\s+to\s+{_ARTICLE}{_THING})\b)?",
    re.IGNORECASE,
)
_AFTER = re.compile(r"\s+after\s+you\s+", re.IGNORECASE)
_THEN = re.compile(r"\s*,?\s+then\s+", re.IGNORECASE)


class Thing(NamedTuple):
    """An object or a door; as a description, an empty colour or state fits any.

    Attributes:
        kind: ball, box, key or door.
        colour: As the environment spells it; empty if not named.
        state: open, closed or locked for doors, else empty.
    """

    kind: str
    colour: str = ""
    state: str = ""

    def fits(self, description: Thing) -> bool:
        """Tells whether this is what the description means."""
        return self.kind == description.kind and description.colour in ("", self.colour)

    def __str__(self) -> str:
        """Reads as in an observation, without an article."""
        return " ".join(word for word in (self.state, self.colour, self.kind) if word)


class View(NamedTuple):
    """What one observation tells.

    Attributes:
        carrying: What the agent holds.
        things: Each thing seen, by its cell ``(steps right, steps forward)``; left is negative.
        walls: Distance in steps to the wall ahead, right, behind and left; 0 where none is told.
    """

    carrying: Thing | None
    things: tuple[tuple[tuple[int, int], Thing], ...]
    walls: tuple[int, int, int, int]

    @property
    def is_blocked(self) -> bool:
        """Whether the cell in front cannot be entered."""
        if self.walls[0] == 1:
            return True
        return any(cell == (0, 1) and thing.state != "open" for cell, thing in self.things)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was recognised."""
        return not (self.carrying or self.things or any(self.walls))


class Clause(NamedTuple):
    """One part of a mission.

    Attributes:
        verb: `GO_TO`, `PICK_UP`, `OPEN` or `PUT`.
        target: What to act on.
        beside: For `PUT`: what to put it next to.
    """

    verb: str
    target: Thing
    beside: Thing | None = None


Mission = tuple[Clause, ...]
"""The clauses in the order in which they have to be carried out."""


@functools.lru_cache(maxsize=8192)
def parse_view(text: str) -> View:
    """Reads every sighting in a text, whatever stands around it."""
    things = []
    walls = [0, 0, 0, 0]
    for match in _SIGHTING.finditer(text):
        state, colour, kind, first, first_side, second, second_side = match.groups()
        right, forward = _offset(first, first_side)
        if second:
            more_right, more_forward = _offset(second, second_side)
            right, forward = right + more_right, forward + more_forward
        if kind.lower() == "wall":
            walls[("forward", "right", "", "left").index(first_side.lower())] = int(first)
        else:
            things.append(((right, forward), _thing(state, colour, kind)))
    carried = _CARRYING.search(text)
    carrying = _thing(*carried.groups()) if carried else None
    return View(carrying, tuple(things), (walls[0], walls[1], walls[2], walls[3]))


def _offset(steps: str, side: str) -> tuple[int, int]:
    side = side.lower()
    if side == "forward":
        return 0, int(steps)
    return (int(steps) if side == "right" else -int(steps)), 0


def _thing(state: str | None, colour: str | None, kind: str) -> Thing:
    colour = (colour or "").lower().replace("gray", "grey")
    return Thing(kind.lower(), colour, (state or "").lower())


@functools.lru_cache(maxsize=8192)
def parse_mission(text: str) -> Mission:
    """Reads a mission such as "go to the red ball after you pick up a key".

    Returns:
        Its clauses in the order of doing; empty if there is none in the text.
    """
    wanted, *before = _AFTER.split(text, maxsplit=1)
    parts = [*before, wanted] if before else _THEN.split(text)
    return tuple(clause for part in parts for clause in _clauses(part))


def _clauses(text: str) -> list[Clause]:
    clauses = []
    for match in _CLAUSE.finditer(text):
        verb, *words = match.groups()
        beside = _thing(*words[3:]) if words[5] else None
        verb = " ".join(verb.lower().split())
        if (verb == PUT) == (beside is not None):
            clauses.append(Clause(verb, _thing(*words[:3]), beside))
    return clauses


def parse_action(text: str) -> str | None:
    """Reads an action as it may be quoted in a prompt; None for anything but the six."""
    words = text.strip(" \t\r\n\"'`*{}[]().,").lower()
    return words if words in ACTIONS else None


_PIECE = re.compile(r" ?[^\W\d_]{1,10}| ?\d{1,3}| ?(?:[^\w\s]|_){1,4}|\n|[^\S\n]{1,16}")

TOKENS_PER_MESSAGE = 4
"""What a chat format adds to every message: its start, its role, its end."""
TOKENS_PER_REPLY = 3
"""What it adds to open the answer."""


def count_tokens(text: str) -> int:
    """Counts the tokens of a text, approximately."""
    lines = text.split("\n")  # no piece reaches over a line break, and most lines come again
    return sum(map(_count_line, lines)) + len(lines) - 1


@functools.lru_cache(maxsize=8192)
def _count_line(line: str) -> int:
    return len(_PIECE.findall(line))


_count_repeated = functools.lru_cache(maxsize=1024)(count_tokens)


def count_prompt_tokens(messages: Iterable[tuple[str, str]]) -> int:
    """Counts a prompt's tokens: every message's role and text, and what the chat format adds."""
    counts = (_count_repeated(text) + TOKENS_PER_MESSAGE for _role, text in messages)
    return sum(counts) + TOKENS_PER_REPLY


def truncate(text: str, max_tokens: int) -> str:
    """Returns the text's first tokens, at most ``max_tokens``."""
    for index, piece in enumerate(_PIECE.finditer(text)):
        if index == max_tokens:
            return text[: piece.start()]
    return text
