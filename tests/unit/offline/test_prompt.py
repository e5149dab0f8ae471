from __future__ import annotations

import pytest

from pytest_babyai.offline.grammar import parse_mission, parse_view
from pytest_babyai.offline.prompt import Message, Prompt, read_prompt

FIRST = "a wall 3 steps forward\na red ball 2 steps left"
SECOND = "a wall 2 steps left\na red ball 2 steps forward"
MISSION = "go to the red ball"


def read(*texts: str) -> Prompt:
    return read_prompt([Message("user", text) for text in texts])


STEP_FORMATS = {
    "labelled": f"Observation:\n{FIRST}\nAction: turn left\nObservation now:\n{SECOND}\nAction?",
    "numbered": f"Step 1 observation: {FIRST}\nStep 1 action: turn left\n\nCurrent:\n{SECOND}",
    "arrows": f"1. a wall 3 steps forward, a red ball 2 steps left -> turn left\nNow:\n{SECOND}",
    "unlabelled observations": f"{FIRST}\n> Action: turn left\n{SECOND}",
    "json": f'[{{"observation": "{FIRST}", "action": "turn left"}}]\nObservation: {SECOND}',
    "with a list of actions": (
        f"Actions: turn left, turn right\nObservation:\n{FIRST}\nAction: turn left\n"
        f"Observation:\n{SECOND}\nChoose an action: turn left, turn right"
    ),
}


@pytest.mark.parametrize("text", STEP_FORMATS.values(), ids=list(STEP_FORMATS))
def test_steps_are_read_in_many_formats(text: str) -> None:
    prompt = read(f"Mission: {MISSION}\n{text}")
    assert prompt.history == ((parse_view(FIRST), "turn left"),)
    assert prompt.view == parse_view(SECOND)


def test_steps_are_read_from_a_dialogue() -> None:
    dialogue = [
        Message("system", "Answer with an action."),
        Message("user", f"Mission: {MISSION}\n{FIRST}"),
        Message("assistant", '{"thinking": "It is on my left.", "action": "turn left"}'),
        Message("user", SECOND),
    ]
    prompt = read_prompt(dialogue)
    assert prompt.history == ((parse_view(FIRST), "turn left"),)
    assert prompt.view == parse_view(SECOND)


def test_an_unknown_action_of_the_history_counts_as_go_forward() -> None:
    prompt = read(f"Observation: {FIRST}\nAction: move forward\nObservation: {SECOND}")
    assert prompt.history == ((parse_view(FIRST), "go forward"),)


def test_a_prompt_without_history_has_only_the_observation() -> None:
    prompt = read(f"Mission: {MISSION}\n\nObservation:\n{FIRST}\n\nWhat is your next action?")
    assert prompt.history == ()
    assert prompt.view == parse_view(FIRST)


def test_examples_in_the_instructions_are_no_observation() -> None:
    rules = Message("system", 'E.g. "a red ball 1 step right and 2 steps forward".')
    assert read_prompt([rules, Message("user", f"Mission: {MISSION}")]).view is None


def test_a_labelled_mission_wins_over_an_example() -> None:
    prompt = read(f"You may have to open the blue door.\nMission: {MISSION}\n{FIRST}")
    assert prompt.mission == parse_mission(MISSION)


def test_an_unlabelled_mission_is_found() -> None:
    assert read(f"Please {MISSION}!\n{FIRST}").mission == parse_mission(MISSION)


def test_a_mission_may_stand_in_the_system_prompt() -> None:
    messages = [Message("system", f"Your goal is: {MISSION}"), Message("user", FIRST)]
    assert read_prompt(messages).mission == parse_mission(MISSION)


def test_a_prompt_without_a_mission_has_none() -> None:
    assert read(FIRST).mission == ()


@pytest.mark.parametrize(
    "text", ['Fill in "thinking" first.', "Think step by step.", "Explain your reasoning."]
)
def test_thinking_is_wanted_where_it_is_asked_for(text: str) -> None:
    assert read(text).wants_thinking


@pytest.mark.parametrize("text", ["Answer with the action alone.", "Do not think, answer."])
def test_thinking_is_not_wanted_otherwise(text: str) -> None:
    assert not read(text).wants_thinking


def test_the_digest_depends_on_every_character() -> None:
    assert read(FIRST).digest != read(f"{FIRST} ").digest
