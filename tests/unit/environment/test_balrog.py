"""The adapter to BALROG, against a small stand-in that has its shape."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_babyai.environment import environment_factory, make_balrog_env, make_env
from pytest_babyai.environment.balrog import BalrogEnvironment, load_balrog
from pytest_babyai.environment.world import item
from pytest_babyai.errors import EnvironmentUnavailableError, SettingsError, UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

STAND_IN = '''
from pytest_babyai.environment import make_env as make_builtin
from pytest_babyai.environment.picture import _Canvas, draw_view


class LanguageEnv:
    language_action_space = [
        "turn left", "turn right", "go forward", "pick up", "drop", "toggle"
    ]
    default_action = "go forward"

    def __init__(self, env):
        self.env = env

    @property
    def max_steps(self):
        return self.env.max_steps


class EnvWrapper:
    """Keeps failed candidates across resets and draws every step, as BALROG does."""

    def __init__(self, env, env_name, task_name):
        self.env = LanguageEnv(env)
        self.env_name = env_name
        self.task_name = task_name
        self.failed_candidates = []
        self.closed = False

    @property
    def unwrapped(self):
        return _Canvas(self.env.env._episode.world)

    def reset(self, **kwargs):
        obs, _ = self.env.env.reset(**kwargs)
        return self._draw(obs), {"descriptions": []}

    def step(self, action):
        obs, *rest = self.env.env.step(action)
        return self._draw(obs), *rest

    def _draw(self, obs):
        return {**obs, "image": draw_view(self.env.env._episode.world)}

    def check_action_validity(self, candidate):
        if candidate in self.env.language_action_space:
            return candidate
        self.failed_candidates.append(candidate)
        return self.env.default_action

    def get_instruction_prompt(self, instructions=None):
        return f"Your goal is to {instructions}."

    def get_stats(self):
        return self.env.env.get_stats()

    def close(self):
        self.closed = True


def make_env(env_name, task, config, render_mode=None):
    given = dict(**config.envs.babyai_kwargs)
    assert render_mode == "rgb_array"
    env = make_builtin(env_name, task, {"envs": {"babyai_kwargs": given}})
    return EnvWrapper(env, env_name, task)
'''


@pytest.fixture(autouse=True)
def forget_balrog() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "balrog"]:
        del sys.modules[name]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package called balrog, first on the path."""
    folder = tmp_path / "balrog"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.fixture
def installed(package: Path) -> None:
    (package / "environments.py").write_text(STAND_IN)


def started(task: str) -> BalrogEnvironment:
    env = make_balrog_env(task)
    env.reset(seed=0)
    return env


def unavailable() -> str:
    with pytest.raises(EnvironmentUnavailableError) as caught:
        environment_factory("balrog")
    return str(caught.value)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("task", ["open", "BabyAI-MixedTrainLocal-v0/putnext"])
def test_episode_is_the_same_as_the_built_in_one(task: str) -> None:
    ours, theirs = make_env("babyai", task), make_balrog_env(task)
    assert theirs.max_steps == 0
    assert ours.reset(seed=4)[0] == theirs.reset(seed=4)[0]
    assert theirs.layout_fingerprint() == ours.layout_fingerprint()
    for action in ("go forward", "turn left", "toggle", "pick up"):
        assert ours.step(action)[:4] == theirs.step(action)[:4]
        assert theirs.snapshot() == ours.snapshot()
    assert theirs.get_stats() == ours.get_stats()
    assert theirs.max_steps == ours.max_steps
    assert (theirs.env_name, theirs.task_name) == (ours.env_name, ours.task_name)
    assert np.array_equal(theirs.render(), ours.render())


@pytest.mark.usefixtures("installed")
def test_snapshot_tells_doors_and_what_is_carried() -> None:
    env = started("open")
    world = env._inner.env.env._episode.world
    world.carrying = item("key", "blue")
    snapshot = env.snapshot()
    doors = [cell for row in snapshot["cells"] for cell in row if cell and cell["type"] == "door"]
    assert [door["state"] for door in doors] == ["locked"]
    assert snapshot["carrying"] == {"type": "key", "color": "blue"}


@pytest.mark.usefixtures("installed")
def test_factory_passes_the_distractors_on() -> None:
    env = environment_factory("balrog", num_dists=3)("goto")
    env.reset(seed=0)
    cells = [cell for row in env.snapshot()["cells"] for cell in row]
    assert sum(cell is not None and cell["type"] != "wall" for cell in cells) == 4


@pytest.mark.usefixtures("installed")
def test_reset_forgets_failed_candidates() -> None:
    env = make_balrog_env("goto")
    env.reset(seed=0)
    assert env.check_action_validity("jump") == env.default_action
    assert env.failed_candidates == ["jump"]
    env.reset(seed=0)
    assert env.failed_candidates == []


