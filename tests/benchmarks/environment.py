"""Measures the built-in environment: making, resetting, and stepping with the text observation.

    python tests/benchmarks/environment.py [--episodes N]

Every episode uses a new environment object and a seed of its own, and everything that happens
between making it and its last observation counts. Two policies play: one draws random actions, the
other takes the object that it sees by what the text says, which ends many episodes early, so that
making and resetting weigh more. BALROG itself was measured the same way, with random actions.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from pytest_babyai.environment import TASKS, make_env

BALROG_STEPS_PER_S = 1460.0
ACTIONS = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle")

Policy = Callable[[str, str, random.Random], str]


class Timing(NamedTuple):
    """Seconds spent on each part of a number of episodes."""

    make_s: float = 0.0
    reset_s: float = 0.0
    step_s: float = 0.0
    num_episodes: int = 0
    num_steps: int = 0
    num_solved: int = 0

    def __add__(self, other: tuple[float, ...]) -> Timing:  # type: ignore[override]
        return Timing(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))  # type: ignore[arg-type]


def play_random(mission: str, observation: str, rng: random.Random) -> str:
    del mission, observation
    return rng.choice(ACTIONS)


def play_by_text(mission: str, observation: str, rng: random.Random) -> str:
    """Goes to what the mission names and uses it; wanders while it sees nothing of that."""
    carrying = observation.startswith("You carry")
    named = re.findall(r"(?:\w+ )?(?:key|ball|box|door)", mission)
    wanted = named[-1] if carrying else named[0]
    if "door" in wanted and not carrying:
        wanted = "key"
    for line in observation.splitlines():
        if wanted.split()[-1] in line and not line.startswith("You") and wanted.split()[0] in line:
            return _approach(line, mission, carrying=carrying)
    blocked = "1 step forward" in observation.replace("and 1 step forward", "")
    return rng.choice(("turn left", "turn right") if blocked else ("go forward",) * 3 + ACTIONS[:2])


def _approach(line: str, mission: str, *, carrying: bool) -> str:
    ahead = re.search(r"(\d) steps? forward", line)
    if ahead is None or (ahead[1] == "1" and re.search("left|right", line)):
        if ahead:
            return "go forward"
        return "turn left" if "left" in line else "turn right"
    if int(ahead[1]) > 1:
        return "go forward"
    if "door" in line:
        return "toggle"
    if not carrying:
        return "pick up"
    return "drop" if mission.startswith("put") else "turn left"


def play_episode(task: str, seed: int, policy: Policy) -> Timing:
    rng = random.Random(seed)
    started = time.perf_counter()
    env = make_env("babyai", task)
    made = time.perf_counter()
    observation, _ = env.reset(seed=seed)
    ready = time.perf_counter()
    step_s, num_steps, done = 0.0, 0, False
    while not done:
        candidate = policy(observation["mission"], observation["text"]["long_term_context"], rng)
        before = time.perf_counter()
        action = env.check_action_validity(candidate)
        observation, _, terminated, truncated, _ = env.step(action)
        step_s += time.perf_counter() - before
        num_steps += 1
        done = terminated or truncated
    num_solved = int(env.get_stats()["progression"])
    return Timing(made - started, ready - made, step_s, 1, num_steps, num_solved)


def measure(policy: Policy, num_episodes: int) -> Timing:
    timing = Timing()
    for number in range(num_episodes):
        timing += play_episode(TASKS[number % len(TASKS)], 1000 + number, policy)
    return timing


def report(name: str, timing: Timing) -> str:
    total_s = timing.make_s + timing.reset_s + timing.step_s
    steps_per_s = timing.num_steps / total_s
    return (
        f"{name:8} {steps_per_s:8,.0f} steps/s = {steps_per_s / BALROG_STEPS_PER_S:5.1f} x BALROG's"
        f" {BALROG_STEPS_PER_S:,.0f} | make {timing.make_s / timing.num_episodes * 1e3:.3f} ms"
        f" | reset {timing.reset_s / timing.num_episodes * 1e3:.3f} ms"
        f" | step {timing.step_s / timing.num_steps * 1e6:.2f} µs"
        f" | {timing.num_episodes} episodes of {timing.num_steps / timing.num_episodes:.1f} steps,"
        f" {timing.num_solved / timing.num_episodes:.0%} solved"
    )


def import_ms(statement: str) -> float:
    """Returns the time that a fresh interpreter needs for a statement, the least of five."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    runs = [subprocess.check_output([sys.executable, "-c", code]) for _ in range(5)]
    return min(map(float, runs)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--episodes", type=int, default=2000, help="episodes of each policy")
    num_episodes = parser.parse_args().episodes
    measure(play_random, len(TASKS))  # imports minigrid
    for name, policy in (("random", play_random), ("scripted", play_by_text)):
        print(report(name, measure(policy, num_episodes)))
    package, first = "import pytest_babyai.environment", "import pytest_babyai.environment.levels"
    print(f"import   {import_ms(package):.1f} ms, with minigrid {import_ms(first):.1f} ms")


if __name__ == "__main__":
    main()
