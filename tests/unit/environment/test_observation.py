# mypy: disallow-untyped-calls=False
"""Observations against an independent slow definition: minigrid's own picture of the view, put into
words by a plain describer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

from pytest_babyai.environment import TASKS, make_env
from pytest_babyai.environment.actions import ACTIONS
from pytest_babyai.environment.observation import describe
from pytest_babyai.environment.picture import _Canvas
from pytest_babyai.environment.world import Layout, World, item

if TYPE_CHECKING:
    import random

AGENT_COLUMN, AGENT_ROW = 3, 6
STATES = ("open", "closed", "locked")


def slow_description(world: World) -> str:
    """Describes minigrid's 7 x 7 encoding of the view, cell by cell."""
    image = _Canvas(world).gen_obs()["image"]
    names = [[IDX_TO_OBJECT[int(cell[0])] for cell in column] for column in image]
    lines = []
    if world.carrying is not None:
        lines.append(f"You carry a {world.carrying.color} {world.carrying.kind}")
    for heading, ray in {
        "forward": [names[AGENT_COLUMN][row] for row in (5, 4, 3, 2, 1, 0)],
        "left": [names[column][AGENT_ROW] for column in (2, 1, 0)],
        "right": [names[column][AGENT_ROW] for column in (4, 5, 6)],
    }.items():
        hit = next((i for i, name in enumerate(ray) if name not in {"unseen", "empty"}), None)
        if hit is not None and ray[hit] == "wall":
            lines.append(f"a wall {distance(hit + 1, heading)}")
    for column in range(7):
        for row in range(7):
            name = names[column][row]
            at_agent = (column, row) == (AGENT_COLUMN, AGENT_ROW)
            if name in {"unseen", "empty", "wall"} or at_agent:
                continue
            color = IDX_TO_COLOR[int(image[column][row][1])]
            state = f"{STATES[image[column][row][2]]} " if name == "door" else ""
            lines.append(f"a {state}{color} {name} {whereabouts(column, row)}")
    return "\n".join(lines)


def whereabouts(column: int, row: int) -> str:
    sideways = column - AGENT_COLUMN
    parts = [distance(abs(sideways), "right" if sideways > 0 else "left")] if sideways else []
    if row != AGENT_ROW:
        parts.append(distance(AGENT_ROW - row, "forward"))
    return " and ".join(parts)


def distance(steps: int, heading: str) -> str:
    return f"1 step {heading}" if steps == 1 else f"{steps} steps {heading}"


@given(st.sampled_from(TASKS), st.integers(0, 2**32), st.integers(0, 8), st.randoms())
def test_description_is_that_of_minigrid_s_view(
    task: str, seed: int, num_dists: int, rng: random.Random
) -> None:
    env = make_env("babyai", task, {"envs": {"babyai_kwargs": {"num_dists": num_dists}}})
    env.reset(seed=seed)
    for _ in range(15):
        observation, *_ = env.step(rng.choice([*ACTIONS, "go forward", "pick up", "toggle"]))
        assert observation["text"]["long_term_context"] == slow_description(env._episode.world)


@given(st.data())
def test_description_holds_in_any_furnished_rooms(data: st.DataObject) -> None:
    world = World(data.draw(layouts()))
    world.carrying = data.draw(st.sampled_from([None, item("ball", "red")]))
    assert describe(world) == slow_description(world)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Two rooms whose wall has a door in any state, strewn with objects and further walls."""
    width, height = 15, 8
    border = {
        y * width + x
        for y in range(height)
        for x in range(width)
        if x in {0, 7, width - 1} or y in {0, height - 1}
    }
    door = draw(st.integers(1, height - 2)) * width + 7
    free = sorted(set(range(width * height)) - border)
    position, *cells = draw(st.permutations(free))
    pillars = draw(st.integers(0, 6))
    things = st.sampled_from([item("key", "blue"), item("box", "grey"), item("ball", "purple")])
    items = {cell: draw(things) for cell in cells[pillars : pillars + draw(st.integers(0, 10))]}
    items[door] = item("door", "green", draw(st.sampled_from(STATES)))
    walls = sum(1 << cell for cell in (border - {door}) | set(cells[:pillars]))
    agent = (draw(st.sampled_from([position, position, door])), draw(st.integers(0, 3)))
    if agent[0] == door:
        items[door] = item("door", "green", "open")
    return Layout(width, height, walls, items, agent, "go", (), 1)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ("open", "a open red door 2 steps forward"),
        ("closed", "a closed red door 2 steps forward"),
        ("locked", "a locked red door 2 steps forward"),
    ],
)
def test_doors_are_described_with_their_state(state: str, line: str) -> None:
    world = corridor({3: item("door", "red", state)})
    assert line in describe(world).splitlines()


def test_open_door_shows_what_is_behind_it() -> None:
    key = item("key", "blue")
    shut, opened = (
        describe(corridor({3: item("door", "red", state), 4: key})) for state in ("closed", "open")
    )
    assert "blue key" not in shut
    assert "a blue key 3 steps forward" in opened.splitlines()


def test_nothing_in_sight_is_an_empty_text() -> None:
    width = 21
    walls = sum(1 << (y * width + x) for y in range(width) for x in range(width) if y in {0, 20})
    world = World(Layout(width, width, walls, {}, (10 * width + 10, 0), "go", (), 1))
    assert describe(world) == ""


def corridor(items: dict[int, object]) -> World:
    """A corridor of one row; keys of ``items`` are columns, and the agent looks along it."""
    width = 8
    walls = sum(
        1 << cell for cell in range(3 * width) if cell // width != 1 or cell % width in {0, 7}
    )
    placed = {width + column: thing for column, thing in items.items()}
    return World(Layout(width, 3, walls, placed, (width + 1, 0), "go", (), 1))  # type: ignore[arg-type]
