"""What to do next for a mission, and two ways to choose a move: at a glance, and by working it out.

A language model computes as it writes. One that must answer at once has room for a glance at where
the target is; one that thinks aloud can follow a route cell by cell. `glance` and `work_out` are
these two.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.offline.language import (
    DROP,
    GO_FORWARD,
    GO_TO,
    OPEN,
    PICK_UP,
    PUT,
    TOGGLE,
    TURN_LEFT,
    TURN_RIGHT,
    Thing,
)
from pytest_babyai.offline.world import (
    after,
    ahead_of,
    cells_between,
    cells_in_view,
    neighbours,
    offset_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_babyai.offline.language import Clause, Mission
    from pytest_babyai.offline.world import Cell, Pose, World


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


MOVES = (GO_FORWARD, TURN_LEFT, TURN_RIGHT)
MAX_EXPANSIONS = 120
"""Poses that are considered for one route; more would be more than anyone writes down."""
MAX_LOOKOUTS = 40
"""Poses that are compared as the next place to look around from."""
ROOM_MARGIN = 2
"""How far a room is taken to go on beyond what was seen of it, where no wall was seen."""


class Plan(NamedTuple):
    """Actions to take, the first one next.

    Attributes:
        actions: At least one.
        finds: Cells that would come into view for the first time; 0 if the plan leads to the
            target.
    """

    actions: tuple[str, ...]
    finds: int = 0


def is_there(goal: Goal, world: World, pose: Pose, targets: Collection[Cell]) -> bool:
    """Tells whether the goal's action can be taken at this pose."""
    ahead = ahead_of(pose)
    if goal.target is None:
        return world.is_free(ahead)
    if goal.action == DROP:
        return (
            ahead not in world.things
            and world.is_free(ahead)
            and any(cell in targets for cell in neighbours(ahead))
        )
    return ahead in targets


def glance(goal: Goal, world: World, target: Cell) -> str | None:
    """Heads straight for a cell, seeing no further than the next move.

    Returns:
        The move; None where the straight way is blocked.
    """
    if is_there(goal, world, world.pose, (target,)):
        return goal.action
    right, forward = offset_of(target, world.pose)
    is_free = world.is_free(ahead_of(world.pose))
    if forward > 0 and is_free:
        return GO_FORWARD
    if right and not (forward == 1 and goal.is_beside and abs(right) == 1):
        return TURN_RIGHT if right > 0 else TURN_LEFT
    return TURN_RIGHT if forward < 0 else None


def work_out(goal: Goal, world: World, targets: Collection[Cell]) -> Plan | None:
    """Finds the shortest sequence of actions, by A* search over poses.

    Cells that were never seen count as free. A*: Hart, Nilsson and Raphael 1968.

    Returns:
        The plan, the goal's own action included; None if there is no way or none within
        `MAX_EXPANSIONS`.
    """
    start = world.pose
    came: dict[Pose, tuple[Pose, str] | None] = {start: None}
    queue: list[tuple[int, int, int, Pose]] = [(0, 0, 0, start)]
    for order in range(1, MAX_EXPANSIONS):
        if not queue:
            return None
        _, _, cost, pose = heapq.heappop(queue)
        if is_there(goal, world, pose, targets):
            actions = (*_trace(came, pose), *([goal.action] if goal.action else ()))
            return Plan(actions) if actions else None
        for action in MOVES:
            following = after(pose, action)
            if following not in came and (action != GO_FORWARD or world.is_free(following[:2])):
                came[following] = (pose, action)
                estimate = cost + 1 + _fewest_moves(goal, following, targets)
                heapq.heappush(queue, (estimate, -order, cost + 1, following))
    return None


def _fewest_moves(goal: Goal, pose: Pose, targets: Collection[Cell]) -> int:
    """Returns a lower bound of the moves that are left: cells to walk, and turns if sure."""
    fewest = 0
    for index, target in enumerate(targets):
        right, forward = offset_of(target, pose)
        moves = abs(right) + abs(forward) - 2
        if not goal.is_beside:
            moves += 1 + _fewest_turns(right, forward)
        fewest = moves if index == 0 else min(fewest, moves)
    return max(fewest, 0)


def _fewest_turns(right: int, forward: int) -> int:
    if forward < 0:
        return 2
    return 1 if right else 0


def _trace(came: dict[Pose, tuple[Pose, str] | None], pose: Pose) -> tuple[str, ...]:
    actions = []
    while (step := came[pose]) is not None:
        pose, action = step
        actions.append(action)
    return tuple(reversed(actions))


def explore(world: World) -> Plan | None:
    """Finds the moves that bring the most unseen cells into view for each action they take.

    Returns:
        The plan; None if everything within reach was seen.
    """
    unseen = _supposed_room(world) & ~world.seen()
    best: Plan | None = None
    came: dict[Pose, tuple[Pose, str] | None] = {world.pose: None}
    queue = deque([(world.pose, 0)])
    for _ in range(MAX_LOOKOUTS):
        if not queue or not unseen:
            break
        pose, cost = queue.popleft()
        finds = (cells_in_view(pose) & unseen).bit_count()
        if cost and finds and (best is None or finds * len(best.actions) > best.finds * cost):
            best = Plan(_trace(came, pose), finds)
        for action in MOVES:
            following = after(pose, action)
            if following not in came and (action != GO_FORWARD or world.is_free(following[:2])):
                came[following] = (pose, action)
                queue.append((following, cost + 1))
    return best


def _supposed_room(world: World) -> int:
    x, y, _heading = world.pose
    extents = [y, x, -y, -x]
    for cell_x, cell_y in world.things:
        extents = [
            max(extent, value)
            for extent, value in zip(extents, (cell_y, cell_x, -cell_y, -cell_x), strict=True)
        ]
    top, right, bottom, left = (
        extent + ROOM_MARGIN + 1 if limit is None else limit
        for extent, limit in zip(extents, world.limits, strict=True)
    )
    return cells_between(-left, right, -bottom, top)
