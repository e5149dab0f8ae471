"""Replays the episodes that were recorded on BALROG; every field has to come out the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_babyai.environment import make_env

TRACES = Path(__file__).parent.parent / "data" / "balrog_traces.jsonl.gz"


def read_traces() -> list[dict[str, Any]]:
    with gzip.open(TRACES, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def trace_id(trace: dict[str, Any]) -> str:
    return f"{trace['task'].rpartition('/')[2]}-{trace['seed']}"


def replay(task: str, seed: int, candidates: list[str]) -> dict[str, Any]:
    env = make_env("babyai", task)
    observation, _ = env.reset(seed=seed)
    observations = [observation["text"]["long_term_context"]]
    executed, rewards = [], []
    terminated = truncated = False
    for candidate in candidates:
        action = env.check_action_validity(candidate)
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation["text"]["long_term_context"])
        executed.append(action)
        rewards.append(reward)
    return {
        "task": env.task_name,
        "seed": seed,
        "mission": observation["mission"],
        "max_steps": env.max_steps,
        "observations": observations,
        "actions": candidates,
        "executed": executed,
        "rewards": rewards,
        "terminated": terminated,
        "truncated": truncated,
        "failed_candidates": env.failed_candidates,
        "progression": env.get_stats()["progression"],
        "episode_return": sum(rewards),
        "num_steps": len(rewards),
    }


def test_there_are_140_traces() -> None:
    assert len(read_traces()) == 140


@pytest.mark.parametrize("trace", read_traces(), ids=trace_id)
def test_episode_is_the_reference_s(trace: dict[str, Any]) -> None:
    assert replay(trace["task"], trace["seed"], trace["actions"]) == trace
