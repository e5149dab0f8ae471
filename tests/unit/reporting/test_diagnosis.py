"""Why episodes fail, on hand-made episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.records import AnswerStatus
from pytest_babyai.reporting.diagnosis import DEFINITIONS, Thing, diagnose, scene_of, targets_of
from tests.unit.reporting.reporting_samples import result, step

if TYPE_CHECKING:
    from typing import Any

    from pytest_babyai.records import EpisodeResult, Step

WALL = "a wall 2 steps forward"
BALL = "a red ball 1 step forward"


def seen(observation: str, action: str = "turn left", **changes: Any) -> Step:
    return step(observation=observation, action=action, candidate=action, **changes)


def episode(*steps: Step, mission: str = "go to the red ball", **changes: Any) -> EpisodeResult:
    return result(mission=mission, steps=steps, num_steps=len(steps), **changes)


def found(name: str, *steps: Step, **changes: Any) -> tuple[int, ...]:
    return diagnose(episode(*steps, **changes)).get(name, ())


def test_a_state_seen_a_third_time_is_a_loop() -> None:
    walk = [seen(WALL), seen("a wall 3 steps left")] * 3
    assert found("loop", *walk) == (5, 6)


def test_what_was_seen_before_something_was_picked_up_counts_no_more() -> None:
    before = [seen(BALL), seen(BALL, "pick up")]
    after = [seen("You carry a red ball\n" + WALL)] * 2
    assert found("loop", *before, *after) == ()


def test_seeing_the_same_twice_is_no_loop() -> None:
    assert found("loop", seen(WALL), seen(WALL)) == ()


def test_going_forward_into_a_wall_is_a_blocked_move() -> None:
    wall = "a wall 1 step forward"
    assert found("blocked move", seen(wall, "go forward"), seen(wall, "go forward")) == (1,)


def test_turning_is_no_blocked_move() -> None:
    assert found("blocked move", seen(WALL), seen(WALL)) == ()


def test_a_move_that_changed_the_view_is_not_blocked() -> None:
    steps = seen("a wall 3 steps forward", "go forward"), seen(WALL, "go forward")
    assert found("blocked move", *steps) == ()


def test_picking_up_what_the_mission_does_not_name_is_wrong() -> None:
    steps = (
        seen("a blue key 1 step forward", "pick up"),
        seen("You carry a blue key\na wall 1 step forward"),
    )
    assert found("wrong object", *steps) == (1,)


def test_picking_up_what_the_mission_names_is_right() -> None:
    steps = seen(BALL, "pick up"), seen("You carry a red ball\n" + WALL)
    assert found("wrong object", *steps) == ()


def test_the_key_of_a_door_is_needed_to_open_it() -> None:
    steps = (
        seen("a blue key 1 step forward", "pick up"),
        seen("You carry a blue key\na locked blue door 1 step forward", "toggle"),
        seen("You carry a blue key\na open blue door 1 step forward"),
    )
    assert found("wrong object", *steps, mission="open the blue door") == ()
    assert found("wrong object", *steps, mission="open the door") == ()
    assert found("wrong object", *steps, mission="open the green door") == (1, 2)


def test_a_target_that_no_observation_names_was_never_in_view() -> None:
    assert found("target never in view", seen(WALL), seen("a red key 1 step left")) == (2,)
    assert found("target never in view", seen(WALL), seen("a red ball 3 steps left")) == ()


def test_a_target_seen_and_never_in_front_was_never_reached() -> None:
    assert found("target never reached", seen("a red ball 2 steps forward"), seen(WALL)) == (2,)
    assert found("target never reached", seen(BALL)) == ()
    assert found("target never reached", seen(WALL)) == ()


def test_a_target_to_the_left_is_not_in_front() -> None:
    seen_aside = seen("a red ball 1 step left and 1 step forward")
    assert found("target never reached", seen_aside) == (1,)


def test_every_target_of_a_mission_counts() -> None:
    mission = "pick up the red ball, then go to the blue box"
    assert found("target never in view", seen(BALL), mission=mission) == (1,)


def test_dropping_the_object_elsewhere_is_a_wrong_place() -> None:
    mission = "put the red ball next to the blue box"
    carried = seen("You carry a red ball\n" + WALL, "drop")
    assert found("dropped in a wrong place", carried, seen(BALL), mission=mission) == (1,)
    assert found("dropped in a wrong place", carried, seen(BALL)) == ()


def test_a_drop_that_failed_is_no_wrong_place() -> None:
    mission = "put the red ball next to the blue box"
    carried = seen("You carry a red ball\n" + WALL, "drop")
    assert found("dropped in a wrong place", carried, carried, mission=mission) == ()


@pytest.mark.parametrize("status", [AnswerStatus.UNKNOWN_ACTION, AnswerStatus.UNPARSABLE])
def test_invalid_answers_are_found(status: AnswerStatus) -> None:
    assert found("invalid answer", seen(WALL), seen(WALL, status=status)) == (2,)


def test_a_random_action_is_no_invalid_answer() -> None:
    assert found("invalid answer", seen(WALL, status=AnswerStatus.FALLBACK)) == ()


def test_an_answer_at_the_limit_of_its_tokens_was_cut_off() -> None:
    steps = seen(WALL, finish_reason="stop"), seen(WALL, finish_reason="length"), seen(WALL)
    assert found("cut off", *steps) == (2,)


def test_a_target_two_steps_away_at_the_limit_is_near() -> None:
    near = seen("a red ball 1 step right and 1 step forward")
    far = seen("a red ball 1 step right and 2 steps forward")
    assert found("out of steps near the goal", seen(WALL), near) == (2,)
    assert found("out of steps near the goal", seen(WALL), far) == ()
    assert found("out of steps near the goal", near, truncated=False, terminated=True) == ()


def test_an_episode_without_steps_is_not_diagnosed() -> None:
    assert diagnose(result()) == {}


def test_findings_come_in_the_order_of_their_definitions() -> None:
    names = list(diagnose(episode(*[seen(WALL, "go forward")] * 3)))
    assert names == [name for name in DEFINITIONS if name in names]
    assert {"loop", "blocked move", "target never in view"} <= set(names)


@pytest.mark.parametrize(
    ("mission", "targets"),
    [
        ("go to the red ball", [("red", "ball")]),
        ("open the door", [(None, "door")]),
        ("put the grey key next to the red box", [("grey", "key"), ("red", "box")]),
        ("go to a yellow key after you pick up a yellow key", [("yellow", "key")]),
        ("pick up the green key, then go to the blue box", [("green", "key"), ("blue", "box")]),
    ],
)
def test_missions_name_their_targets(mission: str, targets: list[tuple[str | None, str]]) -> None:
    assert targets_of(mission) == tuple(Thing(*target) for target in targets)


def test_an_observation_is_read() -> None:
    scene = scene_of(
        "You carry a blue key\na wall 2 steps right\na locked blue door 1 step forward\n"
        "a red ball 1 step left and 3 steps forward"
    )
    door, ball = scene.sightings
    assert scene.carried == Thing("blue", "key")
    assert (door.thing, door.state, door.is_in_front) == (Thing("blue", "door"), "locked", True)
    assert (ball.thing, ball.num_steps, ball.is_in_front) == (Thing("red", "ball"), 4, False)
