"""Playing from Python: the same journal, resume and budgets, without pytest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pytest_babyai
from pytest_babyai.errors import SettingsError, UnknownTaskError
from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from tests.plugin.provider import SOLVED_SEEDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.provider import Provider


@pytest.fixture
def root(project: pytest.Pytester) -> Path:
    return project.path


CHOSEN: dict[str, Any] = {"variants": ["baseline"], "tasks": "goto", "model": "fake.toml"}


def test_episodes_are_a_frame_and_a_run(root: Path, provider: Provider) -> None:
    frame = pytest_babyai.play(root=root, seeds=list(SOLVED_SEEDS), **CHOSEN)

    assert list(frame["seed"]) == sorted(SOLVED_SEEDS)
    assert frame["success"].all()
    log = open_run(root / RUNS_DIRECTORY)
    assert set(frame["run_id"]) == {log.run_id}
    assert len(list(log.entries())) == len(SOLVED_SEEDS)
    assert log.state.value == "finished"
    assert frame["num_steps"].sum() == len(provider.requests)


def test_a_running_loop_can_await_it(root: Path) -> None:
    async def notebook() -> int:
        frame = await pytest_babyai.play_async(root=root, seeds=[2], **CHOSEN)
        return len(frame)

    assert asyncio.run(notebook()) == 1


def test_a_run_is_gone_on_with(root: Path, provider: Provider) -> None:
    pytest_babyai.play(root=root, seeds=[2, 53], **CHOSEN)
    provider.requests.clear()

    frame = pytest_babyai.play(root=root, seeds=[2, 53, 85], resume="latest", **CHOSEN)

    assert len(frame) == 3
    assert len(provider.requests) == frame.set_index("seed").loc[85, "num_steps"]


def test_a_budget_leaves_the_rest_unplayed(root: Path) -> None:
    frame = pytest_babyai.play(root=root, seeds=range(10), concurrency=1, max_tokens="7k", **CHOSEN)

    assert 0 < len(frame) < 10
    assert open_run(root / RUNS_DIRECTORY).state.value == "interrupted"


def test_progress_is_shown_unless_it_is_not_wanted(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest_babyai.play(root=root, seeds=[2], **CHOSEN)
    assert "1 of 1 episodes, 1 steps" in capsys.readouterr().err

    pytest_babyai.play(root=root, seeds=[2], progress=False, **CHOSEN)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "error", "line"),
    [
        ({"varants": ["a"]}, SettingsError, "unknown argument 'varants'; did you mean 'variants'"),
        ({"variants": ["histroy"]}, SettingsError, "unknown variant 'histroy'"),
        ({"tasks": ["gotoo"]}, UnknownTaskError, "unknown task 'gotoo'"),
        ({"episodes": 0}, SettingsError, r"play\(episodes=…\): 0 is not a whole number"),
        ({"html": "x.html"}, SettingsError, "unknown argument 'html'"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(
    root: Path, settings: dict[str, Any], error: type[Exception], line: str
) -> None:
    with pytest.raises(error, match=line):
        pytest_babyai.play(root=root, **settings)
