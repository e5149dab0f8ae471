"""What every environment offers, which tasks there are, and how its configuration is read.

Cheap to import: needs neither minigrid nor numpy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from pytest_babyai.errors import SettingsError, UnknownTaskError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = "BabyAI-MixedTrainLocal-v0"
TASKS = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
"""The tasks by their short names; the long ones read ``BabyAI-MixedTrainLocal-v0/goto``."""

STEP_LIMITS = {"goto": 64, "pickup": 64, "open": 128, "putnext": 128, "pick_up_seq_go_to": 128}
"""``max_steps`` of the tasks, known before an environment is made; longer episodes start first."""

MAX_NUM_DISTS = 16
"""With more, hardly a layout in ten thousand lets the agent reach every object."""
RENDER_MODES = (None, "rgb_array")
FINGERPRINT_LENGTH = 16


class Text(TypedDict):
    """The observation as an agent reads it.

    Attributes:
        long_term_context: What the agent carries and sees, a line each; may be empty.
        short_term_context: Always empty; BALROG's other games use it.
    """

    long_term_context: str
    short_term_context: str


class _ObservationBase(TypedDict):
    mission: str
    text: Text


class Observation(_ObservationBase, total=False):
    """What `Environment.reset` and `Environment.step` return first.

    Attributes:
        mission: The instruction, the same throughout an episode.
        text: See `Text`.
        image: The agent's view, RGB of shape (112, 112, 3) and type uint8; only there if the
            environment was made with ``render_mode="rgb_array"``.
    """

    image: NDArray[np.uint8]


class Environment(Protocol):
    """One BabyAI-Text task, playable again and again; the contract of BALROG's environments."""

    @property
    def env_name(self) -> str:
        """The family of environments, ``"babyai"``."""
        ...

    @property
    def task_name(self) -> str:
        """Long name of the task."""
        ...

    @property
    def failed_candidates(self) -> list[str]:
        """Candidates since the last reset that named no action, in order."""
        ...

    @property
    def max_steps(self) -> int:
        """Step limit of the current episode, 0 before the first reset."""
        ...

    @property
    def actions(self) -> list[str]:
        """The actions by name; the same as `language_action_space`."""
        ...

    @property
    def language_action_space(self) -> list[str]:
        """The actions by name, in the order of minigrid's action numbers."""
        ...

    @property
    def default_action(self) -> str:
        """The action that stands in for a candidate that names none."""
        ...

    def reset(self, *, seed: int | None = None) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: Decides the layout and the mission, with the task and the number of distractors.
                None goes on with the random stream of the previous episode.

        Returns:
            The first observation and an information dict, as in Gymnasium.

        Raises:
            SettingsError: The seed is no non-negative integer.
        """
        ...

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes an action.

        Args:
            action: One of `language_action_space`.

        Returns:
            Observation, reward, terminated, truncated and an information dict, as in Gymnasium.
            The reward is ``1 - 0.9 * step / max_steps`` on success, else 0.

        Raises:
            ValueError: There is no such action.
            RuntimeError: `reset` has not been called.
        """
        ...

    def check_action_validity(self, candidate: str) -> str:
        """Returns the candidate, or the default action if it names none, and records that."""
        ...

    def get_text_action(self, action: int) -> str:
        """Returns the name of one of minigrid's action numbers, or of a member of its enumeration.

        Raises:
            ValueError: There is no such action.
        """
        ...

    def get_instruction_prompt(self, instructions: str | None = None) -> str:
        """Returns BALROG's system prompt, which explains task and actions.

        Args:
            instructions: The goal to name; None names the current mission.
        """
        ...

    def get_stats(self) -> dict[str, Any]:
        """Returns ``mission`` and ``progression``, which is 1.0 once a reward was positive."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the grid as plain types, to draw or to compare.

        Returns:
            ``width``, ``height``, ``cells`` (rows of cells, each None or a dict of ``type``,
            ``color`` and ``state``), ``agent`` (``x``, ``y``, ``direction`` with 0 right, 1 down,
            2 left, 3 up) and ``carrying`` (None or a dict of ``type`` and ``color``).

        Raises:
            RuntimeError: `reset` has not been called.
        """
        ...

    def layout_fingerprint(self) -> str:
        """Returns a short hash of layout and mission as they were after the reset.

        Raises:
            RuntimeError: `reset` has not been called.
        """
        ...

    def render(self) -> NDArray[np.uint8]:
        """Returns a picture of the whole grid, RGB of shape (height, width, 3) in pixels.

        Raises:
            RuntimeError: `reset` has not been called.
        """
        ...

    def close(self) -> None:
        """Frees what the environment holds."""
        ...


