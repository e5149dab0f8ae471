from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pytest_babyai.offline.language import (
    Clause,
    Thing,
    View,
    parse_action,
    parse_mission,
    parse_view,
)

TRACES = Path(__file__).parents[2] / "data" / "balrog_traces.jsonl.gz"

RED_BALL = Thing("ball", "red")
BLUE_KEY = Thing("key", "blue")


@pytest.mark.parametrize(
    ("line", "cell", "thing"),
    [
        ("a red ball 2 steps forward", (0, 2), RED_BALL),
        ("a red ball 1 step left", (-1, 0), RED_BALL),
        ("a blue key 1 step right and 3 steps forward", (1, 3), BLUE_KEY),
        ("a blue key 3 steps left and 1 step forward", (-3, 1), BLUE_KEY),
        ("a locked green door 4 steps forward", (0, 4), Thing("door", "green", "locked")),
        ("a open grey door 1 step forward", (0, 1), Thing("door", "grey", "open")),
        ("- You see a Red Ball 2 steps forward.", (0, 2), RED_BALL),
    ],
)
def test_a_thing_is_read_with_its_cell(line: str, cell: tuple[int, int], thing: Thing) -> None:
    assert parse_view(line).things == ((cell, thing),)


def test_walls_are_read_by_side() -> None:
    text = "a wall 6 steps forward\na wall 2 steps left\na wall 1 step right"
    assert parse_view(text) == View(None, (), (6, 1, 0, 2))


def test_what_is_carried_is_no_thing_in_view() -> None:
    assert parse_view("You carry a blue key\na wall 1 step forward") == View(
        BLUE_KEY, (), (1, 0, 0, 0)
    )


def test_several_things_in_one_sentence_are_read() -> None:
    view = parse_view("I see a red ball 1 step forward, a blue key 2 steps left and a wall.")
    assert view.things == (((0, 1), RED_BALL), ((-2, 0), BLUE_KEY))


def test_text_without_sightings_is_an_empty_view() -> None:
    assert parse_view("nothing in view").is_empty


@pytest.mark.parametrize(
    ("mission", "clauses"),
    [
        ("go to the red ball", (Clause("go to", RED_BALL),)),
        ("go to a blue key", (Clause("go to", BLUE_KEY),)),
        ("pick up the blue key", (Clause("pick up", BLUE_KEY),)),
        ("open the door", (Clause("open", Thing("door")),)),
        ("open the green door", (Clause("open", Thing("door", "green")),)),
        ("put the red ball next to the blue key", (Clause("put", RED_BALL, BLUE_KEY),)),
        (
            "pick up the red ball, then go to the blue key",
            (Clause("pick up", RED_BALL), Clause("go to", BLUE_KEY)),
        ),
        (
            "go to a blue key after you pick up a red ball",
            (Clause("pick up", RED_BALL), Clause("go to", BLUE_KEY)),
        ),
        ("have fun", ()),
    ],
)
def test_a_mission_is_read_in_the_order_of_doing(mission: str, clauses: tuple[Clause, ...]) -> None:
    assert parse_mission(mission) == clauses


@pytest.mark.parametrize("text", ["turn left", " Turn Left. ", '"turn left"}'])
def test_an_action_is_read_as_it_may_be_quoted(text: str) -> None:
    assert parse_action(text) == "turn left"


@pytest.mark.parametrize("text", ["move forward", "", "turn left, then go forward"])
def test_anything_else_is_no_action(text: str) -> None:
    assert parse_action(text) is None


def _traces() -> list[dict[str, object]]:
    with gzip.open(TRACES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.skipif(not TRACES.exists(), reason="the reference traces are not in this checkout")
def test_every_line_of_the_reference_traces_is_understood() -> None:
    lines = {
        line
        for trace in _traces()
        for observation in trace["observations"]  # type: ignore[attr-defined]
        for line in observation.splitlines()
    }
    assert [line for line in lines if parse_view(line).is_empty] == []


@pytest.mark.skipif(not TRACES.exists(), reason="the reference traces are not in this checkout")
def test_every_mission_of_the_reference_traces_is_understood() -> None:
    missions = {str(trace["mission"]) for trace in _traces()}
    assert [mission for mission in missions if not parse_mission(mission)] == []
