"""The same contract, played by an installed BALROG.

BALROG (Paglieri et al., 2024, "Benchmarking Agentic LLM and VLM Reasoning On Games") is only
distributed by its GitHub repository; the `balrog` of PyPI is something else. It brings its own fork
of minigrid, prints to stdout what its level generator rejects, and draws a picture at every step.
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

from pytest_babyai.environment.contract import (
    check_render_mode,
    check_seed,
    fingerprint,
    long_name,
    read_num_dists,
    resolve_task,
    text_action,
)
from pytest_babyai.errors import EnvironmentUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from pytest_babyai.environment.contract import Observation

BALROG_URL = "https://github.com/balrog-ai/BALROG"
_INSTALL = f"install the benchmark with: pip install git+{BALROG_URL}"
_DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless"}
"""What installs a module of another name."""

_ANY_WARNING = r"(?s).*"
_DOOR_STATES = ("open", "closed", "locked")


def make_balrog_env(
    task: str, config: Any = None, render_mode: str | None = None
) -> BalrogEnvironment:
    """Makes an environment of the installed BALROG.

    Args:
        task: Short or long name of a task.
        config: See `make_env`.
        render_mode: See `make_env`.

    Raises:
        EnvironmentUnavailableError: BALROG is not installed, or something that it needs is not.
        SettingsError: The configuration or the render mode is wrong.
        UnknownTaskError: There is no such task.
    """
    arguments = _AttributeDict(num_dists=read_num_dists(config))
    balrog_config = _AttributeDict(envs=_AttributeDict(babyai_kwargs=arguments))
    task_name = long_name(resolve_task(task))
    shows_image = check_render_mode(render_mode) is not None
    make = load_balrog()
    try:
        with _unwarned():
            inner = make("babyai", task_name, balrog_config, render_mode="rgb_array")
    except ModuleNotFoundError as error:
        raise EnvironmentUnavailableError(_missing(error)) from error
    except Exception as error:  # its many dependencies fail in many ways
        raise EnvironmentUnavailableError(
            f"BALROG cannot make {task_name}: {_one_line(error)};"
            f" it needs its own fork of minigrid; {_INSTALL}"
        ) from error
    _silence_modules()
    return BalrogEnvironment(inner, shows_image=shows_image)


def load_balrog() -> Callable[..., Any]:
    """Imports BALROG and returns its `make_env`.

    Raises:
        EnvironmentUnavailableError: BALROG is not installed, or something that it needs is not.
    """
    try:
        with _unwarned(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            module = importlib.import_module("balrog.environments")
        make: Callable[..., Any] = module.make_env
    except ModuleNotFoundError as error:
        raise EnvironmentUnavailableError(_missing(error)) from error
    except Exception as error:  # its many dependencies fail in many ways
        raise EnvironmentUnavailableError(
            f"BALROG is installed but cannot be imported: {_one_line(error)}; {_INSTALL}"
        ) from error
    return make


def _missing(error: ModuleNotFoundError) -> str:
    if error.name == "balrog":
        return f"BALROG is not installed; {_INSTALL} ('balrog' on PyPI is an unrelated package)"
    if error.name == "balrog.environments":
        return (
            "the installed 'balrog' is an unrelated package from PyPI, not the benchmark;"
            f" uninstall it, then {_INSTALL}"
        )
    package = str(error.name).partition(".")[0]
    own = f"pip install {_DISTRIBUTIONS.get(package, package)}"
    return f"BALROG is installed without {error.name!r}, which it needs: {own}; or {_INSTALL}"


@contextmanager
def _unwarned() -> Iterator[None]:
    """Ignores warnings, which a project may have made errors; they are not the user's to mend.

    `warnings.catch_warnings` would put back filters that another thread has changed meanwhile.
    """
    warnings.filterwarnings("ignore", message=_ANY_WARNING)
    changed = warnings.filters
    entry = changed[0]
    try:
        yield
    finally:
        for filters in (changed, warnings.filters):
            with suppress(ValueError):
                filters.remove(entry)  # type: ignore[attr-defined]


def _silence_modules() -> None:
    """Takes ``print`` from BALROG's modules and its minigrid's, which tell each rejected level."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"balrog", "minigrid"}:
            vars(module).setdefault("print", _say_nothing)


def _say_nothing(*_: Any, **__: Any) -> None:
    pass


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


