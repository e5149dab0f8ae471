from __future__ import annotations

from pytest_babyai.offline.language import Thing, parse_view
from pytest_babyai.offline.world import World, offset_of

RED_BALL = Thing("ball", "red")


def recollect(*steps: tuple[str, str], now: str) -> World:
    return World.recollect([(parse_view(view), action) for view, action in steps], parse_view(now))


def test_a_thing_out_of_view_is_remembered_where_it_is() -> None:
    world = recollect(
        ("a wall 5 steps forward\na red ball 2 steps left and 3 steps forward", "turn right"),
        now="a wall 4 steps forward",
    )
    [cell] = world.cells_of(RED_BALL)
    assert offset_of(cell, world.pose) == (-3, -2)


def test_going_forward_moves_the_agent() -> None:
    world = recollect(("a red ball 3 steps left", "go forward"), now="a wall 3 steps forward")
    [cell] = world.cells_of(RED_BALL)
    assert offset_of(cell, world.pose) == (-3, -1)


def test_going_against_a_wall_moves_nobody() -> None:
    world = recollect(("a wall 1 step forward", "go forward"), now="a wall 1 step forward")
    assert world.pose == (0, 0, 0)


def test_going_against_an_object_moves_nobody() -> None:
    world = recollect(("a red ball 1 step forward", "go forward"), now="a red ball 1 step forward")
    assert world.pose == (0, 0, 0)


def test_a_thing_that_is_gone_is_forgotten() -> None:
    world = recollect(
        ("a wall 3 steps forward\na red ball 1 step forward", "pick up"),
        now="You carry a red ball\na wall 3 steps forward",
    )
    assert world.cells_of(RED_BALL) == []
    assert world.carrying == RED_BALL


def test_a_wall_seen_earlier_still_stops() -> None:
    world = recollect(("a wall 2 steps right", "turn left"), now="")
    assert world.is_free((1, 0))
    assert not world.is_free((2, 0))


def test_an_open_door_can_be_entered() -> None:
    assert recollect(now="a open blue door 1 step forward").is_free((0, 1))


def test_a_locked_door_cannot_be_entered() -> None:
    assert not recollect(now="a locked blue door 1 step forward").is_free((0, 1))


def test_matching_things_are_listed_nearest_first() -> None:
    world = recollect(now="a red ball 3 steps forward\na red ball 1 step left")
    assert world.cells_of(RED_BALL) == [(-1, 0), (0, 3)]
