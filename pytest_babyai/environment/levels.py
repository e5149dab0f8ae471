# mypy: disallow-untyped-calls=False
"""Generates the episodes of BabyAI's mixed training level, on minigrid.

The level is the one that BALROG plays, `BabyAI-MixedTrainLocal-v0`, which minigrid itself lacks.
Its rooms, objects, instructions and wording are minigrid's; what a task is made of stands in
`_KINDS`. The random draws happen in the order of the reference, so that a seed gives its layout.

Importing this module imports minigrid; the rest of the package does so on the first `reset`.
"""

from __future__ import annotations

import functools
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from minigrid.envs.babyai.core import verifier
from minigrid.envs.babyai.core.levelgen import LevelGen
from minigrid.envs.babyai.core.roomgrid_level import RejectSampling, RoomGridLevel

from pytest_babyai.environment.world import (
    CLOSED,
    LOCKED,
    OPEN,
    Goal,
    GoTo,
    Layout,
    OpenDoor,
    PickUp,
    PutNext,
    item,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minigrid.core.world_object import WorldObj

    from pytest_babyai.environment.world import Item

T = TypeVar("T")

ROOM_SIZE = 8
DOOR_COLORS = ("yellow", "green", "blue", "purple")
HELD_OUT = frozenset({("yellow", "box"), ("red", "key"), ("green", "ball")})
"""Never named by a mission: the reference keeps them back to test generalization."""


def _go_to(level: MixedLevel, objects: list[WorldObj]) -> verifier.Instr:
    return verifier.GoToInstr(_named(level.draw(objects)))


def _pick_up(level: MixedLevel, objects: list[WorldObj]) -> verifier.Instr:
    return verifier.PickupInstr(_named(level.draw(objects)))


def _put_next(level: MixedLevel, objects: list[WorldObj]) -> verifier.Instr:
    moved, fixed = _draw_two(level, objects)
    return verifier.PutNextInstr(_named(moved), _named(fixed))


def _pick_up_and_go_to(level: MixedLevel, objects: list[WorldObj]) -> verifier.Instr:
    taken, visited = _draw_two(level, objects)
    pick_up, go_to = verifier.PickupInstr(_named(taken)), verifier.GoToInstr(_named(visited))
    if level.draw(["before", "after"]) == "before":
        return verifier.BeforeInstr(pick_up, go_to)
    return verifier.AfterInstr(go_to, pick_up)


def _open(level: MixedLevel, objects: list[WorldObj]) -> verifier.Instr:
    (door,) = (thing for thing in objects if thing.type == "door")
    return verifier.OpenInstr(verifier.ObjDesc("door", level.draw([None, door.color])))


class _Kind(NamedTuple):
    """What a kind of task is made of.

    Attributes:
        num_rooms: Rooms side by side; two are joined by a locked door.
        num_targets: Objects put down beside the distractors, for the mission to name.
        instruct: Draws the instruction from the objects of the layout.
    """

    num_rooms: int
    num_targets: int
    instruct: Callable[[MixedLevel, list[WorldObj]], verifier.Instr]


_KINDS = {
    "goto": _Kind(1, 1, _go_to),
    "pickup": _Kind(1, 1, _pick_up),
    "open": _Kind(2, 0, _open),
    "putnext": _Kind(1, 2, _put_next),
    "pick_up_seq_go_to": _Kind(1, 2, _pick_up_and_go_to),
}


def _named(thing: WorldObj) -> verifier.ObjDesc:
    return verifier.ObjDesc(thing.type, thing.color)


def _draw_two(level: MixedLevel, objects: list[WorldObj]) -> tuple[WorldObj, WorldObj]:
    """Draws two objects; they may look alike only if there are several of that look."""

    def look(thing: WorldObj) -> tuple[str, str]:
        return thing.type, thing.color

    first, second = level.draw(objects), level.draw(objects)
    unique = [look(thing) for thing in objects].count(look(first)) == 1
    while unique and second is first:
        second = level.draw(objects)
    return first, second


class MixedLevel(LevelGen):
    """The level generator of one kind of task; one object serves all episodes of that kind.

    Args:
        kind: Key of `_KINDS`.
        num_dists: Objects that the mission does not need, in each room the agent can reach.
    """

    def __init__(self, kind: str, num_dists: int) -> None:
        self._kind = _KINDS[kind]
        self._lock = threading.Lock()
        super().__init__(
            room_size=ROOM_SIZE,
            num_rows=1,
            num_cols=self._kind.num_rooms,
            num_dists=num_dists,
            locations=False,
            unblocking=False,
            implicit_unlock=False,
        )

    def generate(self, random: np.random.Generator) -> Layout:
        """Draws an episode.

        Args:
            random: Source of the draws, see `random_generator`; advanced by them.
        """
        with self._lock:
            self.np_random = random
            self._gen_grid(self.width, self.height)
            return Layout(
                width=self.width,
                height=self.height,
                walls=self._cells_of("wall"),
                items=_items(self.grid.grid),
                agent=(self._agent_cell, self.agent_dir),
                mission=self.instrs.surface(self),
                goals=_goals(self.instrs),
                max_steps=ROOM_SIZE**2 * self.num_cols * self.num_navs_needed(self.instrs),
            )

    def draw(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, at random."""
        return choices[self._rand_int(0, len(choices))]

    def _rand_int(self, low: int, high: int) -> int:
        return int(self.np_random.integers(low, high))

    def _gen_grid(self, width: int, height: int) -> None:
        """Draws until a mission can be solved; minigrid's own loop prints what it rejects."""
        while True:
            with suppress(RejectSampling, RecursionError):
                if self.num_cols > 1:
                    self._rand_int(1, ROOM_SIZE - 1)  # the reference draws a first door, unused
                while not self._draw_mission(width, height):
                    pass
                self.validate_instrs(self.instrs)
                return

    def _draw_mission(self, width: int, height: int) -> bool:
        """Draws rooms, objects, agent and instruction; returns whether they will do."""
        super(RoomGridLevel, self)._gen_grid(width, height)
        x, y = self.agent_pos
        self.agent_pos = (int(x), int(y))
        objects = self._furnish_room() if self.num_cols == 1 else self._furnish_two_rooms()
        self.instrs = self._kind.instruct(self, objects)
        accepted = HELD_OUT.isdisjoint(_looks_named(self.instrs))
        return accepted and self._is_everything_reachable()

    def _is_everything_reachable(self) -> bool:
        """Returns whether the agent can get to every object without moving another."""
        doors = self._cells_of("door")
        objects = self._cells_of("key", "ball", "box")
        obstacles = self._cells_of("wall") | objects
        reached, before = 1 << self._agent_cell, 0
        while reached != before:
            before, free = reached, reached & ~obstacles
            reached |= free << 1 | free >> 1 | free << self.width | free >> self.width
        return not (doors | objects) & ~reached

    def _cells_of(self, *kinds: str) -> int:
        things = enumerate(self.grid.grid)
        return sum(1 << cell for cell, thing in things if thing and thing.type in kinds)

    @property
    def _agent_cell(self) -> int:
        x, y = self.agent_pos
        return int(y * self.width + x)

    def _furnish_room(self) -> list[WorldObj]:
        self.place_agent()
        num_objects = self.num_dists + self._kind.num_targets
        objects: list[WorldObj] = self.add_distractors(
            num_distractors=num_objects, all_unique=False
        )
        return objects

    def _furnish_two_rooms(self) -> list[WorldObj]:
        """Locks one room; its key, the distractors and the agent are in the other."""
        color = self.draw(DOOR_COLORS)
        locked, door = self._draw_locked_room(color)
        while (column := self._rand_int(0, self.num_cols)) == locked:
            pass
        self.add_object(column, 0, "key", color)
        self.add_distractors(column, 0, num_distractors=self.num_dists, all_unique=False)
        self.place_agent()
        while self.room_from_pos(*self.agent_pos) is self.get_room(locked, 0):
            self.place_agent()
        return [door]

    def _draw_locked_room(self, color: str) -> tuple[int, WorldObj]:
        """Draws until the wall drawn joins two rooms."""
        while True:
            column, side = self._rand_int(0, self.num_cols), self._rand_int(0, 4)
            if self.get_room(column, 0).neighbors[side] is not None:
                door, _ = self.add_door(column, 0, side, color=color, locked=True)
                return column, door


@functools.cache
def level(kind: str, num_dists: int) -> MixedLevel:
    """Returns the shared level generator of a kind of task."""
    return MixedLevel(kind, num_dists)


def random_generator(seed: int | None) -> np.random.Generator:
    """Returns a generator seeded as gymnasium seeds an environment; None draws a seed."""
    return np.random.Generator(np.random.PCG64(seed))


def _clauses(instr: verifier.Instr) -> tuple[verifier.Instr, ...]:
    """Returns the parts of an instruction in the order in which they are to be done."""
    if isinstance(instr, verifier.BeforeInstr):
        return instr.instr_a, instr.instr_b
    if isinstance(instr, verifier.AfterInstr):
        return instr.instr_b, instr.instr_a
    return (instr,)


def _named_by(clause: Any) -> list[verifier.ObjDesc]:
    if isinstance(clause, verifier.PutNextInstr):
        return [clause.desc_move, clause.desc_fixed]
    return [clause.desc]


def _looks_named(instr: verifier.Instr) -> set[tuple[str | None, str]]:
    descriptions = (found for clause in _clauses(instr) for found in _named_by(clause))
    return {(description.color, description.type) for description in descriptions}


def _goals(instr: verifier.Instr) -> tuple[Goal, ...]:
    return tuple(_goal(clause) for clause in _clauses(instr))


def _goal(clause: verifier.Instr) -> Goal:
    if isinstance(clause, verifier.OpenInstr):
        return OpenDoor()
    targets = [item(named.type, named.color) for named in _named_by(clause)]
    if isinstance(clause, verifier.PutNextInstr):
        return PutNext(*targets)
    return (PickUp if isinstance(clause, verifier.PickupInstr) else GoTo)(*targets)


def _items(cells: Sequence[WorldObj | None]) -> dict[int, Item]:
    return {
        cell: item(thing.type, thing.color, _door_state(thing))
        for cell, thing in enumerate(cells)
        if thing is not None and thing.type != "wall"
    }


def _door_state(thing: Any) -> str | None:
    if thing.type != "door":
        return None
    return OPEN if thing.is_open else LOCKED if thing.is_locked else CLOSED
