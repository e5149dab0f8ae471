"""Reads a prompt as it comes: what it asks for, what it tells.

Nothing depends on one template's wording or order. A mission is known by its phrase, an
observation by its lines, a step of the history by an observation that an action follows. Labels
such as "Mission:", "Observation:", "Action:" or an arrow between the two make it certain.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.offline.grammar import (
    ACTIONS,
    GO_FORWARD,
    Mission,
    View,
    parse_action,
    parse_mission,
    parse_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INSTRUCTING_ROLES = ("system", "developer")

# A pattern that starts with a set of letters is searched for several times as fast as one that
# starts with a word boundary; the look-behind makes the letter a word's first.
_LABEL = re.compile(r"([OoAa](?<!\w.)(?:bservation|BSERVATION|ction|CTION))[sS]?\b[^\n:]{0,40}:")
_ARROWS = ("->", "=>", "\u2192")
_MISSION = re.compile(
    r"\b(?:mission|goal|task|instruction|objective)\b[^\n:]*:([^\n]*)", re.IGNORECASE
)
_ACTION_KEY = re.compile(r'"action"\s*:\s*"([^"]*)"')
_THINKING = re.compile(
    r"(?<!not )(?<!n't )(?<!without )"
    r"\b(?:thinking|think|step by step|chain of thought|reasoning)\b",
    re.IGNORECASE,
)


class Message(NamedTuple):
    """One message of a chat, its content as plain text."""

    role: str
    text: str


class Prompt(NamedTuple):
    """What a prompt tells and asks.

    Attributes:
        mission: The clauses of the mission; empty if none was found.
        view: The current observation; None if none was found.
        history: Earlier observations, each with the action that followed, oldest first.
        wants_thinking: Whether the prompt asks to think before the answer.
        wants_json: Whether the prompt asks for JSON.
        digest: 64 bits that depend on every character of the prompt.
    """

    mission: Mission
    view: View | None
    history: tuple[tuple[View, str], ...]
    wants_thinking: bool
    wants_json: bool
    digest: int


def read_prompt(messages: Sequence[Message]) -> Prompt:
    """Reads what the messages tell; a part that is missing is left empty, never guessed."""
    instructions = [text for role, text in messages if role in INSTRUCTING_ROLES]
    dialogue = [message for message in messages if message.role not in INSTRUCTING_ROLES]
    asked = [text for role, text in dialogue if role != "assistant"]
    view, history = _pair(event for message in dialogue for event in _events(message))
    return Prompt(
        mission=_find_mission(asked, instructions),
        view=view,
        history=history,
        wants_thinking=any(map(_asks_for_thinking, [*instructions, *asked])),
        wants_json=any("JSON" in text or "json" in text for text in [*instructions, *asked]),
        digest=digest_of("\0".join(f"{role}\0{text}" for role, text in messages)),
    )


def digest_of(text: str) -> int:
    """Returns 64 bits that depend on every character, the same in every process."""
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")


@functools.lru_cache(maxsize=1024)
def _asks_for_thinking(text: str) -> bool:
    lowered = text.lower()
    if not any(word in lowered for word in ("think", "step by step", "reason", "thought")):
        return False
    return _THINKING.search(text) is not None


def _find_mission(asked: Sequence[str], instructions: Sequence[str]) -> Mission:
    for texts in (asked, instructions):
        for text in texts:
            for labelled in _MISSION.finditer(text):
                if mission := parse_mission(labelled.group(1).strip()):
                    return mission
        if texts is asked and (mission := _unlabelled_mission(asked)):
            return mission
    return ()


def _unlabelled_mission(texts: Sequence[str]) -> Mission:
    lines = (line for text in texts for line in text.splitlines())
    return next((mission for line in lines if (mission := parse_mission(line))), ())


def _events(message: Message) -> Iterator[View | str]:
    """Yields observations as `View` and actions as text, in the order of the prompt."""
    if message.role == "assistant":
        yield _answered_action(message.text)
        return
    text = message.text
    for arrow in _ARROWS:
        if arrow in text:
            text = text.replace(arrow, "\nAction:")
    opening, *labelled = _LABEL.split(text)
    yield from _unlabelled_views(opening)
    for label, body in zip(labelled[::2], labelled[1::2], strict=True):
        if label[0] in "Oo":
            yield parse_view(body)
            continue
        action, _, rest = body.lstrip().partition("\n")
        yield parse_action(action) or GO_FORWARD  # what the environment makes of any other answer
        yield from _unlabelled_views(rest)


def _unlabelled_views(text: str) -> Iterator[View]:
    if " step" in text or "carry" in text:
        view = parse_view(text)
        if not view.is_empty:
            yield view


def _answered_action(text: str) -> str:
    keyed = _ACTION_KEY.search(text)
    if keyed:
        return parse_action(keyed.group(1)) or GO_FORWARD
    named = [(text.lower().rfind(action), action) for action in ACTIONS]
    position, action = max(named)
    return action if position >= 0 else GO_FORWARD


def _pair(events: Iterator[View | str]) -> tuple[View | None, tuple[tuple[View, str], ...]]:
    """Pairs every observation with the action after it; the last observation stays single.

    An action before the first observation or after the last one is no step: a list of the actions
    to choose from, for instance.
    """
    history: list[tuple[View, str]] = []
    view: View | None = None
    action: str | None = None
    for event in events:
        if isinstance(event, str):
            action = action or event
            continue
        if view is not None and action is not None:
            history.append((view, action))
        view, action = event, None
    return view, tuple(history)
