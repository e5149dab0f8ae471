"""``report``: a run of the journal as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.commands.places import RUN_HELP, add_root, journal_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport

KINDS = ("html", "md", "csv", "parquet")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("report", help="write a run as HTML, Markdown, CSV or Parquet")
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE")
    add_root(parser)
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.journal import open_run
    from pytest_babyai.reporting.files import write_reports

    wanted = {kind: getattr(chosen, kind) for kind in KINDS}
    files = {kind: path for kind, path in wanted.items() if path is not None}
    if not files:
        raise SettingsError("nothing to write; give --html, --md, --csv or --parquet with a file")
    write_reports(open_run(journal_of(chosen), chosen.run), files, _environments_of)
    for path in files.values():
        yield f"{path} written"


def _environments_of(log: RunLog) -> Callable[[EpisodeReport], ReplayEnvironment]:
    from pytest_babyai.environment import environment_factory

    settings = log.manifest.session.settings
    make = environment_factory("builtin", num_dists=int(settings.get("num_dists", 0)))
    return lambda episode: make(episode.spec.task)
