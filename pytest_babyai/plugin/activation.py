"""Registers the hooks that episodes need, once there is a marked test."""

from __future__ import annotations

import pytest

from pytest_babyai.plugin.options import is_worker
from pytest_babyai.plugin.state import State
from pytest_babyai.plugin.xdist import WorkerHooks

_STATE = pytest.StashKey[State]()


def activate(config: pytest.Config) -> State:
    """Returns the state of a session; the first call registers the hooks."""
    if _STATE not in config.stash:
        state = config.stash[_STATE] = State(config)
        if is_worker(config):
            config.pluginmanager.register(WorkerHooks(config), "babyai-worker")
        else:
            _register_hooks(config, state)
    return config.stash[_STATE]


def _register_hooks(config: pytest.Config, state: State) -> None:
    # A worker does without all these.
    from pytest_babyai.plugin.artifacts import ArtifactHooks
    from pytest_babyai.plugin.last import LastHooks
    from pytest_babyai.plugin.loop import LoopHooks
    from pytest_babyai.plugin.outcomes import OutcomeHooks
    from pytest_babyai.plugin.summary import SummaryHooks, TrimHooks

    register = config.pluginmanager.register
    register(LoopHooks(state), "babyai-loop")
    register(OutcomeHooks(state), "babyai-outcomes")
    register(LastHooks(state), "babyai-last")
    register(ArtifactHooks(state), "babyai-artifacts")
    register(SummaryHooks(state), "babyai-summary")
    register(TrimHooks(state), "babyai-trim")
