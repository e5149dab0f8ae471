"""What the agent sees, in words.

The agent looks ahead through a square of seven by seven cells, itself in the middle of the nearest
row; walls and shut doors hide what is behind them. Which cells a pose shows depends on nothing that
an ordinary step changes, so it is worked out once for every pose and kept (`look`). An observation
is then a few look-ups, one for each object in the world.

Wording and order follow BALROG's BabyAI-Text: what is carried; the wall straight ahead, to the left
and to the right where no object stands between; then objects from left to right, far to near.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_babyai.environment.world import World

VIEW_SIZE = 7
_REACH = VIEW_SIZE // 2
_ROW = (1 << VIEW_SIZE) - 1
_CENTER = 1 << _REACH

# Forward and rightward unit vectors (x, y) by direction: right, down, left, up.
_AXES = (((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0)))


class Place(NamedTuple):
    """A visible cell relative to the agent; sorts in the order of description."""

    right: int
    nearness: int
    words: str


class Outlook(NamedTuple):
    """A wall that is seen unless an object stands on one of the cells before it."""

    line: str
    before: tuple[int, ...]


class Sight(NamedTuple):
    """All that a pose shows.

    Attributes:
        places: Visible cells that are no walls, the agent's own left out, by cell number.
        outlooks: Walls straight ahead, to the left and to the right, as far as there are any.
    """

    places: dict[int, Place]
    outlooks: tuple[Outlook, ...]


def describe(world: World) -> str:
    """Returns the observation, one line for each thing seen; empty if there is nothing."""
    layout, items = world.layout, world.items
    sight = look(layout.width, layout.walls, world.opaque, world.position, world.direction)
    lines = [] if world.carrying is None else [f"You carry a {world.carrying.name}"]
    occupied = items.keys()
    lines += [line for line, before in sight.outlooks if occupied.isdisjoint(before)]
    places = sight.places
    seen = [(places[cell], thing.name) for cell, thing in items.items() if cell in places]
    if len(seen) > 1:
        seen.sort()
    lines += [f"a {name} {place.words}" for place, name in seen]
    return "\n".join(lines)


@functools.lru_cache(maxsize=8192)
def look(width: int, walls: int, opaque: int, position: int, direction: int) -> Sight:
    """Returns what is in sight from a pose.

    Args:
        width: Cells in a row of the grid.
        walls: Cells that are walls, one bit a cell.
        opaque: Cells that hide what is behind them, one bit a cell, walls included.
        position: The agent's cell.
        direction: 0 is right, 1 down, 2 left, 3 up.
    """
    # the last cell of a grid is a wall, so that the walls tell its height
    view = _View(width, walls.bit_length() // width, position, direction)
    visible = [
        (right, ahead)
        for ahead, row in enumerate(_visible_rows(view, opaque))
        for right in range(-_REACH, _REACH + 1)
        if row >> (right + _REACH) & 1
    ]
    places = {
        cell: Place(right, -ahead, _words(right, ahead))
        for right, ahead in visible
        if (right, ahead) != (0, 0)
        and (cell := view.cell(right, ahead)) is not None
        and not walls >> cell & 1
    }
    return Sight(places, tuple(_outlooks(view, walls, set(visible))))


class _View(NamedTuple):
    """Maps cells relative to the agent to cells of the grid."""

    width: int
    height: int
    position: int
    direction: int

    def cell(self, right: int, ahead: int) -> int | None:
        """Returns the number of a cell, None beyond the grid, where all is wall."""
        (ahead_x, ahead_y), (right_x, right_y) = _AXES[self.direction]
        x = self.position % self.width + ahead * ahead_x + right * right_x
        y = self.position // self.width + ahead * ahead_y + right * right_y
        inside = 0 <= x < self.width and 0 <= y < self.height
        return y * self.width + x if inside else None


def _visible_rows(view: _View, opaque: int) -> list[int]:
    """Spreads light from the agent's cell, row by row, one bit a cell.

    Light passes sideways through clear cells of a row, and from each lit clear cell to the three
    nearest cells of the row ahead; this is minigrid's rule, which is not quite geometric.
    """
    rows = []
    lit = _CENTER
    for ahead in range(VIEW_SIZE):
        clear = 0
        for right in range(-_REACH, _REACH + 1):
            cell = view.cell(right, ahead)
            if cell is not None and not opaque >> cell & 1:
                clear |= 1 << (right + _REACH)
        while (spread := lit | _widen(lit & clear)) != lit:
            lit = spread
        rows.append(lit)
        lit = _widen(lit & clear)
    return rows


def _widen(row: int) -> int:
    return (row | row << 1 | row >> 1) & _ROW


def _outlooks(view: _View, walls: int, visible: set[tuple[int, int]]) -> list[Outlook]:
    rays = (
        ("forward", [(0, steps) for steps in range(1, VIEW_SIZE)]),
        ("left", [(-steps, 0) for steps in range(1, _REACH + 1)]),
        ("right", [(steps, 0) for steps in range(1, _REACH + 1)]),
    )
    found = []
    for heading, ray in rays:
        before: list[int] = []
        for steps, spot in enumerate(ray, start=1):
            if spot not in visible:
                continue
            cell = view.cell(*spot)
            if cell is None or walls >> cell & 1:
                found.append(Outlook(f"a wall {_steps(steps)} {heading}", tuple(before)))
                break
            before.append(cell)
    return found


def _words(right: int, ahead: int) -> str:
    parts = []
    if right:
        parts.append(f"{_steps(abs(right))} {'right' if right > 0 else 'left'}")
    if ahead:
        parts.append(f"{_steps(ahead)} forward")
    return " and ".join(parts)


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"
