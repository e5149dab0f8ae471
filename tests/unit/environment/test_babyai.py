from __future__ import annotations

import enum
import itertools
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.environment import TASKS, long_name, make_env
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from pytest_babyai.environment.babyai import BabyAIEnvironment

SEEDS = st.integers(0, 2**40)
ACTIONS = ["turn left", "turn right", "go forward", "pick up", "drop", "toggle"]


def play(env: BabyAIEnvironment, seed: int | None, num_steps: int = 40) -> list[Any]:
    """Plays random actions and returns all that came out."""
    rng = random.Random(1)
    trajectory: list[Any] = [env.reset(seed=seed)]
    trajectory += [env.step(rng.choice(ACTIONS)) for _ in range(num_steps)]
    return [*trajectory, env.get_stats(), env.snapshot(), env.layout_fingerprint()]


def make(task: str = "goto", num_dists: int = 0) -> BabyAIEnvironment:
    return make_env("babyai", task, {"envs": {"babyai_kwargs": {"num_dists": num_dists}}})


def solve_goto(env: BabyAIEnvironment) -> tuple[float, int]:
    """Walks to the only object and returns the reward and the number of steps."""
    for num_steps in itertools.count(1):
        snapshot = env.snapshot()
        agent = snapshot["agent"]
        x, y = next(
            (x, y)
            for y, row in enumerate(snapshot["cells"])
            for x, cell in enumerate(row)
            if cell and cell["type"] != "wall"
        )
        right, down = x - agent["x"], y - agent["y"]
        wanted = (0 if right > 0 else 2) if right else (1 if down > 0 else 3)
        action = "go forward" if agent["direction"] == wanted else "turn right"
        _, reward, terminated, _, _ = env.step(action)
        if terminated:
            return reward, num_steps
    raise AssertionError


@given(st.sampled_from(TASKS), SEEDS)
def test_reused_environment_plays_as_a_fresh_one(task: str, seed: int) -> None:
    env = make(task)
    play(env, seed + 1)
    assert play(env, seed) == play(make(task), seed)


@given(st.sampled_from(TASKS), SEEDS)
def test_reset_without_seed_goes_on_with_the_random_stream(task: str, seed: int) -> None:
    first, second = make(task), make(task)
    assert play(first, seed) == play(second, seed)
    assert play(first, None) == play(second, None)


def test_environments_of_one_task_do_not_disturb_each_other() -> None:
    alone = play(make("open"), 5)
    env, other = make("open"), make("open")
    rng = random.Random(1)
    trajectory: list[Any] = [env.reset(seed=5)]
    for number in range(40):
        other.reset(seed=number)
        trajectory.append(env.step(rng.choice(ACTIONS)))
    assert trajectory == alone[:-3]


def test_reset_without_any_seed_draws_one() -> None:
    observation, info = make().reset()
    assert observation["mission"].startswith("go to the ")
    assert info == {}


@pytest.mark.parametrize(
    ("task", "max_steps"),
    [("goto", 64), ("pickup", 64), ("open", 128), ("putnext", 128), ("pick_up_seq_go_to", 128)],
)
def test_step_limit_truncates(task: str, max_steps: int) -> None:
    env = make(task)
    assert env.max_steps == 0
    env.reset(seed=3)
    assert env.max_steps == max_steps
    truncated = [env.step("drop")[3] for _ in range(max_steps)]
    assert truncated == [False] * (max_steps - 1) + [True]


@given(SEEDS)
def test_reward_falls_with_the_steps_taken(seed: int) -> None:
    env = make("goto")
    env.reset(seed=seed)
    assert env.get_stats()["progression"] == 0.0
    reward, num_steps = solve_goto(env)
    assert reward == 1 - 0.9 * (num_steps / 64)
    assert env.get_stats()["progression"] == 1.0


@given(st.sampled_from(TASKS), SEEDS, st.integers(0, 8))
def test_num_dists_is_honored(task: str, seed: int, num_dists: int) -> None:
    needed = {"goto": 1, "pickup": 1, "open": 2, "putnext": 2, "pick_up_seq_go_to": 2}
    env = make(task, num_dists)
    env.reset(seed=seed)
    cells = [cell for row in env.snapshot()["cells"] for cell in row]
    num_objects = sum(cell is not None and cell["type"] != "wall" for cell in cells)
    assert num_objects == needed[task] + num_dists


@given(st.sampled_from(TASKS), SEEDS)
def test_missions_avoid_what_the_reference_holds_out(task: str, seed: int) -> None:
    observation, _ = make(task, 3).reset(seed=seed)
    held_out = ("yellow box", "red key", "red door", "green ball", "grey door")
    assert not any(words in observation["mission"] for words in held_out)


