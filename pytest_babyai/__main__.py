"""Commands around the plugin: ``python -m pytest_babyai COMMAND``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport

USAGE_ERROR = 4
"""Exit code of a wrong argument; pytest's own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, or 4 with one line on standard error.
    """
    chosen = _parser().parse_args(arguments)
    try:
        for line in chosen.lines(chosen):
            print(line)
    except UsageError as error:
        print(f"pytest_babyai {chosen.command}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        sys.stderr.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_babyai", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="copy the configuration and the suite into a directory")
    init.add_argument("directory", nargs="?", default=".", type=Path, help="default: this one")
    init.set_defaults(lines=_init)
    runs = commands.add_parser("runs", help="list the runs of the journal")
    runs.set_defaults(lines=_runs)
    show = commands.add_parser("show", help="show the episodes of a run, or one of them")
    show.add_argument("run", metavar="RUN", help="id of the run, any end of it, or 'latest'")
    show.add_argument("nodeid", nargs="?", metavar="NODEID", help="such as baseline-goto-200")
    show.add_argument("-v", "--verbose", action="store_true", help="show whole texts")
    show.set_defaults(lines=_show)
    report = commands.add_parser("report", help="write a run as HTML, Markdown, CSV or Parquet")
    report.add_argument("run", metavar="RUN", help="id of the run, any end of it, or 'latest'")
    for kind in ("html", "md", "csv", "parquet"):
        report.add_argument(f"--{kind}", type=Path, metavar="FILE")
    report.set_defaults(lines=_report)
    for command in (runs, show, report):
        command.add_argument(
            "--root", default=".", type=Path, metavar="DIR", help="pytest's root (default: here)"
        )
    return parser


def _init(chosen: argparse.Namespace) -> Iterable[str]:
    from pytest_babyai.project import create_project

    written = create_project(chosen.directory)
    yield f"{len(written)} files written; now run: pytest {chosen.directory / 'evals'}"


def _runs(chosen: argparse.Namespace) -> Iterable[str]:
    from pytest_babyai.journal import list_runs
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import runs_lines

    return runs_lines(list_runs(_journal(chosen)), symbols=symbols_for(sys.stdout.encoding))


def _show(chosen: argparse.Namespace) -> Iterable[str]:
    from pytest_babyai.journal import open_run
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import show_lines

    log = open_run(_journal(chosen), chosen.run)
    symbols = symbols_for(sys.stdout.encoding)
    return show_lines(log, chosen.nodeid, verbose=chosen.verbose, symbols=symbols)


def _report(chosen: argparse.Namespace) -> Iterable[str]:
    from pytest_babyai.journal import open_run
    from pytest_babyai.reporting.files import write_reports

    wanted = {kind: getattr(chosen, kind) for kind in ("html", "md", "csv", "parquet")}
    files = {kind: path for kind, path in wanted.items() if path is not None}
    if not files:
        raise SettingsError("nothing to write; give --html, --md, --csv or --parquet with a file")
    write_reports(open_run(_journal(chosen), chosen.run), files, _environments_of)
    for path in files.values():
        yield f"{path} written"


def _environments_of(log: RunLog) -> Callable[[EpisodeReport], ReplayEnvironment]:
    from pytest_babyai.environment import environment_factory

    settings = log.manifest.session.settings
    make = environment_factory("builtin", num_dists=int(settings.get("num_dists", 0)))
    return lambda episode: make(episode.spec.task)


def _journal(chosen: argparse.Namespace) -> Path:
    from pytest_babyai.journal import RUNS_DIRECTORY

    root: Path = chosen.root
    return root / RUNS_DIRECTORY


if __name__ == "__main__":
    sys.exit(main())
