"""What to do next for a mission, given what is known of the world."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.offline.grammar import DROP, GO_TO, OPEN, PICK_UP, PUT, TOGGLE, Thing

if TYPE_CHECKING:
    from pytest_babyai.offline.grammar import Clause, Mission
    from pytest_babyai.offline.world import World


class Goal(NamedTuple):
    """The next thing to bring about.

    Attributes:
        target: What to go to; None if the action needs no more than a free cell ahead.
        action: What to do there; None if being there is enough.
    """

    target: Thing | None
    action: str | None

    @property
    def is_beside(self) -> bool:
        """Whether to drop something beside the target rather than to face it."""
        return self.target is not None and self.action == DROP


PUT_DOWN = Goal(None, DROP)


def next_goal(mission: Mission, world: World) -> Goal | None:
    """Returns what the mission asks for next; None for a mission that was not understood."""
    for clause in mission:
        if clause is mission[-1] or not _is_done(clause, world):
            return _goal_of(clause, world)
    return None


def _is_done(clause: Clause, world: World) -> bool:
    if clause.verb == PICK_UP:
        return world.carrying is not None and world.carrying.fits(clause.target)
    if clause.verb == GO_TO:
        return any(thing.fits(clause.target) for thing in world.faced)
    if clause.verb == OPEN:
        doors = world.cells_of(clause.target)
        return any(world.things[cell].state == "open" for cell in doors)
    return False


def _goal_of(clause: Clause, world: World) -> Goal:
    if clause.verb == OPEN:
        return _opening(clause.target, world)
    if clause.verb == GO_TO:
        return Goal(clause.target, None)
    holds_target = world.carrying is not None and world.carrying.fits(clause.target)
    if clause.verb == PUT and holds_target:
        return Goal(clause.beside, DROP)
    if world.carrying is not None and not holds_target:
        return PUT_DOWN
    return Goal(clause.target, PICK_UP)


def _opening(door: Thing, world: World) -> Goal:
    known = world.cells_of(door)
    colour = world.things[known[0]].colour if known else door.colour
    if known and world.things[known[0]].state != "locked":
        return Goal(door, TOGGLE)
    key = Thing("key", colour)
    if world.carrying is not None:
        return Goal(door, TOGGLE) if world.carrying.fits(key) else PUT_DOWN
    return Goal(key, PICK_UP) if known or world.cells_of(key) else Goal(door, TOGGLE)
