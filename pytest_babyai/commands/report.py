"""``report``: a run of the journal as files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import PATH, RUN_HELP, root_option, with_options
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import SimpleNamespace

    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport

KINDS = ("html", "md", "csv", "parquet", "charts")


@click.command("report", help=f"Write a run as HTML, Markdown, CSV or Parquet. {RUN_HELP}")
@click.argument("run", metavar="RUN")
@click.option("--html", type=PATH, metavar="FILE", help="charts and replays, in one file")
@click.option("--md", type=PATH, metavar="FILE", help="GitHub's Markdown")
@click.option("--csv", type=PATH, metavar="FILE", help="a row per episode")
@click.option("--parquet", type=PATH, metavar="FILE", help="a row per episode")
@click.option("--charts", type=PATH, metavar="DIR", help="SVG and PNG files")
@click.option(
    "--screenshot", type=PATH, metavar="FILE", help="a PNG of the HTML report, by Chromium"
)
@click.option(
    "--at",
    default="",
    metavar="PLACE",
    help="what the screenshot shows, such as 'episode=history-goto-204&step=7' (default: top)",
)
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields a line for every file that was written."""
    wanted = {kind: getattr(chosen, kind) for kind in KINDS}
    files = {kind: path for kind, path in wanted.items() if path is not None}
    if not files and chosen.screenshot is None:
        raise SettingsError(
            "nothing to write; give --html, --md, --csv, --parquet, --charts or --screenshot"
        )
    _check_places(files)
    log = run_of(chosen, chosen.run)
    for path in _written(log, files):
        yield f"{path} written"
    if chosen.screenshot is not None:
        _take_screenshot(log, files, chosen.screenshot, chosen.at)
        yield f"{chosen.screenshot} written"


def _check_places(files: Mapping[str, Path]) -> None:
    from pytest_babyai.reporting.artifacts import check_place

    for kind, path in files.items():
        check_place(f"--{kind}", path, is_directory=kind == "charts")


def _written(log: RunLog, files: Mapping[str, Path]) -> Iterator[Path]:
    from pytest_babyai.environment import TASKS
    from pytest_babyai.reporting.files import write_reports

    return write_reports(log, files, _environments_of, tasks=TASKS)


def _take_screenshot(log: RunLog, files: Mapping[str, Path], picture: Path, place: str) -> None:
    from pytest_babyai.reporting.screenshots import take_screenshot

    if picture.is_dir() or not picture.parent.is_dir():
        raise SettingsError(f"--screenshot: {picture} is no file in a directory that there is")
    with tempfile.TemporaryDirectory() as directory:
        report = files.get("html", Path(directory) / "report.html")
        if "html" not in files:
            list(_written(log, {"html": report}))
        take_screenshot(report, picture, fragment=place)


def _environments_of(log: RunLog) -> Callable[[EpisodeReport], ReplayEnvironment]:
    from pytest_babyai.environment import environment_factory

    settings = log.manifest.session.settings
    make = environment_factory("builtin", num_dists=int(settings.get("num_dists", 0)))
    return lambda episode: make(episode.spec.task)