def resolve_task(name: str) -> str:
    """Returns the short name of a task given by its short or long name.

    Raises:
        UnknownTaskError: There is no such task.
    """
    short = name.removeprefix(f"{LEVEL}/") if isinstance(name, str) else None
    if short in TASKS:
        return short
    choices = [long_name(task) for task in TASKS] if "/" in str(name) else TASKS
    raise UnknownTaskError(f"unknown task {name!r}; {did_you_mean(str(name), choices)}")


def long_name(task: str) -> str:
    """Returns the long name of a task given by its short name."""
    return f"{LEVEL}/{task}"


def fingerprint(snapshot: Mapping[str, Any], mission: str) -> str:
    """Returns a short hash of a snapshot and a mission, the same on every machine."""
    text = json.dumps([snapshot, mission], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def read_num_dists(config: Any) -> int:
    """Reads the number of distractors from a configuration shaped like BALROG's.

    Args:
        config: None for the default of 0, or a mapping or attribute-style object in which
            ``envs.babyai_kwargs.num_dists`` is looked up. Its other entries are other parts' own.

    Raises:
        SettingsError: The entry is no integer from 0 to `MAX_NUM_DISTS`, there are other entries
            beside it, or the configuration is shaped otherwise.
    """
    arguments = _section(_section(config, "config", "envs"), "config.envs", "babyai_kwargs")
    path = "config.envs.babyai_kwargs"
    entries = _entries(arguments, path)
    for name in entries:
        if name != "num_dists":
            hint = did_you_mean(str(name), ["num_dists"])
            raise SettingsError(f"{path}: unknown entry {name!r}; {hint}")
    return check_num_dists(entries.get("num_dists", 0), f"{path}.num_dists")


def check_num_dists(value: Any, source: str) -> int:
    """Returns the value if it is a number of distractors.

    Raises:
        SettingsError: It is no integer from 0 to `MAX_NUM_DISTS`; the line begins with ``source``.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUM_DISTS:
        return value
    raise SettingsError(f"{source}: expected an integer from 0 to {MAX_NUM_DISTS}, found {value!r}")


def text_action(names: list[str], action: Any) -> str:
    """Returns the name of an action given by its number; see `Environment.get_text_action`.

    Raises:
        ValueError: There is no such action.
    """
    number = getattr(action, "value", action)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(names):
        raise ValueError(f"action: expected a number from 0 to {len(names) - 1}, found {action!r}")
    return names[number]


def check_seed(seed: int | None) -> int | None:
    """Returns the seed if it is one.

    Raises:
        SettingsError: It is neither None nor a non-negative integer.
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        raise SettingsError(f"seed: expected a non-negative integer, found {seed!r}")
    return seed


def check_render_mode(render_mode: str | None) -> str | None:
    """Returns the render mode if it is one.

    Raises:
        SettingsError: It is neither None nor ``"rgb_array"``.
    """
    if render_mode not in RENDER_MODES:
        raise SettingsError(f"render_mode: expected None or 'rgb_array', found {render_mode!r}")
    return render_mode


def _section(node: Any, path: str, name: str) -> Any:
    entries = _entries(node, path)
    if entries and name not in entries:
        found = ", ".join(repr(entry) for entry in list(entries)[:5])
        raise SettingsError(f"{path}: expected an entry {name!r}, found only {found}")
    return entries.get(name)


def _entries(node: Any, path: str) -> dict[Any, Any]:
    if node is None:
        return {}
    if isinstance(node, Mapping):
        return dict(node)
    if isinstance(node, (str, bytes, int, float, list, tuple, set)):
        raise SettingsError(f"{path}: expected a mapping, found {node!r}")
    return {name: getattr(node, name) for name in dir(node) if not name.startswith("_")}
