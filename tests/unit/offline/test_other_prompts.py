"""The offline model on prompts of the shape of TensorZero's BabyAI example.

There the mission stands in the system message, the history is one text, and an example with a view
of its own follows the current observation. The words are our own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from pytest_babyai.environment import TASKS, environment_factory
from pytest_babyai.offline import OfflineServer
from pytest_babyai.offline.language import ACTIONS
from pytest_babyai.offline.policy import Policy
from pytest_babyai.offline.prompt import Message, read_prompt

if TYPE_CHECKING:
    from collections.abc import Sequence

NEVER_SLIPS = Policy(slip_rate=0.0)
SEEDS = range(200, 206)
HISTORY_LENGTH = 16

SYSTEM = """You steer a figure through a small maze.
Your goal is to {mission}.
You may answer with these actions, each explained in a few words:

turn left: face left
turn right: face right
go forward: one step ahead
pick up: take the object in front of you
drop: put down what you hold
toggle: open what is in front of you

Next you are shown an observation and the history of earlier observations and your actions.

Hints:

- Once the object that you want to pick up is in front of you, act on it.

Begin!"""
USER = """History:
{history}

Current Observation:
{observation}

Answer with one JSON object of this form:

{{
  "thinking": "..."
  "action": "..."
}}

The "action" field has to be one of the actions above and nothing else.

Example:

User: a wall 4 steps forward
a red door 1 step left
Agent: {{"thinking": "A wall is 4 steps forward, a red door 1 step left.", "action": "drop"}}
"""


def messages(mission: str, steps: Sequence[tuple[str, str]], observation: str) -> list[Message]:
    history = "\n".join(f"Observation:{seen}\n\nYour Response:\n{done}\n" for seen, done in steps)
    return [
        Message("system", SYSTEM.format(mission=mission)),
        Message("user", USER.format(history=history, observation=observation)),
    ]


def is_solved(task: str, seed: int) -> bool:
    environment = environment_factory()(task)
    observation, _ = environment.reset(seed=seed)
    steps: list[tuple[str, str]] = []
    while True:
        seen = observation["text"]["long_term_context"]
        prompt = messages(observation["mission"], steps[-HISTORY_LENGTH:], seen)
        action = json.loads(NEVER_SLIPS.answer(prompt))["action"]
        assert action in ACTIONS
        steps.append((seen, action))
        observation, reward, terminated, truncated, _ = environment.step(action)
        if terminated or truncated:
            return reward > 0


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_with_other_peoples_prompts_is_played_well(task: str) -> None:
    solved = [is_solved(task, seed) for seed in SEEDS]
    assert sum(solved) >= len(SEEDS) - 1


def test_every_mission_and_view_is_read_as_from_our_own_prompts() -> None:
    steps = [("a wall 3 steps forward\na red ball 2 steps left", "turn left")]
    read = read_prompt(messages("pick up the red ball", steps, "a red ball 2 steps forward"))
    own = read_prompt(
        [
            Message(
                "user",
                "Mission: pick up the red ball\n"
                f"Observation:\n{steps[0][0]}\nAction: turn left\n"
                "Observation now:\na red ball 2 steps forward",
            )
        ]
    )
    assert (read.mission, read.view, read.history) == (own.mission, own.view, own.history)


def ask(server: OfflineServer, text: str) -> None:
    body = {"model": "babyai-offline", "messages": [{"role": "user", "content": text}]}
    httpx.post(f"{server.url}/v1/chat/completions", json=body, trust_env=False).raise_for_status()


def test_prompts_that_cannot_be_read_are_counted_and_said_once() -> None:
    with OfflineServer() as server:
        ask(server, "Mission: go to the red ball\nObservation: a red ball 1 step left")
        assert server.notes() == []
        ask(server, "What would you do?")
        ask(server, "Observation: a red ball 1 step left")
        [line] = server.notes()
        assert "no mission in 2 and no current observation in 1 of 3 prompts" in line
    assert server.notes() == [line]  # also once it has ended


def test_a_server_that_was_never_asked_says_nothing() -> None:
    server = OfflineServer()
    assert server.notes() == []
    with server:
        pass
    assert server.notes() == []
