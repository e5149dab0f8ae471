"""The commands that look into the journal."""

from __future__ import annotations

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

    assert "[baseline-goto-201]" in capsys.readouterr().out


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


def test_a_report_without_a_file_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "latest", "--root", str(project)]) == 4

    assert "nothing to write; give --html" in capsys.readouterr().err
