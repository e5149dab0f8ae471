"""Reads a prompt as it comes: what it asks for, what it says about the episode.

Nothing depends on one template's wording or order. A mission is known by its phrase, in whichever
message it stands; an observation by its lines; a step of the history by an observation that an
action follows. Labels such as "Mission:", "Observation:", "Your Response:" or an arrow between the
two make it certain. The current observation is the one labelled as current, else the last one.
Worked examples are told apart by their heading and are no part of the episode.
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.offline.language import (
    ACTIONS,
    GO_FORWARD,
    Mission,
    View,
    parse_action,
    parse_mission,
    parse_view,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

INSTRUCTING_ROLES = ("system", "developer")

# A pattern that starts with a set of letters is searched for several times as fast as one that
# starts with a word boundary; the look-behind makes the letter a word's first.
_LABEL = re.compile(r"([OoAa](?<!\w.)(?:bservation|BSERVATION|ction|CTION))[sS]?\b[^\n:]{0,40}:")
_ANY_LABEL = re.compile(
    _LABEL.pattern + r"|([RrAaTt](?<!\w.)(?:esponse|gent|hinking|hought))s?\"?\s*:"
)
_OTHER_LABELS = ("esponse", "gent", "hinking", "hought")
_ARROWS = ("->", "=>", "\u2192")
_IS_CURRENT = re.compile(r"\b(?:[Cc]urrent|[Nn]ow|[Ll]atest|CURRENT|NOW)\b")
_NAMES_MISSION = re.compile(
    r"\b(?:mission|goal|task|instruction|objective)\b"
    r"(?:[^\n:]*:\s*|\s+is\b)([^\n]*)",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(
    r"^[^\w\n]*(?:(?:here|this|an?|one|is|worked|for)\s+){0,3}examples?\b[^\n:.]{0,40}"
    r"(?::[^\n]*|\W*)$",
    re.IGNORECASE | re.MULTILINE,
)
_END_OF_EXAMPLE = re.compile(
    r"^(?:#|[^\w\n]*(?:(?:your|the)\s+)?"
    r"(?:current|now|latest|last|history|mission|goal|task|observation now)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMED_ACTION = re.compile("|".join(ACTIONS))
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
    """Reads what the messages say; a part that is missing is left empty, never guessed."""
    instructions = [text for role, text in messages if role in INSTRUCTING_ROLES]
    dialogue = [message for message in messages if message.role not in INSTRUCTING_ROLES]
    asked = [text for role, text in dialogue if role != "assistant"]
    view, history = _read_steps(dialogue)
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
    own_words = [without_examples(text) for text in asked]
    return (
        _labelled_mission(own_words)
        or _unlabelled_mission(own_words)
        or _labelled_mission(map(without_examples, instructions))
        or _labelled_mission(asked)
    )


def _labelled_mission(texts: Iterable[str]) -> Mission:
    matches = (match for text in texts for match in _NAMES_MISSION.finditer(text))
    return next((found for match in matches if (found := parse_mission(match[1].strip()))), ())


def _unlabelled_mission(texts: Iterable[str]) -> Mission:
    lines = (line for text in texts for line in text.splitlines())
    return next((found for line in lines if (found := parse_mission(line))), ())


@functools.lru_cache(maxsize=1024)
def without_examples(text: str) -> str:
    """Returns a text without its worked examples.

    An example begins with a heading that names it and ends, once an action was shown, before the
    next heading, or before a line that names the mission, the history or the current observation.
    """
    if "xample" not in text and "XAMPLE" not in text:
        return text
    kept, position = [], 0
    while heading := _EXAMPLE.search(text, position):
        kept.append(text[position : heading.start()])
        shown = _NAMED_ACTION.search(text, heading.start())
        end = _END_OF_EXAMPLE.search(text, shown.end()) if shown else None
        position = end.start() if end else len(text)
    return "".join([*kept, text[position:]])


def _read_steps(dialogue: Sequence[Message]) -> tuple[View | None, tuple[tuple[View, str], ...]]:
    own_words = [
        message
        if message.role == "assistant"
        else message._replace(text=without_examples(message.text))
        for message in dialogue
    ]
    view, history = _pair([event for message in own_words for event in _events(message)])
    if view is None and own_words != dialogue:  # what looks like an example is all there is
        view, _ = _pair([event for message in dialogue for event in _events(message)])
    return view, history


def _events(message: Message) -> list[View | str]:
    """Returns observations, and actions as text, in order; nothing after the current one."""
    if message.role == "assistant":
        return [_answered_action(message.text)]
    text = message.text
    for arrow in _ARROWS:
        if arrow in text:
            text = text.replace(arrow, "\nAction:")
    pattern = _ANY_LABEL if any(word in text for word in _OTHER_LABELS) else _LABEL
    labels = [label.span() for label in pattern.finditer(text)]
    ends = [*(start for start, _ in labels), len(text)]
    events: list[View | str] = [*_unlabelled(text[: ends[0]])]
    for (start, body_start), end in zip(labels, ends[1:], strict=True):
        initial, body = text[start], text[body_start:end]
        if initial in "Oo":
            events.append(parse_view(body))
            if _names_the_current(text, start, body_start):
                return events
        elif initial not in "Tt":
            events += _answer_and_rest(body.lstrip())
    return events


def _names_the_current(text: str, start: int, end: int) -> bool:
    """Whether an observation's label, or a word right before it, says that it is the current."""
    if end - start == len("Observation:") and text[start - 1 : start] == "\n":
        return False  # most labels say nothing else
    label = text[max(start - 16, 0) : start].rpartition("\n")[2] + text[start:end]
    return _IS_CURRENT.search(label) is not None


def _answer_and_rest(body: str) -> list[View | str]:
    if body.startswith("{"):
        return []  # the keys of the JSON object are labels by themselves
    action, _, rest = body.partition("\n")
    # What the environment makes of any other answer.
    return [parse_action(action) or GO_FORWARD, *_unlabelled(rest)]


def _unlabelled(text: str) -> list[View]:
    if " step" in text or "carry" in text:
        view = parse_view(text)
        return [] if view.is_empty else [view]
    return []


def _answered_action(text: str) -> str:
    keyed = _ACTION_KEY.search(text)
    if keyed:
        return parse_action(keyed.group(1)) or GO_FORWARD
    named = [(text.lower().rfind(action), action) for action in ACTIONS]
    position, action = max(named)
    return action if position >= 0 else GO_FORWARD


def _pair(events: Sequence[View | str]) -> tuple[View | None, tuple[tuple[View, str], ...]]:
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
