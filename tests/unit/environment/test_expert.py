"""The expert solves every level in the fewest legal steps; references need no model."""

from __future__ import annotations

import pytest

from pytest_babyai.environment import TASKS, make_env
from pytest_babyai.environment.actions import ACTIONS
from pytest_babyai.environment.expert import (
    _after,
    _layout,
    _start,
    check_references,
    expert_plan,
    play_reference,
    reference_results,
    steps_of_expert,
)
from pytest_babyai.errors import SettingsError
from pytest_babyai.gate import RunScores, metric_values
from pytest_babyai.metrics import METRICS

SEEDS = range(200, 220)


def breadth_first(task: str, seed: int) -> int:
    """Counts the fewest steps by trying all, without any estimate of what is left."""
    layout = _layout(task, seed, 0)
    front, seen, depth = [_start(layout)], {_start(layout)}, 0
    while True:
        depth += 1
        reached = [_after(layout, state, action) for state in front for action in ACTIONS]
        if any(not state.pending for state in reached):
            return depth
        front = list(dict.fromkeys(state for state in reached if state not in seen))
        seen.update(front)


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_solves_all_reference_seeds_by_legal_steps(task: str) -> None:
    for seed in SEEDS:
        env = make_env("babyai", task)
        env.reset(seed=seed)
        plan = expert_plan(task, seed)
        assert plan is not None
        ended = [env.step(env.check_action_validity(action)) for action in plan]
        assert [terminated for _, _, terminated, _, _ in ended] == [False] * (len(plan) - 1) + [
            True
        ]
        assert not env.failed_candidates
        assert len(plan) <= env.max_steps


@pytest.mark.parametrize("task", TASKS)
def test_nobody_is_faster(task: str) -> None:
    assert steps_of_expert(task, 104) == breadth_first(task, 104)


def test_the_played_reference_is_the_environment_s_own_episode() -> None:
    env = make_env("babyai", "open")
    env.reset(seed=201)
    plan = expert_plan("open", 201)
    assert plan is not None
    rewards = [env.step(action)[1] for action in plan]
    result = play_reference("expert", "open", 201)
    assert result is not None
    assert result.episode_return == pytest.approx(sum(rewards))
    assert (result.progression, result.num_steps) == (1.0, len(plan))
    assert result.layout_fingerprint == env.layout_fingerprint()


def test_random_is_random_and_the_same_again() -> None:
    first = [play_reference("random", "goto", seed) for seed in SEEDS]
    again = reference_results(["random"], [("goto", seed, 0) for seed in SEEDS])
    assert tuple(first) == again
    solved = sum(result.success for result in again)
    assert 0 < solved < len(SEEDS)


def test_levels_are_told_apart_by_their_fingerprint() -> None:
    crowded = play_reference("expert", "goto", 205, num_dists=3)
    assert crowded is not None
    assert steps_of_expert("goto", 205, crowded.layout_fingerprint) == crowded.num_steps
    assert steps_of_expert("goto", 205, "no such level") is None


def test_an_unknown_task_has_no_expert() -> None:
    assert steps_of_expert("fly", 200) is None


def test_the_efficiency_of_the_expert_is_one_and_of_failures_zero() -> None:
    played = reference_results(["expert", "random"], [("putnext", 200, 0), ("putnext", 201, 0)])
    scores = RunScores.of_outcomes(played)
    found = {
        name: metric_values(scores, METRICS["efficiency"], name).by_pair
        for name in ("expert", "random")
    }
    assert set(found["expert"].values()) == {(1.0,)}
    assert set(found["random"].values()) == {(0.0,)}


def test_a_reference_that_is_none_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"--babyai-references: unknown reference 'expret'; did"
    ):
        check_references(["expret"])
