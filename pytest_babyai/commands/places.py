"""Arguments that several commands share: the project and a run of its journal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

RUN_HELP: Final = "id of the run, any end of it, or 'latest'"


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says where the project is."""
    parser.add_argument(
        "--root", default=".", type=Path, metavar="DIR", help="pytest's root (default: here)"
    )


def journal_of(chosen: argparse.Namespace) -> Path:
    """Returns the directory of the project's runs."""
    from pytest_babyai.journal import RUNS_DIRECTORY

    root: Path = chosen.root
    return root / RUNS_DIRECTORY
