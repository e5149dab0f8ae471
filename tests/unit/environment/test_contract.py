from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_babyai.environment import (
    STEP_LIMITS,
    TASKS,
    environment_factory,
    long_name,
    make_env,
    resolve_task,
)
from pytest_babyai.environment.contract import fingerprint, read_num_dists
from pytest_babyai.errors import SettingsError, UnknownTaskError


def config(**arguments: Any) -> dict[str, Any]:
    return {"agent": {"type": "naive"}, "envs": {"names": "babyai", "babyai_kwargs": arguments}}


@pytest.mark.parametrize("task", TASKS)
def test_short_and_long_names_resolve_to_the_short_one(task: str) -> None:
    assert resolve_task(task) == resolve_task(long_name(task)) == task


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gotoo", "unknown task 'gotoo'; did you mean 'goto'?"),
        ("PutNext", "unknown task 'PutNext'; did you mean 'putnext'?"),
        (
            "BabyAI-MixedTrainLocal-v0/opn",
            f"unknown task {long_name('opn')!r}; did you mean {long_name('open')!r}?",
        ),
        (
            "xyz",
            "unknown task 'xyz'; choose from goto, pickup, open, putnext, pick_up_seq_go_to",
        ),
        (3, "unknown task 3; choose from goto, pickup, open, putnext, pick_up_seq_go_to"),
    ],
)
def test_unknown_task_is_told_in_one_line(name: Any, line: str) -> None:
    with pytest.raises(UnknownTaskError) as caught:
        resolve_task(name)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("given", "num_dists"),
    [
        (None, 0),
        ({}, 0),
        (config(), 0),
        ({"envs": {"babyai_kwargs": None}}, 0),
        (config(num_dists=3), 3),
        (SimpleNamespace(envs=SimpleNamespace(babyai_kwargs=SimpleNamespace(num_dists=8))), 8),
        (SimpleNamespace(envs={"babyai_kwargs": {"num_dists": 2}}), 2),
    ],
)
def test_num_dists_is_read_from_mappings_and_attributes(given: Any, num_dists: int) -> None:
    assert read_num_dists(given) == num_dists


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            config(num_dists="3"),
            "config.envs.babyai_kwargs.num_dists: expected an integer from 0 to 16, found '3'",
        ),
        (
            config(num_dists=-1),
            "config.envs.babyai_kwargs.num_dists: expected an integer from 0 to 16, found -1",
        ),
        (
            config(num_dists=True),
            "config.envs.babyai_kwargs.num_dists: expected an integer from 0 to 16, found True",
        ),
        (
            config(num_dists=17),
            "config.envs.babyai_kwargs.num_dists: expected an integer from 0 to 16, found 17",
        ),
        (
            config(num_dist=3),
            "config.envs.babyai_kwargs: unknown entry 'num_dist'; did you mean 'num_dists'?",
        ),
        ({"num_dists": 3}, "config: expected an entry 'envs', found only 'num_dists'"),
        (
            {"envs": {"babyai": {}}},
            "config.envs: expected an entry 'babyai_kwargs', found only 'babyai'",
        ),
        ({"envs": 3}, "config.envs: expected a mapping, found 3"),
        ("babyai.yml", "config: expected a mapping, found 'babyai.yml'"),
    ],
)
def test_wrong_config_is_told_in_one_line(given: Any, line: str) -> None:
    with pytest.raises(SettingsError) as caught:
        make_env("babyai", "goto", given)
    assert str(caught.value) == line


def test_unknown_environment_name_is_told_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^unknown environment 'nle'; choose from babyai$"):
        make_env("nle", "goto")


def test_unknown_render_mode_is_told_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^render_mode: expected None or 'rgb_array', found"):
        make_env("babyai", "goto", render_mode="human")


def test_factory_makes_environments_with_its_distractors() -> None:
    env = environment_factory("builtin", num_dists=3)("goto")
    env.reset(seed=0)
    cells = [cell for row in env.snapshot()["cells"] for cell in row]
    assert sum(cell is not None and cell["type"] != "wall" for cell in cells) == 4


def test_factory_refuses_an_unknown_kind() -> None:
    with pytest.raises(SettingsError, match=r"unknown kind 'buildin'; did you mean 'builtin'\?$"):
        environment_factory("buildin")


def test_factory_refuses_a_wrong_number_of_distractors() -> None:
    with pytest.raises(SettingsError, match=r"^num_dists: expected an integer from 0 to 16"):
        environment_factory("builtin", num_dists=-2)


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}, "go") == fingerprint({"b": 2, "a": 1}, "go")


def test_importing_and_making_leaves_heavy_packages_alone() -> None:
    code = (
        "import sys\n"
        "from pytest_babyai.environment import make_env\n"
        "make_env('babyai', 'goto')\n"
        "print({'minigrid', 'gymnasium', 'numpy', 'balrog'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("task", TASKS)
def test_step_limits_are_those_of_the_environments(task: str) -> None:
    environment = make_env("babyai", task)
    environment.reset(seed=3)

    assert environment.max_steps == STEP_LIMITS[task]
