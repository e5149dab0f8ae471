"""The grid world while it is being played: what stands where, and when the mission is done.

Nothing here needs minigrid or numpy. A layout comes from `levels`, actions change a `World`
(see `actions`), and `observation` tells what the agent sees of it. Cells are numbered row by row,
``cell = y * width + x``; sets of cells that rarely change are integers with one bit a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN, CLOSED, LOCKED = "open", "closed", "locked"


class Item:
    """Something other than a wall: a key, a ball, a box, or a door in one of its states.

    Get one from `item`: equal items are the same object, so that ``is`` compares them.

    Attributes:
        kind: ``"key"``, ``"ball"``, ``"box"`` or ``"door"``.
        color: One of minigrid's six color names.
        state: ``"open"``, ``"closed"`` or ``"locked"`` for a door, None for the rest.
        name: What observations call it, ``"red ball"`` or ``"locked blue door"``.
    """

    __slots__ = ("color", "kind", "name", "state")

    def __init__(self, kind: str, color: str, state: str | None) -> None:
        self.kind = kind
        self.color = color
        self.state = state
        self.name = f"{color} {kind}" if state is None else f"{state} {color} {kind}"

    def __repr__(self) -> str:
        return f"<{self.name}>"


_ITEMS: dict[tuple[str, str, str | None], Item] = {}


def item(kind: str, color: str, state: str | None = None) -> Item:
    """Returns the one item of this kind, color and state."""
    key = kind, color, state
    # setdefault is atomic, so that two threads get the same object
    return _ITEMS.get(key) or _ITEMS.setdefault(key, Item(kind, color, state))


@dataclass(frozen=True, slots=True)
class Layout:
    """A generated episode before its first step.

    Attributes:
        width: Cells in a row.
        height: Rows.
        walls: The cells that are walls, one bit a cell.
        items: What stands where, by cell.
        agent: Cell and direction of the agent; 0 is right, 1 down, 2 left, 3 up.
        mission: The instruction as a sentence.
        goals: What has to come true, one after the other.
        max_steps: The step limit.
    """

    width: int
    height: int
    walls: int
    items: Mapping[int, Item]
    agent: tuple[int, int]
    mission: str
    goals: tuple[Goal, ...]
    max_steps: int


class World:
    """The changing state of one episode.

    Attributes:
        layout: Where the episode started; never changes.
        items: What stands where now, by cell, without what is carried.
        position: The agent's cell.
        direction: 0 is right, 1 down, 2 left, 3 up.
        carrying: What the agent holds.
        opaque: The cells one cannot see through, one bit a cell: walls and shut doors.
    """

    __slots__ = ("carrying", "direction", "items", "layout", "opaque", "position")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.items = dict(layout.items)
        self.position, self.direction = layout.agent
        self.carrying: Item | None = None
        self.opaque = layout.walls
        for cell, thing in self.items.items():
            if thing.kind == "door" and thing.state != OPEN:
                self.opaque |= 1 << cell

    @property
    def front(self) -> int:
        """The cell that the agent faces."""
        width = self.layout.width
        return self.position + (1, width, -1, -width)[self.direction]

    def is_wall(self, cell: int) -> bool:
        """Returns whether the cell is a wall."""
        return bool(self.layout.walls >> cell & 1)

    def snapshot(self) -> dict[str, Any]:
        """Returns the state as plain types; see `contract.Environment.snapshot`."""
        width = self.layout.width
        held = self.carrying
        return {
            "width": width,
            "height": self.layout.height,
            "cells": [
                [self._describe(row * width + column) for column in range(width)]
                for row in range(self.layout.height)
            ],
            "agent": {
                "x": self.position % width,
                "y": self.position // width,
                "direction": self.direction,
            },
            "carrying": None if held is None else {"type": held.kind, "color": held.color},
        }

    def _describe(self, cell: int) -> dict[str, str | None] | None:
        if self.is_wall(cell):
            return {"type": "wall", "color": "grey", "state": None}
        thing = self.items.get(cell)
        if thing is None:
            return None
        return {"type": thing.kind, "color": thing.color, "state": thing.state}


class Event(NamedTuple):
    """What an action did.

    Attributes:
        action: Its name.
        moved: The item that it picked up or dropped, None where it moved nothing.
    """

    action: str
    moved: Item | None


class Goal(Protocol):
    """One clause of a mission."""

    def reached(self, world: World, event: Event, known: Mapping[int, Item]) -> bool:
        """Returns whether the event that led to this world fulfils the clause.

        Args:
            world: The state after the event.
            event: The action just taken.
            known: Where items stood at the start or at the last attempt to drop something. Picking
                an item up does not forget its place, in the reference as here.
        """
        ...


class GoTo(NamedTuple):
    """Face the place of such an item."""

    target: Item

    def reached(self, world: World, event: Event, known: Mapping[int, Item]) -> bool:  # noqa: ARG002
        """See `Goal.reached`."""
        return known.get(world.front) is self.target


class PickUp(NamedTuple):
    """Take such an item."""

    target: Item

    def reached(self, world: World, event: Event, known: Mapping[int, Item]) -> bool:  # noqa: ARG002
        """See `Goal.reached`."""
        return event.moved is self.target and event.action == "pick up"


class OpenDoor(NamedTuple):
    """Toggle a door open; a layout has at most one."""

    def reached(self, world: World, event: Event, known: Mapping[int, Item]) -> bool:  # noqa: ARG002
        """See `Goal.reached`."""
        faced = world.items.get(world.front) if event.action == "toggle" else None
        return faced is not None and faced.state == OPEN


class PutNext(NamedTuple):
    """Drop such an item beside such another; diagonal neighbors do not count."""

    target: Item
    neighbor: Item

    def reached(self, world: World, event: Event, known: Mapping[int, Item]) -> bool:  # noqa: ARG002
        """See `Goal.reached`."""
        if event.moved is not self.target or event.action != "drop":
            return False
        front, width = world.front, world.layout.width
        beside = (front - 1, front + 1, front - width, front + width)
        return any(world.items.get(cell) is self.neighbor for cell in beside)


class MissionProgress:
    """Follows how far the goals of an episode have been reached."""

    __slots__ = ("_known", "_pending")

    def __init__(self, layout: Layout) -> None:
        self._pending = layout.goals
        self._known: Mapping[int, Item] = MappingProxyType(layout.items)

    def advance(self, world: World, event: Event) -> bool:
        """Returns whether this event completed the mission; one event may reach several goals."""
        if event.action == "drop":
            self._known = dict(world.items)
        while self._pending[0].reached(world, event, self._known):
            if len(self._pending) == 1:
                return True
            self._pending = self._pending[1:]
        return False
