from __future__ import annotations

import pytest

from pytest_babyai.offline.language import parse_mission, parse_view
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


# The shape of TensorZero's BabyAI example: the mission in the system message, the history as one
# text, an example with a view of its own, before or after the current one.
SYSTEM_WITH_MISSION = (
    "You move an agent through rooms.\n"
    f"Your goal is to {MISSION}.\n"
    "Actions:\n\npick up: take the object in front of you\ndrop: put down what you hold\n\n"
    "You will be shown an observation and the history of your actions.\n\nGood luck!"
)
HISTORY = f"History:\nObservation:{FIRST}\n\nYour Response:\nturn left\n"
CURRENT = f"Current Observation:\n{SECOND}\n"
SCHEMA = 'Answer with JSON:\n\n{\n  "thinking": "..."\n  "action": "..."\n}\n'
EXAMPLE = (
    "Example:\n\nUser: a wall 5 steps forward\na blue key 1 step left\n"
    'Agent: {"thinking": "A wall is 5 steps forward and a key 1 step left.", "action": "drop"}\n'
)
ORDERS = {
    "example last": (HISTORY, CURRENT, SCHEMA, EXAMPLE),
    "example first": (SCHEMA, EXAMPLE, HISTORY, CURRENT),
    "example between": (HISTORY, SCHEMA, EXAMPLE, CURRENT),
    "example as a heading": (HISTORY, f"## {EXAMPLE}", "## Now\n", CURRENT, SCHEMA),
}


@pytest.mark.parametrize("parts", ORDERS.values(), ids=list(ORDERS))
def test_an_example_in_the_prompt_is_neither_view_nor_history(parts: tuple[str, ...]) -> None:
    messages = [Message("system", SYSTEM_WITH_MISSION), Message("user", "\n".join(parts))]
    prompt = read_prompt(messages)
    assert prompt.mission == parse_mission(MISSION)
    assert prompt.view == parse_view(SECOND)
    assert prompt.history == ((parse_view(FIRST), "turn left"),)
    assert prompt.wants_thinking
    assert prompt.wants_json


def test_without_history_an_example_leaves_the_current_view_alone() -> None:
    prompt = read(f"{CURRENT}\n{SCHEMA}\n{EXAMPLE}")
    assert (prompt.view, prompt.history) == (parse_view(SECOND), ())


def test_an_example_labelled_like_the_episode_is_told_apart_by_its_heading() -> None:
    example = f"Example:\nMission: open the blue door\nObservation:\n{FIRST}\nAction: toggle\n"
    prompt = read(f"{example}\nMission: {MISSION}\nObservation:\n{SECOND}\nAction:")
    assert prompt.mission == parse_mission(MISSION)
    assert (prompt.view, prompt.history) == (parse_view(SECOND), ())


def test_an_answer_given_as_json_is_the_action_of_its_step() -> None:
    answer = '{"thinking": "A wall is 1 step forward.", "action": "turn right"}'
    prompt = read(f"Observation:{FIRST}\n\nYour Response:\n{answer}\n\n{CURRENT}")
    assert prompt.history == ((parse_view(FIRST), "turn right"),)


def test_thoughts_of_earlier_steps_are_not_taken_for_observations() -> None:
    prompt = read(
        f"Observation:\n{FIRST}\nThinking: a red key 1 step left\nAction: drop\n{CURRENT}"
    )
    assert prompt.history == ((parse_view(FIRST), "drop"),)


def test_an_empty_current_view_is_a_view() -> None:
    prompt = read_prompt(
        [
            Message("system", SYSTEM_WITH_MISSION),
            Message("user", f"Current Observation:\n\n\n{SCHEMA}\n{EXAMPLE}"),
        ]
    )
    assert prompt.view is not None
    assert prompt.view.is_empty


def test_rules_that_speak_of_missions_are_no_mission() -> None:
    rules = Message("system", "Your task is to follow the mission.\nE.g. pick up the red key.")
    assert read_prompt([rules, Message("user", FIRST)]).mission == ()
