"""The README's picture: ``report RUN --screenshot FILE``."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.journal import RUNS_DIRECTORY, create_run
from pytest_babyai.reporting.screenshots import BROWSERS
from tests.browser.conftest import cannot_run
from tests.unit.journal.journal_samples import RECORDING, entry, manifest

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a run of one episode."""
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        journal.append(entry())
    return tmp_path


def report(project: Path, *options: str) -> int:
    return main(["report", "latest", *options, "--root", str(project)])


def test_a_picture_of_the_report_is_taken(project: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        cannot_run("no Chromium on PATH")

    assert report(project, f"--screenshot={project / 'report.png'}") == 0

    assert (project / "report.png").read_bytes().startswith(PNG)


def test_a_picture_shows_the_place_that_is_asked_for(project: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        cannot_run("no Chromium on PATH")
    top, episode = project / "top.png", project / "episode.png"

    options = (f"--html={project / 'report.html'}", f"--screenshot={episode}")
    assert report(project, *options, "--at=episode=baseline-goto-200&step=1") == 0
    assert report(project, f"--screenshot={top}") == 0

    assert (project / "report.html").is_file()
    assert top.read_bytes() != episode.read_bytes()


def test_a_missing_browser_is_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(project))

    assert report(project, f"--screenshot={project / 'report.png'}") == 4

    line = capsys.readouterr().err
    assert line.startswith("pytest_babyai report: a screenshot needs a browser on PATH: one of ")
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", [".", "none/report.png"])
def test_a_picture_that_cannot_be_written_is_one_line(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert report(project, f"--screenshot={project / name}") == 4

    assert "is no file in a directory that there is" in capsys.readouterr().err
