from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pytest_babyai.environment.actions import ACTIONS
from pytest_babyai.environment.world import (
    Event,
    Goal,
    GoTo,
    Item,
    Layout,
    MissionProgress,
    OpenDoor,
    PickUp,
    PutNext,
    World,
    item,
)

RED_BALL, BLUE_KEY, GREY_BOX = item("ball", "red"), item("key", "blue"), item("box", "grey")
WIDTH = 7


def cell(x: int, y: int) -> int:
    return y * WIDTH + x


def make_world(items: dict[int, Item], *goals: Goal, direction: int = 0) -> World:
    """A walled square of 7 x 7 cells, the agent at (2, 3)."""
    border = (c for c in range(WIDTH * WIDTH) if {c % WIDTH, c // WIDTH} & {0, WIDTH - 1})
    walls = sum(1 << c for c in border)
    agent = (cell(2, 3), direction)
    return World(Layout(WIDTH, WIDTH, walls, items, agent, "go", goals, 64))


def play(world: World, *actions: str) -> list[bool]:
    """Takes actions and returns after which of them the mission was complete."""
    progress = MissionProgress(world.layout)
    return [progress.advance(world, Event(name, ACTIONS[name](world))) for name in actions]


def test_turning_goes_round() -> None:
    world = make_world({})
    for expected in (3, 2, 1, 0):
        ACTIONS["turn left"](world)
        assert world.direction == expected
    for expected in (1, 2, 3, 0):
        ACTIONS["turn right"](world)
        assert world.direction == expected


@pytest.mark.parametrize(
    ("direction", "target"), [(0, (3, 3)), (1, (2, 4)), (2, (1, 3)), (3, (2, 2))]
)
def test_go_forward_moves_one_cell(direction: int, target: tuple[int, int]) -> None:
    world = make_world({}, direction=direction)
    ACTIONS["go forward"](world)
    assert world.position == cell(*target)


@pytest.mark.parametrize(
    "obstacle", [RED_BALL, item("door", "red", "closed"), item("door", "red", "locked")]
)
def test_objects_and_shut_doors_block(obstacle: Item) -> None:
    world = make_world({cell(3, 3): obstacle})
    ACTIONS["go forward"](world)
    assert world.position == cell(2, 3)


def test_walls_block() -> None:
    world = make_world({}, direction=2)
    for _ in range(3):
        ACTIONS["go forward"](world)
    assert world.position == cell(1, 3)


def test_an_open_door_can_be_walked_through() -> None:
    world = make_world({cell(3, 3): item("door", "red", "open")})
    ACTIONS["go forward"](world)
    assert world.position == cell(3, 3)


def test_pick_up_and_drop_move_the_object() -> None:
    world = make_world({cell(3, 3): RED_BALL})
    assert ACTIONS["pick up"](world) is RED_BALL
    assert (world.carrying, world.items) == (RED_BALL, {})
    ACTIONS["turn left"](world)
    assert ACTIONS["drop"](world) is RED_BALL
    assert (world.carrying, world.items) == (None, {cell(2, 2): RED_BALL})


def test_full_hands_pick_up_nothing() -> None:
    world = make_world({cell(3, 3): RED_BALL})
    world.carrying = BLUE_KEY
    assert ACTIONS["pick up"](world) is None
    assert world.carrying is BLUE_KEY


@pytest.mark.parametrize("obstacle", [RED_BALL, item("door", "red", "open")])
def test_nothing_can_be_dropped_on_something(obstacle: Item) -> None:
    world = make_world({cell(3, 3): obstacle})
    world.carrying = BLUE_KEY
    assert ACTIONS["drop"](world) is None
    assert world.carrying is BLUE_KEY


def test_nothing_can_be_dropped_into_a_wall() -> None:
    world = make_world({}, direction=2)
    world.carrying = BLUE_KEY
    ACTIONS["go forward"](world)
    assert ACTIONS["drop"](world) is None


def test_toggling_a_box_removes_it() -> None:
    world = make_world({cell(3, 3): GREY_BOX})
    ACTIONS["toggle"](world)
    assert world.items == {}


@pytest.mark.parametrize(
    ("held", "state"),
    [(None, "locked"), (item("key", "red"), "locked"), (item("ball", "blue"), "locked"),
     (BLUE_KEY, "open")],
)  # fmt: skip
def test_only_the_key_of_its_color_unlocks_a_door(held: Item | None, state: str) -> None:
    world = make_world({cell(3, 3): item("door", "blue", "locked")})
    world.carrying = held
    ACTIONS["toggle"](world)
    assert world.items[cell(3, 3)].state == state


def test_an_unlocked_door_opens_and_closes_without_key() -> None:
    world = make_world({cell(3, 3): item("door", "blue", "closed")})
    opaque = world.opaque
    ACTIONS["toggle"](world)
    assert world.items[cell(3, 3)].state == "open"
    assert world.opaque == opaque & ~(1 << cell(3, 3))
    ACTIONS["toggle"](world)
    assert (world.items[cell(3, 3)].state, world.opaque) == ("closed", opaque)


def test_a_layout_outlives_the_episode_unchanged() -> None:
    world = make_world({cell(3, 3): RED_BALL})
    ACTIONS["pick up"](world)
    assert world.layout.items == {cell(3, 3): RED_BALL}


def test_go_to_is_reached_by_facing_the_object() -> None:
    world = make_world({cell(2, 2): RED_BALL}, GoTo(RED_BALL))
    assert play(world, "turn right", "turn left", "turn left") == [False, False, True]


def test_go_to_remembers_the_place_until_something_is_dropped() -> None:
    world = make_world({cell(3, 3): RED_BALL}, GoTo(RED_BALL))
    assert play(world, "pick up", "toggle", "turn left") == [True, True, False]
    assert play(world, "drop") == [True]


def test_pick_up_wants_the_object_itself() -> None:
    world = make_world({cell(3, 3): BLUE_KEY, cell(2, 2): RED_BALL}, PickUp(RED_BALL))
    steps = ("pick up", "turn right", "drop", "turn left", "turn left", "pick up")
    assert play(world, *steps) == [False] * 5 + [True]


def test_open_is_reached_by_opening_only() -> None:
    world = make_world({cell(3, 3): item("door", "red", "open")}, OpenDoor())
    assert play(world, "toggle", "toggle", "go forward") == [False, True, False]


def test_put_next_counts_no_diagonals() -> None:
    items = {cell(3, 3): RED_BALL, cell(3, 2): BLUE_KEY}
    world = make_world(items, PutNext(RED_BALL, BLUE_KEY))
    beside = ("pick up", "drop")
    assert play(world, *beside) == [False, True]
    diagonal = ("pick up", "turn right", "drop")
    assert play(world, *diagonal) == [False] * 3


def test_clauses_count_in_their_order_only() -> None:
    items = {cell(3, 3): RED_BALL, cell(2, 2): BLUE_KEY}
    world = make_world(items, PickUp(RED_BALL), GoTo(BLUE_KEY))
    steps = ("turn left", "turn right", "pick up", "turn left")
    assert play(world, *steps) == [False, False, False, True]


def test_one_event_may_reach_two_clauses() -> None:
    world = make_world({cell(3, 3): RED_BALL}, PickUp(RED_BALL), GoTo(RED_BALL))
    assert play(world, "pick up") == [True]


def test_equal_items_are_one_object_in_all_threads() -> None:
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: item("door", "red", "open"), range(200)))
    assert len({id(thing) for thing in found}) == 1
    assert item("key", "red") is item("key", "red", None)
