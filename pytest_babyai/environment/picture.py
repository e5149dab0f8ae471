# mypy: disallow-untyped-calls=False
"""Pictures of a world, drawn by minigrid; only ever made when somebody asks for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Wall, WorldObj
from minigrid.minigrid_env import MiniGridEnv

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pytest_babyai.environment.world import Item, World

GRID_TILE_PIXELS = 32
VIEW_TILE_PIXELS = 16
"""The size that BALROG hands to its vision-language agents."""


def draw_grid(world: World) -> NDArray[np.uint8]:
    """Returns the whole grid with the agent's view highlighted, RGB."""
    picture: NDArray[np.uint8] = _Canvas(world).get_full_render(
        highlight=True, tile_size=GRID_TILE_PIXELS
    )
    return picture


def draw_view(world: World) -> NDArray[np.uint8]:
    """Returns what the agent sees, itself at the bottom and facing up, RGB."""
    picture: NDArray[np.uint8] = _Canvas(world).get_pov_render(tile_size=VIEW_TILE_PIXELS)
    return picture


class _Canvas(MiniGridEnv):
    """A minigrid environment that shows a world and cannot be played."""

    def __init__(self, world: World) -> None:
        width, height = world.layout.width, world.layout.height
        super().__init__(MissionSpace(mission_func=lambda: ""), width=width, height=height)
        cells = range(width * height)
        self.grid.grid = [Wall() if world.is_wall(cell) else None for cell in cells]
        for cell, thing in world.items.items():
            self.grid.grid[cell] = _minigrid_object(thing)
        self.agent_pos = (world.position % width, world.position // width)
        self.agent_dir = world.direction
        self.carrying: Any = world.carrying and _minigrid_object(world.carrying)

    def _gen_grid(self, width: int, height: int) -> None:
        """Generates nothing; the world is given."""


def _minigrid_object(thing: Item) -> Any:
    state = 0 if thing.state is None else STATE_TO_IDX[thing.state]
    return WorldObj.decode(OBJECT_TO_IDX[thing.kind], COLOR_TO_IDX[thing.color], state)
