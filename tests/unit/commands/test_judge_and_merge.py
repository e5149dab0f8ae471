"""``judge`` and ``merge``, as a CI matrix uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.journal import RUNS_DIRECTORY, VariantDefinition, open_run
from tests.unit.commands.test_compare import SEEDS, Project, outcomes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Project:
    monkeypatch.setenv("COLUMNS", "160")
    return Project(tmp_path, capsys)


def call(
    capsys: pytest.CaptureFixture[str], project: Project, *arguments: str, code: int = 0
) -> str:
    """Runs a command, which has to end with the given code; returns all that it printed."""
    ended = main([*arguments, "--root", str(project.root)])
    printed = capsys.readouterr()
    assert ended == code, printed.out + printed.err
    if code == 4:
        assert printed.out == ""
        assert printed.err.count("\n") == 1
    return printed.out + printed.err


def test_gates_decide_the_exit_code(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.play(outcomes(9, seeds=range(60)))
    passed = call(capsys, project, "judge", "latest", "--fail=success>=0.5")
    project.play(outcomes(2, seeds=range(60)))
    failed = call(
        capsys, project, "judge", "latest", "--fail=success>=0.1", "--fail=success>=0.5", code=1
    )

    assert "passed history:success>=0.5" in passed
    assert "1 gate: 0 failed, 0 inconclusive, 1 passed" in passed
    assert "FAILED history:success>=0.5" in failed


def test_what_no_gate_can_tell_fails_nothing(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.play(outcomes(5))

    assert "1 inconclusive" in call(capsys, project, "judge", "latest", "--fail=success>=0.5")


def test_changes_refer_to_a_baseline_or_a_run(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    good = project.play(outcomes(9))
    project.bless(good)
    project.play(outcomes(2))

    for reference in ("main", good):
        options = (f"--compare={reference}", "--fail=success<-0.05")
        printed = call(capsys, project, "judge", "latest", *options, code=1)
        assert "FAILED history:success<-0.05: success changed by " in printed


def test_changes_refer_to_a_variant(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    variants = {name: VariantDefinition("ab12") for name in ("history", "terse")}
    played = [*outcomes(9), *outcomes(2, variant="terse")]
    project.play(played, variants=variants)
    options = ("--reference=history", "--fail=terse:success<-0.05")

    assert "FAILED terse:" in call(capsys, project, "judge", "latest", *options, code=1)


def test_without_a_rule_the_runs_own_gates_judge(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    by_model = {
        "offline": ["success>=0.5", "terse:success>=0.5", "steps>+10%"],
        "openai": ["success>=0"],
    }
    project.play(
        outcomes(2, seeds=range(60)),
        session={"settings": {"num_dists": 0, "model": "offline", "fail": by_model}},
    )

    printed = call(capsys, project, "judge", "latest", code=1)

    assert "FAILED history:success>=0.5" in printed
    assert "1 gate: 1 failed" in printed


def test_a_run_without_gates_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run = project.play(outcomes(5))

    assert call(capsys, project, "judge", run, code=4) == (
        f"pytest_babyai judge: run {run} was given no gates; name some, such as "
        "--fail='success>=0.8'\n"
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--fail=succes>=1"], "--fail: rule 'succes>=1': unknown metric 'succes'"),
        (["--fail=success<-0.05"], "--fail: "),
        (["--fail=success>=1", "--compare=mian"], "'mian' is no run in "),
        (["--fail=success>=1", "--reference=terse"], "--reference: run "),
        (
            ["--fail=success>=1", "--compare=a", "--reference=b"],
            "--compare and --reference exclude each other; give one of them",
        ),
    ],
)
def test_what_cannot_be_judged_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    project.play(outcomes(5))

    printed = call(capsys, project, "judge", "latest", *options, code=4)

    assert printed.startswith(f"pytest_babyai judge: {line}")


def test_a_run_that_is_not_complete_says_so(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    run = project.play(outcomes(9), session={"num_selected": 100})

    printed = call(capsys, project, "judge", "latest", "--fail=success>=0.1")

    assert f"run {run} is not complete: 24 of 100 episodes played" in printed


def shards(project: Project, num_parts: int = 4) -> list[Path]:
    """Plays every shard on a machine of its own; returns what was downloaded from them."""
    directories = []
    for part in range(1, num_parts + 1):
        machine = project.root / "downloads" / f"shard-{part}"
        machine.mkdir(parents=True)
        there = Project.__new__(Project)
        there.root, there.runs = machine, machine / RUNS_DIRECTORY
        seeds = SEEDS[part - 1 :: num_parts]
        settings = {"num_dists": 0, "shard": f"{part}/{num_parts}", "fail": ["success>=0.5"]}
        there.play(outcomes(9, seeds=seeds), session={"settings": settings})
        directories.append(machine)
    return directories


def test_shards_are_merged_judged_and_reported(
    project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shards(project)

    printed = call(capsys, project, "merge", str(tmp_path / "downloads"))

    log = open_run(project.runs)
    assert printed == f"run {log.run_id}: 24 episodes of 4 runs, 0 errors\n"
    assert "passed history:success>=0.5" in call(capsys, project, "judge", "latest")
    assert "history 100.0 %" in call(capsys, project, "runs")
    report = tmp_path / "report.md"
    assert call(capsys, project, "report", "latest", f"--md={report}") == f"{report} written\n"
    assert "24 of 24 episodes solved" in report.read_text()
    options = ("--metric=success",)
    assert "undecided" in call(capsys, project, "compare", log.run_id, "latest", *options)


def test_a_shard_that_is_missing_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    present = [str(path) for path in shards(project)[:-1]]

    line = "pytest_babyai merge: no run of shard 4/4 is among them; add it, or merge what there is "
    assert call(capsys, project, "merge", *present, code=4).startswith(line)
    assert "missing: shard 4/4" in call(capsys, project, "merge", *present, "--partial")


def test_runs_of_the_project_are_merged_by_their_names(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = project.play(outcomes(9)), project.play(outcomes(9, seeds=range(5)))

    printed = call(capsys, project, "merge", first, second[-6:], str(project.runs / first))

    assert f"run {open_run(project.runs).run_id}: 34 episodes of 2 runs, 0 errors" in printed


def test_a_choice_is_said(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [project.play(outcomes(number)) for number in (9, 2)]

    refused = call(capsys, project, "merge", *runs, code=4)
    printed = call(capsys, project, "merge", *runs, "--prefer=last")

    assert "have different results of history-" in refused
    assert "episodes with different results: the last run's count" in printed
    assert "in several runs with the same result: each counts once" in printed


@pytest.mark.parametrize("name", ["nope", "."])
def test_nothing_to_merge_is_one_line(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(project.root / "config")

    assert "no run" in call(capsys, project, "merge", name, code=4)
