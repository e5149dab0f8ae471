"""Replays: trajectories with the state of the grid at every step, packed small for a browser.

The grid is no part of a trajectory, so the executed actions are played again through the
environment. Where that does not show what the model saw (another version of the levels, for
instance), the grid is left out and the rest of the replay stays.

All episodes on one level make a *scene*: their texts go into one table, their layouts are told
once, and of a step only the pose and what changed is kept.
"""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pytest_babyai.records import EpisodeResult
from pytest_babyai.reporting.prompts import PromptRenderer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.records import EpisodeOutcome, Step
    from pytest_babyai.reporting.prompts import Message
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.results import EpisodeReport

_TEXTS = (
    *("observation", "thinking", "output", "candidate", "action", "status"),
    *("reasoning", "finish_reason", "model"),
)
_NUM_DIRECTIONS = 4
_COMPRESSION_LEVEL = 9


class ReplayEnvironment(Protocol):
    """What of `pytest_babyai.environment.Environment` a replay needs."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode."""
        ...

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes an action."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the grid as plain types."""
        ...


@dataclass(frozen=True, slots=True)
class GridHistory:
    """The states of a grid: one before every step, and one after the last.

    Attributes:
        width: Cells in a row.
        height: Rows.
        cells: What stood where at the start, row by row; None for a free cell.
        poses: Of the agent, a number a state: ``(y * width + x) * 4 + direction``.
        changes: State, cell and what stands there from then on.
        carried: State and what is carried from then on.
    """

    width: int
    height: int
    cells: tuple[Mapping[str, Any] | None, ...]
    poses: tuple[int, ...]
    changes: tuple[tuple[int, int, Mapping[str, Any] | None], ...]
    carried: tuple[tuple[int, Mapping[str, Any] | None], ...]


def trace_grid(outcome: EpisodeOutcome, environment: ReplayEnvironment) -> GridHistory | None:
    """Plays an episode's actions again and records the grid.

    Returns:
        The states, None where the environment shows or rewards otherwise than in the trajectory.
    """
    seen, _ = environment.reset(seed=outcome.spec.seed)
    snapshots = [environment.snapshot()]
    for step in outcome.steps:
        if _text(seen) != step.observation:
            return None
        seen, reward, *_ = environment.step(step.action)
        if reward != step.reward:
            return None
        snapshots.append(environment.snapshot())
    return _history(snapshots)


def _text(seen: Any) -> str:
    return str(seen["text"]["long_term_context"])


def _history(snapshots: Sequence[Mapping[str, Any]]) -> GridHistory:
    start = snapshots[0]
    width = start["width"]
    poses, changes, carried = [], [], []
    cells, held = start["cells"], None
    for number, snapshot in enumerate(snapshots):
        agent = snapshot["agent"]
        poses.append((agent["y"] * width + agent["x"]) * _NUM_DIRECTIONS + agent["direction"])
        for y, (before, after) in enumerate(zip(cells, snapshot["cells"], strict=True)):
            if before != after:
                pairs = enumerate(zip(before, after, strict=True))
                changes += [(number, y * width + x, new) for x, (old, new) in pairs if old != new]
        if snapshot["carrying"] != held:
            carried.append((number, snapshot["carrying"]))
        cells, held = snapshot["cells"], snapshot["carrying"]
    return GridHistory(
        width,
        start["height"],
        tuple(cell for row in start["cells"] for cell in row),
        tuple(poses),
        tuple(changes),
        tuple(carried),
    )


