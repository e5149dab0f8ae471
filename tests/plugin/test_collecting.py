"""Collecting experience: what is played, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.journal import RUNS_DIRECTORY, open_run

if TYPE_CHECKING:
    from tests.plugin.provider import Provider


def test_the_teacher_plays_the_training_seeds(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-collect", "--collect-only", "-q")

    names = [line.partition("[")[2] for line in result.stdout.lines if "test_episode[" in line]
    assert names == [f"history_and_reasoning-goto-{seed}]" for seed in range(200)]


def test_less_can_be_asked_for(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-collect", "--babyai-episodes=3", "--babyai-variants=history", "--babyai-store=s"
    )

    assert result.ret == pytest.ExitCode.OK
    entries = list(open_run(project.path / RUNS_DIRECTORY).entries())
    assert sorted((entry.key.variant, entry.key.seed) for entry in entries) == [
        ("history", seed) for seed in range(3)
    ]
    result.stdout.fnmatch_lines(["feedback of 3 episodes is in the store"])


@pytest.mark.parametrize("option", ["--babyai-seeds=199,200", "--babyai-seed=150"])
def test_evaluation_seeds_are_refused(
    project: pytest.Pytester, provider: Provider, option: str
) -> None:
    result = project.runpytest("--babyai-collect", option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --babyai-collect plays the training seeds 0 to 199; seed 200 is for evaluation"]
    )
    assert not provider.requests


def test_a_marker_cannot_bring_evaluation_seeds_in(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="import pytest\n\n@pytest.mark.babyai(seeds=[200])\n"
        "def test_episode(babyai_episode): pass\n"
    )

    result = project.runpytest("--babyai-collect", "--collect-only", "-q")

    assert "goto-200]" not in result.stdout.str()
