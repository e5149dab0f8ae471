"""What the model makes of a prompt: a map of what it saw, drawn by dead reckoning.

Cells are ``(x, y)``; the agent's first known cell is ``(0, 0)`` and it faces heading 0, towards
larger y. Headings go on clockwise. Sets of cells are integers, one bit a cell, since most
questions are "which of these have I not seen": rooms are small, and what lies `_ORIGIN` or more
cells away is not kept track of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.offline.language import GO_FORWARD, TURN_LEFT, TURN_RIGHT, Thing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_babyai.offline.language import View

Cell = tuple[int, int]
Pose = tuple[int, int, int]
"""``(x, y, heading)``."""

HEADINGS: tuple[Cell, ...] = ((0, 1), (1, 0), (0, -1), (-1, 0))
VIEW_AHEAD = 6
VIEW_ASIDE = 3

_ORIGIN = 32
_SIZE = 2 * _ORIGIN
_COLUMNS = tuple(sum(1 << (_SIZE * row) for row in range(count)) for count in range(_SIZE + 1))


def cells_between(left: int, right: int, bottom: int, top: int) -> int:
    """Returns the set of cells of a rectangle, its edges included."""
    left, bottom = max(left + _ORIGIN, 0), max(bottom + _ORIGIN, 0)
    width = min(right + _ORIGIN, _SIZE - 1) - left + 1
    height = min(top + _ORIGIN, _SIZE - 1) - bottom + 1
    if width <= 0 or height <= 0:
        return 0
    return (((1 << width) - 1) * _COLUMNS[height]) << (bottom * _SIZE + left)


def cells_in_view(pose: Pose) -> int:
    """Returns the set of cells that an agent sees as far as no wall hides them."""
    x, y, heading = pose
    if heading == 0:
        return cells_between(x - VIEW_ASIDE, x + VIEW_ASIDE, y, y + VIEW_AHEAD)
    if heading == 1:
        return cells_between(x, x + VIEW_AHEAD, y - VIEW_ASIDE, y + VIEW_ASIDE)
    if heading == 2:  # noqa: PLR2004
        return cells_between(x - VIEW_ASIDE, x + VIEW_ASIDE, y - VIEW_AHEAD, y)
    return cells_between(x - VIEW_AHEAD, x, y - VIEW_ASIDE, y + VIEW_ASIDE)


def ahead_of(pose: Pose) -> Cell:
    """Returns the cell in front."""
    x, y, heading = pose
    step_x, step_y = HEADINGS[heading]
    return x + step_x, y + step_y


def offset_of(cell: Cell, pose: Pose) -> Cell:
    """Returns the cell as seen from the pose: steps right, steps forward."""
    x, y, heading = pose
    delta_x, delta_y = cell[0] - x, cell[1] - y
    ahead_x, ahead_y = HEADINGS[heading]
    return delta_x * ahead_y - delta_y * ahead_x, delta_x * ahead_x + delta_y * ahead_y


def after(pose: Pose, action: str) -> Pose:
    """Returns the pose after an action that succeeds."""
    x, y, heading = pose
    if action == TURN_LEFT:
        return x, y, (heading - 1) % 4
    if action == TURN_RIGHT:
        return x, y, (heading + 1) % 4
    return (*ahead_of(pose), heading) if action == GO_FORWARD else pose


class World:
    """A map of what the observations told, and where the agent is on it.

    Attributes:
        pose: Where the agent is and faces.
        things: What was last seen in each cell.
        limits: For every heading, how far the room is known to reach that way; None if no wall was
            seen.
        lookouts: Poses from which the world was seen, the current one last.
        carrying: What the agent holds.
        faced: Things that were right in front of the agent at some time.
    """

    def __init__(self) -> None:
        self.pose: Pose = (0, 0, 0)
        self.things: dict[Cell, Thing] = {}
        self.limits: list[int | None] = [None, None, None, None]
        self.lookouts: list[Pose] = []
        self.carrying: Thing | None = None
        self.faced: list[Thing] = []

    @classmethod
    def recollect(cls, history: Sequence[tuple[View, str]], view: View) -> World:
        """Follows the history step by step up to the current observation."""
        world = cls()
        for past_view, action in history:
            world._look(past_view)
            if action != GO_FORWARD or not past_view.is_blocked:
                world.pose = after(world.pose, action)
        world._look(view)
        return world

    def _look(self, view: View) -> None:
        x, y, heading = self.pose
        (right_x, right_y), (ahead_x, ahead_y) = HEADINGS[(heading + 1) % 4], HEADINGS[heading]
        self.lookouts.append(self.pose)
        self.carrying = view.carrying
        along = x * ahead_x + y * ahead_y, x * right_x + y * right_y
        for side, distance in enumerate(view.walls):
            if distance:
                start = along[side % 2] if side < 2 else -along[side % 2]  # noqa: PLR2004
                self.limits[(heading + side) % 4] = start + distance - 1
        for cell in [cell for cell in self.things if self._sees(cell)]:
            del self.things[cell]
        for (right, forward), thing in view.things:
            cell = x + right * right_x + forward * ahead_x, y + right * right_y + forward * ahead_y
            self.things[cell] = thing
            if (right, forward) == (0, 1):
                self.faced.append(thing)

    def _sees(self, cell: Cell) -> bool:
        right, forward = offset_of(cell, self.pose)
        is_near = -VIEW_ASIDE <= right <= VIEW_ASIDE and 0 <= forward <= VIEW_AHEAD
        return is_near and self.is_within_walls(cell)

    def seen(self) -> int:
        """Returns the set of cells that were in view, if no wall lies between."""
        cells = 0
        for pose in self.lookouts:
            cells |= cells_in_view(pose)
        return cells

    def is_free(self, cell: Cell) -> bool:
        """Tells whether the agent could enter the cell, as far as it is known."""
        thing = self.things.get(cell)
        if thing is not None:
            return thing.state == "open"
        return self.is_within_walls(cell)

    def is_within_walls(self, cell: Cell) -> bool:
        """Tells whether the cell lies on this side of every wall that is known."""
        x, y = cell
        top, right, bottom, left = self.limits
        return not (
            (top is not None and y > top)
            or (right is not None and x > right)
            or (bottom is not None and -y > bottom)
            or (left is not None and -x > left)
        )

    def cells_of(self, description: Thing) -> list[Cell]:
        """Returns where things of this description are known to be, nearest first."""
        cells = [cell for cell, thing in self.things.items() if thing.fits(description)]
        return sorted(cells, key=self.distance_to)

    def distance_to(self, cell: Cell) -> int:
        """Returns the number of cells to walk where nothing is in the way."""
        return abs(cell[0] - self.pose[0]) + abs(cell[1] - self.pose[1])


def neighbours(cell: Cell) -> Iterator[Cell]:
    """Yields the four cells that share a side with this one."""
    return ((cell[0] + step_x, cell[1] + step_y) for step_x, step_y in HEADINGS)
