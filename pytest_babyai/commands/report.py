"""``report``: a run of the journal as files."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import PATH, RUN_HELP, root_option, with_options
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
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
@click.option(
    "--beside",
    multiple=True,
    metavar="RUN",
    help="another run, whose episodes stand beside, such as 'human' (may be repeated)",
)
@click.option(
    "--attach",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="a text, picture (.svg) or data card to show in the HTML (may be repeated)",
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
    yield from write_reports(
        run_of(chosen, chosen.run),
        files,
        config_dir=_config_dir(chosen),
        beside=[run_of(chosen, each) for each in chosen.beside],
        screenshot=chosen.screenshot,
        place=chosen.at,
        attachments=dict(map(_attachment, chosen.attach)),
    )


def _attachment(path: Path) -> tuple[str, str]:
    """Returns title and text of a file that is shown in the report."""
    from pytest_babyai.finetuning.dataset import DataCard

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SettingsError(f"--attach: {path}: {error}") from None
    if not path.name.endswith(".card.json"):
        return path.stem.replace("-", " ").capitalize(), text
    try:
        return "Data card", "\n".join(DataCard.from_plain(json.loads(text)).lines())
    except (ValueError, UsageError) as error:
        raise SettingsError(f"--attach: {path}: no data card: {error}") from None


def write_reports(  # noqa: PLR0913 - what the command offers
    log: RunLog,
    files: Mapping[str, Path],
    *,
    config_dir: Path,
    beside: Sequence[RunLog] = (),
    screenshot: Path | None = None,
    place: str = "",
    attachments: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Writes reports of a run, and yields a line for every file.

    Args:
        log: The run.
        files: Path by kind.
        config_dir: Where baselines are.
        beside: Other runs, whose episodes stand beside.
        screenshot: File of a picture of the HTML report.
        place: What the picture shows.
        attachments: Texts by title that the HTML shows as they are.

    Raises:
        UsageError: The run cannot be read, or a file cannot be written.
    """
    from pytest_babyai.environment import TASKS
    from pytest_babyai.reporting.artifacts import recorded_summary, write_artifacts

    needs_steps = {"html", "md"} & files.keys() or screenshot is not None
    summary = recorded_summary(
        log, TASKS, with_steps=bool(needs_steps), config_dir=config_dir, beside=beside
    )
    make, more = _environments_of(log), attachments
    for path in write_artifacts(files, summary, make_environment=make, attachments=more):
        yield f"{path} written"
    if screenshot is None:
        return
    with tempfile.TemporaryDirectory() as directory:
        page = files.get("html", Path(directory) / "report.html")
        if "html" not in files:
            list(write_artifacts({"html": page}, summary, make_environment=make))
        _take_screenshot(page, screenshot, place)
    yield f"{screenshot} written"


def _check_places(files: Mapping[str, Path]) -> None:
    from pytest_babyai.reporting.artifacts import check_place

    for kind, path in files.items():
        check_place(f"--{kind}", path, is_directory=kind == "charts")


def _config_dir(chosen: SimpleNamespace) -> Path:
    from pytest_babyai.project import find_config

    return find_config(None, [chosen.root])


def _take_screenshot(page: Path, picture: Path, place: str) -> None:
    from pytest_babyai.reporting.screenshots import take_screenshot

    if picture.is_dir() or not picture.parent.is_dir():
        raise SettingsError(f"--screenshot: {picture} is no file in a directory that there is")
    take_screenshot(page, picture, fragment=place)


def _environments_of(log: RunLog) -> Callable[[EpisodeReport], ReplayEnvironment]:
    from pytest_babyai.environment import environment_factory

    usual = int(log.manifest.session.settings.get("num_dists", 0))

    def make(episode: EpisodeReport) -> ReplayEnvironment:
        num_dists = usual if episode.num_dists is None else episode.num_dists
        return environment_factory("builtin", num_dists=num_dists)(episode.spec.task)

    return make
