"""The learning loop at a small size: real model server, store and trainer."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands.learn import DIRECTORY
from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from pytest_babyai.project import create_project
from tests.unit.offline.finetuning_samples import needs_torch

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_torch

SETTINGS = "tasks: [goto]\ngate: aggregate\n"
# This teacher does not think aloud: what learns from it has few tokens to write.
LEARN = ("--episodes=16", "--evaluation-episodes=2", "--epochs=2", "--teacher=history")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the whole loop has been run."""
    root = tmp_path_factory.mktemp("loop")
    create_project(root)
    (root / "config/babyai.yml").write_text(SETTINGS)
    return root


def learn(pytester: pytest.Pytester, root: Path, *options: str) -> pytest.RunResult:
    return pytester.run(sys.executable, "-m", "pytest_babyai", "learn", *options, f"--root={root}")


@pytest.mark.parametrize("time", ["first", "second"])
def test_one_command_runs_the_loop_and_repeats_nothing(
    pytester: pytest.Pytester, played: Path, time: str
) -> None:
    result = learn(pytester, played, *LEARN)

    # Two seeds prove nothing about so small a model, either way.
    assert result.ret in {0, 1}, result.stderr.str()
    if time == "first":
        result.stdout.fnmatch_lines(["== 1/5 collect (*", "== 3/5 fine-tune (* left)", "* started"])
    else:
        result.stdout.fnmatch_lines(["== 1/5 collect: done before", "== 3/5 *: done before"])
    directory = played / DIRECTORY
    assert [path.parent.name for path in (played / ".babyai").rglob(".gitignore")] == [".babyai"]
    for name in ("report.html", "report.md"):
        report = (directory / name).read_text()
        assert "What the student was trained on" in report
        assert "hyperparameters: n_epochs 2, batch_size 8" in report
        assert "history_sft" in report
    assert {"report.html", "report.md", "charts", "learning-curve.svg", "data.jsonl"} <= {
        path.name for path in directory.iterdir()
    }


def test_the_fine_tuned_variant_was_played_beside_its_teacher(played: Path) -> None:
    entries = list(open_run(played / RUNS_DIRECTORY).entries())

    seeds = {
        variant: sorted(entry.key.seed for entry in entries if entry.key.variant == variant)
        for variant in ("history", "history_sft")
    }
    assert seeds["history"] == seeds["history_sft"] == [200, 201]
    outcomes = [entry.outcome for entry in entries if entry.key.variant.endswith("_sft")]
    assert all(hasattr(outcome, "progression") for outcome in outcomes)


def test_training_and_evaluation_share_nothing(played: Path) -> None:
    manifest = json.loads((played / "config/models/policy_sft.json").read_text())

    seeds = {seed for seed, _ in manifest["episodes"]["goto"]}
    assert seeds
    assert seeds <= set(range(16))


def test_the_manifest_knows_model_and_hyperparameters(played: Path) -> None:
    manifest = json.loads((played / "config/models/policy_sft.json").read_text())

    assert manifest["data"]["source"]["model_setting"] == "offline_careless"
    assert manifest["job"]["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 8,
        "learning_rate_multiplier": 1.0,
        "seed": 0,
    }


def test_the_student_is_not_compared_with_its_teacher_on_another_model(
    pytester: pytest.Pytester, played: Path
) -> None:
    result = pytester.run(
        *(sys.executable, "-m", "pytest", str(played / "evals"), f"--rootdir={played}"),
        *("-c", str(played / "pytest.ini"), f"--babyai-config={played / 'config'}"),
        *("--babyai-variants=history,history_sft", "--babyai-model=offline"),
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: history_sft has learned from history on the model *"])


def test_a_variant_is_refused_on_what_it_was_trained_on(
    pytester: pytest.Pytester, played: Path
) -> None:
    result = pytester.run(
        *(sys.executable, "-m", "pytest", str(played / "evals"), f"--rootdir={played}"),
        *("-c", str(played / "pytest.ini"), f"--babyai-config={played / 'config'}"),
        "--babyai-variants=history_sft",
        "--babyai-seeds=0-15",
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: history_sft was trained on seeds *"])


def test_other_options_are_another_loop(pytester: pytest.Pytester, played: Path) -> None:
    result = learn(pytester, played, "--episodes=17", *LEARN[1:])

    assert result.ret == 4
    assert len(result.stderr.lines) == 1
    result.stderr.fnmatch_lines(["pytest_babyai learn: *other values of --episodes; *--fresh"])


def test_the_summary_says_that_the_offline_model_cannot_read_the_prompts(
    pytester: pytest.Pytester,
) -> None:
    create_project(pytester.path)
    user = pytester.path / "config/functions/act/user/observation.minijinja"
    user.write_text("{{ observation }}\nWhat now?\n")  # it does not name the mission

    result = pytester.runpytest(
        *("evals", "--babyai-variants=baseline", "--babyai-tasks=goto", "--babyai-seeds=200-201"),
        *("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"),
    )

    result.stdout.fnmatch_lines(["WARNING: the offline model found no mission in * prompts*"])
