"""The built-in BabyAI-Text environment: BALROG's contract and results on PyPI's minigrid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_babyai.environment.actions import ACTIONS, DEFAULT_ACTION, instruction_prompt
from pytest_babyai.environment.contract import (
    check_render_mode,
    check_seed,
    fingerprint,
    long_name,
    read_num_dists,
    resolve_task,
    text_action,
)
from pytest_babyai.environment.observation import describe
from pytest_babyai.environment.world import Event, MissionProgress, World
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from enum import Enum

    import numpy as np
    from numpy.typing import NDArray

    from pytest_babyai.environment.contract import Observation
    from pytest_babyai.environment.world import Layout

ENV_NAMES = ("babyai",)


def make_env(
    env_name: str, task: str, config: Any = None, render_mode: str | None = None
) -> BabyAIEnvironment:
    """Makes an environment by BALROG's call.

    Args:
        env_name: ``"babyai"``.
        task: Short or long name of a task.
        config: Where ``envs.babyai_kwargs.num_dists`` is looked up, see `read_num_dists`; None for
            no distractors.
        render_mode: ``"rgb_array"`` adds the picture of the agent's view to every observation,
            which costs far more than the step itself; None does not.

    Raises:
        SettingsError: The environment's name, the configuration or the render mode is wrong.
        UnknownTaskError: There is no such task.
    """
    if env_name not in ENV_NAMES:
        hint = did_you_mean(str(env_name), ENV_NAMES)
        raise SettingsError(f"unknown environment {env_name!r}; {hint}")
    return BabyAIEnvironment(task, read_num_dists(config), render_mode)


class BabyAIEnvironment:
    """An `Environment` that computes steps and observations by itself.

    Layouts, instructions and pictures are minigrid's, which the first reset imports. Stepping on
    after the end of an episode is allowed and goes on counting, as in the reference.

    Args:
        task: Short or long name of a task.
        num_dists: Objects that the mission does not need, in each room the agent can reach.
        render_mode: See `make_env`.

    Attributes:
        env_name: ``"babyai"``.
        task_name: Long name of the task.
        failed_candidates: Candidates since the last reset that named no action, in order.

    Raises:
        SettingsError: The render mode is wrong.
        UnknownTaskError: There is no such task.
    """

    def __init__(self, task: str, num_dists: int = 0, render_mode: str | None = None) -> None:
        self.env_name = "babyai"
        self.task_name = long_name(resolve_task(task))
        self.failed_candidates: list[str] = []
        self._num_dists = num_dists
        self._shows_image = check_render_mode(render_mode) is not None
        self._random: np.random.Generator | None = None
        self._current: _Episode | None = None

    @property
    def max_steps(self) -> int:
        """Step limit of the current episode, 0 before the first reset."""
        return 0 if self._current is None else self._current.layout.max_steps

    @property
    def actions(self) -> list[str]:
        """The actions by name; the same as `language_action_space`."""
        return self.language_action_space

    @property
    def language_action_space(self) -> list[str]:
        """The actions by name, in the order of minigrid's action numbers."""
        return list(ACTIONS)

    @property
    def default_action(self) -> str:
        """The action that stands in for a candidate that names none."""
        return DEFAULT_ACTION

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - Gymnasium's
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see `Environment.reset`. Gymnasium's options change nothing."""
        # minigrid costs 120 ms to import, so that only those who play pay for it
        from pytest_babyai.environment import levels

        if seed is not None or self._random is None:
            self._random = levels.random_generator(check_seed(seed))
        generator = levels.level(resolve_task(self.task_name), self._num_dists)
        self._current = _Episode(generator.generate(self._random))
        self.failed_candidates = []
        return self._observe(self._current), {}

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes an action; see `Environment.step`."""
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r}; {did_you_mean(str(action), ACTIONS)}")
        episode = self._episode
        reward, terminated, truncated = episode.step(action)
        return self._observe(episode), reward, terminated, truncated, {}

    def check_action_validity(self, candidate: str) -> str:
        """Returns the candidate, or the default action if it names none, and records that."""
        if isinstance(candidate, str) and candidate in ACTIONS:
            return candidate
        self.failed_candidates.append(candidate)
        return DEFAULT_ACTION

    def get_text_action(self, action: int | Enum) -> str:
        """Returns the name of one of minigrid's action numbers."""
        return text_action(self.language_action_space, action)

    def get_instruction_prompt(self, instructions: str | None = None) -> str:
        """Returns a system prompt that explains task and actions; see `Environment`."""
        return instruction_prompt(instructions or self._episode.layout.mission)

    def get_stats(self) -> dict[str, Any]:
        """Returns ``mission`` and ``progression``, which is 1.0 once a reward was positive."""
        if self._current is None:
            return {"mission": None, "progression": 0.0}
        return {"mission": self._current.layout.mission, "progression": self._current.progression}

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the grid as plain types; see `Environment.snapshot`."""
        return self._episode.world.snapshot()

    def layout_fingerprint(self) -> str:
        """Returns a short hash of layout and mission as they were after the reset."""
        layout = self._episode.layout
        return fingerprint(World(layout).snapshot(), layout.mission)

    def render(self) -> NDArray[np.uint8]:
        """Returns a picture of the whole grid, RGB of shape (height, width, 3) in pixels."""
        from pytest_babyai.environment.picture import draw_grid

        return draw_grid(self._episode.world)

    def close(self) -> None:
        """Forgets the episode; another reset starts a new one."""
        self._current = None

    @property
    def _episode(self) -> _Episode:
        if self._current is None:
            raise RuntimeError("no episode has been started; call reset() first")
        return self._current

    def _observe(self, episode: _Episode) -> Observation:
        observation: Observation = {
            "mission": episode.layout.mission,
            "text": {"long_term_context": describe(episode.world), "short_term_context": ""},
        }
        if self._shows_image:
            from pytest_babyai.environment.picture import draw_view

            observation["image"] = draw_view(episode.world)
        return observation


class _Episode:
    """The world of one episode, what is done of its mission, and the score."""

    __slots__ = ("_mission", "_num_steps", "layout", "progression", "world")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.world = World(layout)
        self.progression = 0.0
        self._mission = MissionProgress(layout)
        self._num_steps = 0

    def step(self, action: str) -> tuple[float, bool, bool]:
        """Takes an action and returns reward, terminated and truncated."""
        self._num_steps += 1
        moved = ACTIONS[action](self.world)
        max_steps = self.layout.max_steps
        truncated = self._num_steps >= max_steps
        if not self._mission.advance(self.world, Event(action, moved)):
            return 0.0, False, truncated
        reward = 1 - 0.9 * (self._num_steps / max_steps)
        if reward > 0:
            self.progression = 1.0
        return reward, True, truncated