def pack(value: Any) -> str:
    """Returns JSON, deflated (zlib) and in base64; a browser's ``DecompressionStream`` reads it.

    Base64 has no character that means anything to HTML, so that whatever a model wrote cannot
    leave the element it stands in.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), _COMPRESSION_LEVEL)).decode("ascii")


def scene_name(report: EpisodeReport) -> str:
    """Names the level of an episode: ``goto-204``."""
    return f"{report.spec.task}-{report.spec.seed}"


def scenes(
    episodes: Mapping[str, EpisodeReport],
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None,
    provenance: Provenance,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the replays of episodes, by scene, those with failures first.

    Args:
        episodes: By a key that is theirs alone; those without steps are left out.
        make_environment: Makes an environment in which an episode can be played again; None
            leaves the grids out.
        provenance: Has what prompts are rendered by.

    Yields:
        Name and content: ``strings``, ``things``, ``layouts`` and ``episodes``, all plain types;
        texts and things are told as positions in the first two.
    """
    renderer = PromptRenderer(provenance.definitions, provenance.history_length)
    grouped: dict[str, dict[str, EpisodeReport]] = {}
    for key, report in episodes.items():
        if report.outcome.steps:
            grouped.setdefault(scene_name(report), {})[key] = report

    def num_failed(name: str) -> int:
        return sum(each.below_threshold for each in grouped[name].values())

    for name in sorted(grouped, key=num_failed, reverse=True):
        scene = _Scene()
        missions = (getattr(each.outcome, "mission", None) for each in grouped[name].values())
        mission = next(filter(None, missions), None)
        for key, report in grouped[name].items():
            messages = list(renderer.messages(report, mission))
            scene.add(key, report.outcome, _traced(report, make_environment), messages)
        yield name, scene.as_plain()


def _traced(
    report: EpisodeReport, make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None
) -> GridHistory | None:
    if make_environment is None:
        return None
    try:
        return trace_grid(report.outcome, make_environment(report))
    except Exception:  # noqa: BLE001 - foreign environments raise anything; the text is still there
        return None


@dataclass(slots=True)
class _Table:
    """Values that are told once and named by their position."""

    positions: dict[Any, int] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    def position(self, value: Any) -> int:
        plain = value is None or isinstance(value, str)
        key = value if plain else (json.dumps(value),)
        if key not in self.positions:
            self.positions[key] = len(self.values)
            self.values.append(value)
        return self.positions[key]

    def positions_of(self, values: Iterable[Any]) -> list[int]:
        return [self.position(value) for value in values]


@dataclass(slots=True)
class _Scene:
    """The replays of one level while they are gathered."""

    strings: _Table = field(default_factory=_Table)
    things: _Table = field(default_factory=_Table)
    layouts: _Table = field(default_factory=_Table)
    episodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    _system: dict[str, list[Any]] = field(default_factory=dict)

    def add(
        self,
        key: str,
        outcome: EpisodeOutcome,
        grid: GridHistory | None,
        messages: Sequence[Sequence[Message]],
    ) -> None:
        mission = outcome.mission if isinstance(outcome, EpisodeResult) else None
        self.episodes[key] = {
            "mission": mission,
            "steps": self._columns(outcome.steps),
            "grid": None if grid is None else self._grid(grid),
            "messages": [[self._message(each) for each in sent] for sent in messages],
        }

    def _message(self, message: Message) -> list[Any]:
        # Line by line: what one step is sent is mostly what the one before was.
        if message.role == "user":
            return ["user", *self.strings.positions_of(message.text.split("\n"))]
        if message.text not in self._system:
            lines = self.strings.positions_of(message.text.split("\n"))
            self._system[message.text] = [message.role, *lines]
        return self._system[message.text]

    def as_plain(self) -> dict[str, Any]:
        return {
            "strings": self.strings.values,
            "things": self.things.values,
            "layouts": self.layouts.values,
            "episodes": self.episodes,
        }

    def _columns(self, steps: Sequence[Step]) -> dict[str, Any]:
        # Step by step and not column by column: an answer repeats its thinking, which compression
        # finds only while it is near.
        rows = [self.strings.positions_of(getattr(step, name) for name in _TEXTS) for step in steps]
        numbers: dict[str, list[float | None]] = {
            "reward": [step.reward for step in steps],
            "latency_ms": [round(step.latency_ms) for step in steps],
            "input_tokens": [step.usage.input_tokens for step in steps],
            "output_tokens": [step.usage.output_tokens for step in steps],
            "cost": [step.usage.cost for step in steps],
        }
        return {**{name: [row[at] for row in rows] for at, name in enumerate(_TEXTS)}, **numbers}

    def _grid(self, grid: GridHistory) -> dict[str, Any]:
        layout = {
            "width": grid.width,
            "height": grid.height,
            "cells": self.things.positions_of(grid.cells),
        }
        place = self.things.position
        return {
            "layout": self.layouts.position(layout),
            "poses": grid.poses,
            "changes": [(state, cell, place(thing)) for state, cell, thing in grid.changes],
            "carried": [(state, place(thing)) for state, thing in grid.carried],
        }