def test_observation_has_the_shape_of_balrog_s() -> None:
    observation, _ = make("goto").reset(seed=0)
    assert observation == {
        "mission": "go to the green key",
        "text": {
            "long_term_context": "a wall 6 steps forward\na wall 2 steps left\n"
            "a green key 1 step right and 2 steps forward",
            "short_term_context": "",
        },
    }


@pytest.mark.parametrize("candidate", ["jump", "", "Go forward", None, ["drop"]])
def test_invalid_candidate_becomes_go_forward_and_is_recorded(candidate: Any) -> None:
    env = make()
    env.reset(seed=0)
    assert env.check_action_validity(candidate) == "go forward"
    assert env.check_action_validity("drop") == "drop"
    assert env.failed_candidates == [candidate]


def test_reset_forgets_failed_candidates() -> None:
    env = make()
    env.check_action_validity("jump")
    env.reset(seed=0)
    assert env.failed_candidates == []


def test_names_and_actions() -> None:
    env = make("open")
    assert (env.env_name, env.task_name) == ("babyai", long_name("open"))
    assert env.actions == env.language_action_space == ACTIONS
    assert env.default_action == "go forward"
    assert [env.get_text_action(number) for number in range(6)] == ACTIONS
    assert env.get_text_action(Numbered.THIRD) == ACTIONS[2]


@pytest.mark.parametrize("number", [-1, 6, True, "drop", None])
def test_a_number_of_no_action_is_refused(number: Any) -> None:
    with pytest.raises(ValueError, match=r"^action: expected a number from 0 to 5, found "):
        make().get_text_action(number)


def test_options_of_a_reset_change_nothing() -> None:
    env = make_env("babyai", "goto")
    assert env.reset(seed=3, options={"any": 1})[0] == env.reset(seed=3)[0]


class Numbered(enum.Enum):
    THIRD = 2


def test_instruction_prompt_names_the_mission_and_every_action() -> None:
    env = make("goto")
    env.reset(seed=0)
    prompt = env.get_instruction_prompt()
    assert all(words in prompt for words in [*ACTIONS, "go to the green key"])
    assert "find the exit" in env.get_instruction_prompt("find the exit")


def test_unknown_action_is_refused_with_a_suggestion() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^unknown action 'togle'; did you mean 'toggle'\?$"):
        env.step("togle")


@pytest.mark.parametrize("method", ["render", "snapshot", "layout_fingerprint"])
def test_what_needs_an_episode_says_so(method: str) -> None:
    env = make()
    assert env.get_stats() == {"mission": None, "progression": 0.0}
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        getattr(env, method)()


def test_closed_environment_asks_for_a_reset() -> None:
    env = make()
    env.reset(seed=0)
    env.close()
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        env.step("drop")


@pytest.mark.parametrize("seed", [-1, "0", 1.0, True])
def test_wrong_seed_is_told_in_one_line(seed: Any) -> None:
    with pytest.raises(SettingsError, match=r"^seed: expected a non-negative integer, found"):
        make().reset(seed=seed)


@pytest.mark.parametrize(("task", "width"), [("goto", 8), ("open", 15)])
def test_render_draws_the_whole_grid(task: str, width: int) -> None:
    env = make(task)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (8 * 32, width * 32, 3)
    assert before.dtype == np.uint8
    env.step("turn left")
    assert not np.array_equal(before, env.render())


def test_render_mode_adds_the_view_to_observations() -> None:
    env = make_env("babyai", "goto", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation["image"].shape == (112, 112, 3)
    assert observation["image"].dtype == np.uint8
    later, *_ = env.step("turn left")
    assert not np.array_equal(observation["image"], later["image"])


def test_snapshot_shows_the_grid_and_the_agent() -> None:
    env = make("open")
    env.reset(seed=0)
    snapshot = env.snapshot()
    assert (snapshot["width"], snapshot["height"]) == (15, 8)
    assert snapshot["cells"][0][0] == {"type": "wall", "color": "grey", "state": None}
    doors = [cell for row in snapshot["cells"] for cell in row if cell and cell["type"] == "door"]
    assert [door["state"] for door in doors] == ["locked"]
    agent = snapshot["agent"]
    assert snapshot["cells"][agent["y"]][agent["x"]] is None
    assert snapshot["carrying"] is None


def test_fingerprints_differ_between_seeds_and_tasks() -> None:
    fingerprints = set()
    for task, seed in itertools.product(TASKS, range(40)):
        env = make(task)
        env.reset(seed=seed)
        fingerprints.add(env.layout_fingerprint())
    assert len(fingerprints) == len(TASKS) * 40


def test_fingerprint_is_that_of_the_start() -> None:
    env = make("goto")
    env.reset(seed=0)
    before = env.layout_fingerprint()
    env.step("turn left")
    assert env.layout_fingerprint() == before == "fb7b202953fd53de"


def test_the_generator_writes_nothing_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(60):
        make("putnext").reset(seed=seed)
    assert capsys.readouterr().out == ""
