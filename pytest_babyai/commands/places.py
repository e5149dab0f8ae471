"""Arguments that several commands share: the project and a run of its journal."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from pytest_babyai.journal import RunLog

RUN_HELP: Final = "id of the run, any end of it, or 'latest'"


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says where the project is."""
    parser.add_argument(
        "--root", default=".", type=_directory, metavar="DIR", help="pytest's root (default: here)"
    )


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {text}")
    return path


def journal_of(chosen: argparse.Namespace) -> Path:
    """Returns the directory of the project's runs."""
    from pytest_babyai.journal import RUNS_DIRECTORY

    root: Path = chosen.root
    return root / RUNS_DIRECTORY


def run_of(chosen: argparse.Namespace, run: str) -> RunLog:
    """Opens the run that a command names; ``latest`` may be one that is still being played.

    Raises:
        SettingsError: There is none.
        JournalError: Its manifest cannot be read.
    """
    from pytest_babyai.journal import LATEST, newest_runs, open_run

    root = journal_of(chosen)
    newest = next(newest_runs(root), None)
    if newest is None:
        raise SettingsError(f"no run in {root} yet: every pytest run with episodes adds one")
    try:
        return open_run(root, run)
    except SettingsError:
        if run != LATEST:
            raise
        return newest