@pytest.mark.usefixtures("installed")
def test_actions_and_prompt_are_balrog_s() -> None:
    env = started("goto")
    assert env.actions == env.language_action_space
    assert env.get_text_action(5) == "toggle"
    with pytest.raises(ValueError, match="expected a number from 0 to 5, found -1"):
        env.get_text_action(-1)
    assert env.get_instruction_prompt() == "Your goal is to go to the green key."
    assert env.get_instruction_prompt("rest") == "Your goal is to rest."


@pytest.mark.usefixtures("installed")
def test_picture_is_there_only_if_asked_for() -> None:
    without, _ = make_balrog_env("goto").reset(seed=0)
    with_image, _ = make_balrog_env("goto", render_mode="rgb_array").reset(seed=0)
    assert "image" not in without
    assert with_image["image"].shape == (112, 112, 3)


@pytest.mark.usefixtures("installed")
def test_what_needs_an_episode_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        make_balrog_env("goto").snapshot()


@pytest.mark.usefixtures("installed")
def test_wrong_seed_is_told_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^seed: expected a non-negative integer, found -1$"):
        make_balrog_env("goto").reset(seed=-1)


@pytest.mark.usefixtures("installed")
def test_close_closes_balrog_s_environment() -> None:
    env = make_balrog_env("goto")
    env.close()
    assert env._inner.closed


@pytest.mark.usefixtures("installed")
def test_unknown_task_is_told_before_balrog_is_asked() -> None:
    with pytest.raises(UnknownTaskError, match="did you mean 'goto'"):
        make_balrog_env("gotto")


def test_missing_balrog_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "balrog"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / "balrog").is_dir()])
    assert unavailable() == (
        "BALROG is not installed; install the benchmark with:"
        " pip install git+https://github.com/balrog-ai/BALROG"
        " ('balrog' on PyPI is an unrelated package)"
    )


@pytest.mark.usefixtures("package")
def test_unrelated_balrog_says_what_to_install() -> None:
    assert unavailable() == (
        "the installed 'balrog' is an unrelated package from PyPI, not the benchmark;"
        " uninstall it, then install the benchmark with:"
        " pip install git+https://github.com/balrog-ai/BALROG"
    )


def test_missing_dependency_is_named(package: Path) -> None:
    (package / "environments.py").write_text("import no_such_gym\n")
    assert unavailable().startswith(
        "BALROG is installed without 'no_such_gym', which it needs: pip install no_such_gym; or"
    )


def test_a_dependency_that_is_missing_when_an_environment_is_made_is_named(package: Path) -> None:
    source = """
        def make_env(env_name, task, config, render_mode=None):
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
    """
    (package / "environments.py").write_text(dedent(source))
    with pytest.raises(EnvironmentUnavailableError) as caught:
        make_balrog_env("goto")
    assert str(caught.value).startswith(
        "BALROG is installed without 'PIL', which it needs: pip install pillow; or install"
    )


WARNING_AND_CHATTERING = """
import warnings
print("imported")
warnings.warn("an old way to import", DeprecationWarning)
{stand_in}
quiet_make = make_env


def make_env(*args, **kwargs):
    warnings.warn("an old way to make", DeprecationWarning)
    env = quiet_make(*args, **kwargs)

    def reset(**kwargs):
        print("sampling rejected")
        warnings.warn("an old way to reset", UserWarning)
        return type(env).reset(env, **kwargs)

    def step(action):
        print("stepping")
        warnings.warn("an old way to step", UserWarning)
        return type(env).step(env, action)

    env.reset, env.step = reset, step
    return env
"""


def test_warnings_and_chatter_of_balrog_stay_its_own(
    package: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = WARNING_AND_CHATTERING.replace("{stand_in}", STAND_IN)
    (package / "environments.py").write_text(text)
    before = list(warnings.filters)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make_balrog_env("goto")
        env.reset(seed=0)
        env.step("turn left")
        with pytest.raises(UserWarning, match="of the user"):
            warnings.warn("of the user", UserWarning, stacklevel=1)

    assert list(warnings.filters) == before
    assert capsys.readouterr() == ("", "")


def test_broken_import_is_told_in_one_line(package: Path) -> None:
    (package / "environments.py").write_text("raise TypeError('numpy 2\\nis too new')\n")
    assert unavailable().startswith(
        "BALROG is installed but cannot be imported: TypeError: numpy 2;"
    )


def test_failure_to_make_names_the_fork_of_minigrid(package: Path) -> None:
    source = """
        def make_env(env_name, task, config, render_mode=None):
            raise LookupError("no environment `BabyAI-MixedTrainLocal`")
    """
    (package / "environments.py").write_text(dedent(source))
    load_balrog()
    with pytest.raises(EnvironmentUnavailableError, match="it needs its own fork of minigrid"):
        make_balrog_env("goto")
