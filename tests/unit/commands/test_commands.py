"""The commands that look into the journal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.journal import RUNS_DIRECTORY, create_run
from tests.unit.journal.journal_samples import RECORDING, entry, key, manifest, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a run of two episodes."""
    keys = [key(seed=seed) for seed in (200, 201)]
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        for each in keys:
            nodeid = f"t.py::test_episode[{each}]"
            journal.append(entry(key=each, outcome=result(each), nodeid=nodeid))
    return tmp_path


def test_runs_are_listed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--root", str(project)]) == 0

    (run,) = (path.name for path in (project / RUNS_DIRECTORY).iterdir() if path.is_dir())
    assert run in capsys.readouterr().out


def test_a_run_is_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "latest", "--root", str(project)]) == 0

    printed = capsys.readouterr().out
    assert "[baseline-goto-201]" in printed
    assert printed.endswith(
        "\nconsumed by all its sessions: 440 tokens, $0.00, 2 s of play in 2 plays\n"
    )


def test_an_episode_is_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "latest", "baseline-goto-201", "--root", str(project)]) == 0

    assert "mission: " in capsys.readouterr().out


def test_an_unknown_episode_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "latest", "baseline-goto-20", "--root", str(project)]) == 4

    printed = capsys.readouterr()
    assert printed.err.startswith("pytest_babyai show: no episode 'baseline-goto-20' in run ")
    assert printed.err.count("\n") == 1


def test_reports_are_written(project: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("r.html", "r.md", "r.csv", "r.parquet")]
    options = [f"--{path.suffix[1:]}={path}" for path in files]

    assert main(["report", "latest", *options, "--root", str(project)]) == 0

    assert all(path.stat().st_size > 100 for path in files)
    assert files[2].read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--html=.", "--html: . is a directory; give the name of a file"),
        ("--md={file}/r.md", "--md: {file} is a file, so there can be no {file}/r.md"),
        ("--charts={file}", "--charts: {file} is a file; give the name of a directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_one_line(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, line: str
) -> None:
    file = tmp_path / "file"
    file.touch()

    assert main(["report", "latest", option.format(file=file), "--root", str(project)]) == 4

    assert capsys.readouterr().err == f"pytest_babyai report: {line.format(file=file)}\n"


def test_a_report_without_a_file_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "latest", "--root", str(project)]) == 4

    assert "nothing to write; give --html" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["show", "latest"], ["report", "latest", "--md=r.md"], ["dataset", "latest"]]
)
def test_without_any_run_a_command_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "--root", str(tmp_path)]) == 4

    root = tmp_path / RUNS_DIRECTORY
    assert capsys.readouterr().err == (
        f"pytest_babyai {command[0]}: no run in {root} yet: every pytest run with episodes adds "
        "one\n"
    )


def test_the_first_run_is_shown_while_it_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        journal.append(entry(key=key(), outcome=result(key()), nodeid="t.py::test_episode[x]"))

        assert main(["show", "latest", "--root", str(tmp_path)]) == 0

    assert "[x]" in capsys.readouterr().out


def test_a_root_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"

    assert main(["learn", "--root", str(gone)]) == 4

    line = f"invalid value for '--root': Directory '{gone}' does not exist; "
    assert f"pytest_babyai learn: {line}" in capsys.readouterr().err
    assert not gone.exists()


def test_runs_that_cannot_be_read_are_listed_as_such(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = project / RUNS_DIRECTORY / "20990101-000000-abcd"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")

    assert main(["runs", "--root", str(project)]) == 0

    assert f"not readable: {damaged / 'manifest.json'}: not readable: " in capsys.readouterr().out


def test_a_damaged_newest_run_is_named_and_no_older_one_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = project / RUNS_DIRECTORY / "20990101-000000-abcd"
    damaged.mkdir()
    (damaged / "manifest.json").write_text("{")

    assert main(["show", "latest", "--root", str(project)]) == 4

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"pytest_babyai show: {damaged / 'manifest.json'}: not readable")
    assert "this is the newest run" in printed.err


def test_the_command_that_init_prints_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "it's my project"

    assert main(["init", str(directory)]) == 0

    command = shlex.split(capsys.readouterr().out.partition("now run: ")[2])
    assert command == ["pytest", str(directory / "evals")]
    assert (directory / "evals").is_dir()
