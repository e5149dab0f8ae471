"""The six actions: their names, what they do to a world, and the prompt that explains them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.environment.world import CLOSED, LOCKED, OPEN, item

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.environment.world import Item, World

DEFAULT_ACTION = "go forward"
"""Taken in place of a candidate that names no action."""

NUM_DIRECTIONS = 4


def _turn_left(world: World) -> None:
    world.direction = (world.direction - 1) % NUM_DIRECTIONS


def _turn_right(world: World) -> None:
    world.direction = (world.direction + 1) % NUM_DIRECTIONS


def _go_forward(world: World) -> None:
    front = world.front
    obstacle = world.items.get(front)
    if (obstacle is None or obstacle.state == OPEN) and not world.is_wall(front):
        world.position = front


def _pick_up(world: World) -> Item | None:
    front = world.front
    thing = world.items.get(front)
    if thing is None or thing.kind == "door" or world.carrying is not None:
        return None
    world.carrying = world.items.pop(front)
    return thing


def _drop(world: World) -> Item | None:
    front = world.front
    thing = world.carrying
    if thing is None or front in world.items or world.is_wall(front):
        return None
    world.items[front] = thing
    world.carrying = None
    return thing


def _toggle(world: World) -> None:
    front = world.front
    thing = world.items.get(front)
    if thing is None:
        return
    if thing.kind == "box":
        del world.items[front]  # boxes are replaced by their contents, and these are empty
    elif thing.kind == "door":
        _toggle_door(world, front, thing)


def _toggle_door(world: World, cell: int, door: Item) -> None:
    if door.state == LOCKED and world.carrying is not item("key", door.color):
        return
    world.items[cell] = item("door", door.color, CLOSED if door.state == OPEN else OPEN)
    world.opaque ^= 1 << cell


ACTIONS: dict[str, Callable[[World], Item | None]] = {
    "turn left": _turn_left,
    "turn right": _turn_right,
    DEFAULT_ACTION: _go_forward,
    "pick up": _pick_up,
    "drop": _drop,
    "toggle": _toggle,
}
"""What each action does, in the order of minigrid's action numbers; returns the item it moved."""

_MEANINGS = {
    "turn left": "turn to the left",
    "turn right": "turn to the right",
    "go forward": "take one step forward",
    "pick up": "pick up the object below you",
    "drop": "drop the object that you are holding",
    "toggle": "manipulate the object in front of you",
}

_PROMPT = """\
You are an agent playing a simple navigation game. Your goal is to {mission}. The following are \
the possible actions you can take in the game, followed by a short description of each action:

{actions}.

In a moment I will present you an observation.

Tips:
- Once the desired object you want to interact or pickup in front of you, you can use the \
'toggle' action to interact with it.
- It doesn't make sense to repeat the same action over and over if the observation doesn't change.

PLAY!"""


def instruction_prompt(mission: str) -> str:
    """Returns the system prompt of BALROG (Paglieri et al., 2024, MIT licence) for a mission.

    It is part of the benchmark: an agent that is given another text plays another one.
    """
    actions = ",\n".join(f"{name}: {meaning}" for name, meaning in _MEANINGS.items())
    return _PROMPT.format(mission=mission, actions=actions)
