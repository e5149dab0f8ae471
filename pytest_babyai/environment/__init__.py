"""BabyAI-Text environments behind one contract.

Importing this package is cheap: minigrid is imported by the first `reset`, BALROG by
`make_balrog_env`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pytest_babyai.environment.babyai import BabyAIEnvironment, make_env
from pytest_babyai.environment.balrog import load_balrog, make_balrog_env
from pytest_babyai.environment.contract import (
    LEVEL,
    STEP_LIMITS,
    TASKS,
    Environment,
    Observation,
    check_num_dists,
    long_name,
    resolve_task,
)
from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ENVIRONMENT_KINDS",
    "LEVEL",
    "STEP_LIMITS",
    "TASKS",
    "Environment",
    "Observation",
    "environment_factory",
    "long_name",
    "make_balrog_env",
    "make_env",
    "resolve_task",
]

ENVIRONMENT_KINDS = ("builtin", "balrog")


def environment_factory(kind: str = "builtin", num_dists: int = 0) -> Callable[[str], Environment]:
    """Returns what makes an environment of a task, given by its short or long name.

    Args:
        kind: ``"builtin"``, or ``"balrog"`` for an installed BALROG.
        num_dists: Objects that the mission does not need, in each room the agent can reach.

    Raises:
        EnvironmentUnavailableError: BALROG was asked for and cannot be imported.
        SettingsError: There is no such kind, or ``num_dists`` is out of range.
    """
    check_num_dists(num_dists, "num_dists")
    if kind == "builtin":
        return functools.partial(BabyAIEnvironment, num_dists=num_dists)
    if kind == "balrog":
        load_balrog()
        config = {"envs": {"babyai_kwargs": {"num_dists": num_dists}}}
        return functools.partial(make_balrog_env, config=config)
    hint = did_you_mean(str(kind), ENVIRONMENT_KINDS)
    raise SettingsError(f"environment: unknown kind {kind!r}; {hint}")