class _AttributeDict(dict[str, Any]):
    """A mapping whose entries are attributes too, as in an OmegaConf configuration."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class BalrogEnvironment:
    """An `Environment` around BALROG's own.

    Differs from it in two points: a reset forgets the failed candidates of earlier episodes, and
    observations hold a picture only if it was asked for.

    Args:
        inner: What BALROG's `make_env` returned.
        shows_image: Whether observations keep their picture.
    """

    def __init__(self, inner: Any, *, shows_image: bool) -> None:
        self._inner = inner
        self._shows_image = shows_image
        self._fingerprint: str | None = None

    @property
    def env_name(self) -> str:
        """BALROG's name of the family of environments, ``"babyai"``."""
        return str(self._inner.env_name)

    @property
    def task_name(self) -> str:
        """Long name of the task."""
        return str(self._inner.task_name)

    @property
    def failed_candidates(self) -> list[str]:
        """Candidates since the last reset that named no action, in order."""
        candidates: list[str] = self._inner.failed_candidates
        return candidates

    @property
    def max_steps(self) -> int:
        """Step limit of the current episode, 0 before the first reset."""
        return int(self._language_env.max_steps)

    @property
    def actions(self) -> list[str]:
        """The actions by name; the same as `language_action_space`."""
        return self.language_action_space

    @property
    def language_action_space(self) -> list[str]:
        """The actions by name, in the order of minigrid's action numbers."""
        return list(self._language_env.language_action_space)

    @property
    def default_action(self) -> str:
        """The action that stands in for a candidate that names none."""
        return str(self._language_env.default_action)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; see `Environment.reset`. Gymnasium's options change nothing."""
        with _unwarned():
            observation, info = self._inner.reset(seed=check_seed(seed), options=options)
        self._inner.failed_candidates = []
        self._fingerprint = fingerprint(self._snapshot(), observation["mission"])
        return self._observe(observation), info

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes an action; see `Environment.step`."""
        self._require_episode()
        with _unwarned():
            observation, reward, terminated, truncated, info = self._inner.step(action)
        return self._observe(observation), float(reward), terminated, truncated, info

    def check_action_validity(self, candidate: str) -> str:
        """Returns the candidate, or the default action if it names none, and records that."""
        return str(self._inner.check_action_validity(candidate))

    def get_text_action(self, action: int) -> str:
        """Returns the name of one of minigrid's action numbers."""
        return text_action(self.language_action_space, action)

    def get_instruction_prompt(self, instructions: str | None = None) -> str:
        """Returns BALROG's system prompt for a goal, None for the current mission."""
        goal = instructions or self.get_stats()["mission"]
        return str(self._inner.get_instruction_prompt(instructions=goal))

    def get_stats(self) -> dict[str, Any]:
        """Returns ``mission`` and ``progression``, which is 1.0 once a reward was positive."""
        return dict(self._inner.get_stats())

    def snapshot(self) -> dict[str, Any]:
        """Returns the state of the grid as plain types; see `Environment.snapshot`."""
        self._require_episode()
        return self._snapshot()

    def layout_fingerprint(self) -> str:
        """Returns a short hash of layout and mission, equal to the built-in environment's."""
        return self._require_episode()

    def render(self) -> NDArray[np.uint8]:
        """Returns a picture of the whole grid, RGB of shape (height, width, 3) in pixels."""
        self._require_episode()
        picture: NDArray[np.uint8] = self._inner.unwrapped.get_frame()
        return picture

    def close(self) -> None:
        """Closes BALROG's environment."""
        self._inner.close()

    @property
    def _language_env(self) -> Any:
        return self._inner.env

    def _require_episode(self) -> str:
        if self._fingerprint is None:
            raise RuntimeError("no episode has been started; call reset() first")
        return self._fingerprint

    def _observe(self, observation: Any) -> Observation:
        kept: Observation = {"mission": observation["mission"], "text": observation["text"]}
        if self._shows_image:
            import numpy as np

            kept["image"] = np.asarray(observation["image"])
        return kept

    def _snapshot(self) -> dict[str, Any]:
        level = self._inner.unwrapped
        width, height, held = level.width, level.height, level.carrying
        x, y = level.agent_pos
        return {
            "width": width,
            "height": height,
            "cells": [
                [_describe(level.grid.get(column, row)) for column in range(width)]
                for row in range(height)
            ],
            "agent": {"x": int(x), "y": int(y), "direction": int(level.agent_dir)},
            "carrying": None if held is None else {"type": held.type, "color": held.color},
        }


def _describe(thing: Any) -> dict[str, str | None] | None:
    if thing is None:
        return None
    state = _DOOR_STATES[thing.encode()[2]] if thing.type == "door" else None
    return {"type": thing.type, "color": thing.color, "state": state}
