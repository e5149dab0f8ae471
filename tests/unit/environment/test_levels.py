from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.environment import TASKS
from pytest_babyai.environment.levels import level, random_generator
from pytest_babyai.environment.world import GoTo, Layout, OpenDoor, PickUp, PutNext

SEEDS = st.integers(0, 2**40)


def generate(task: str, seed: int, num_dists: int = 0) -> Layout:
    return level(task, num_dists).generate(random_generator(seed))


@pytest.mark.parametrize(
    ("task", "goals"),
    [
        ("goto", (GoTo,)),
        ("pickup", (PickUp,)),
        ("open", (OpenDoor,)),
        ("putnext", (PutNext,)),
        ("pick_up_seq_go_to", (PickUp, GoTo)),
    ],
)
def test_goals_are_those_of_the_task(task: str, goals: tuple[type, ...]) -> None:
    for seed in range(20):
        assert tuple(map(type, generate(task, seed).goals)) == goals


@given(SEEDS, st.integers(0, 5))
def test_what_is_named_is_there(seed: int, num_dists: int) -> None:
    layout = generate("putnext", seed, num_dists)
    (goal,) = layout.goals
    assert isinstance(goal, PutNext)
    assert {goal.target, goal.neighbor} <= set(layout.items.values())
    assert f"put {article(layout, goal.target.name)} next to" in layout.mission


def article(layout: Layout, name: str) -> str:
    count = sum(thing.name == name for thing in layout.items.values())
    return f"{'the' if count == 1 else 'a'} {name}"


@given(SEEDS)
def test_key_and_agent_are_on_the_same_side_of_the_locked_door(seed: int) -> None:
    layout = generate("open", seed)
    column = {thing.kind: cell % layout.width for cell, thing in layout.items.items()}
    assert column["door"] == 7
    agent_column = layout.agent[0] % layout.width
    assert (column["key"] < column["door"]) == (agent_column < column["door"])
    (key,) = (thing for thing in layout.items.values() if thing.kind == "key")
    (door,) = (thing for thing in layout.items.values() if thing.kind == "door")
    assert (key.color, door.state) == (door.color, "locked")


@given(st.sampled_from(TASKS), SEEDS, st.integers(0, 8))
def test_objects_can_be_reached_without_moving_others(task: str, seed: int, num_dists: int) -> None:
    layout = generate(task, seed, num_dists)
    reached, to_visit = set(), [layout.agent[0]]
    while to_visit:
        cell = to_visit.pop()
        if cell in reached or layout.walls >> cell & 1:
            continue
        reached.add(cell)
        thing = layout.items.get(cell)
        if thing is None or thing.kind == "door":
            to_visit += [cell - 1, cell + 1, cell - layout.width, cell + layout.width]
    assert layout.items.keys() <= reached


def test_threads_share_a_level_without_mixing_up_episodes() -> None:
    alone = [generate("open", seed, 3) for seed in range(100)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda seed: generate("open", seed, 3), range(100)))
    assert together == alone
