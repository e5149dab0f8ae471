"""``runs``: what the journal holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_babyai.commands.places import add_root, journal_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("runs", help="list the runs of the journal")
    add_root(parser)
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.journal import list_runs
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import runs_lines

    symbols = symbols_for(sys.stdout.encoding)
    yield from runs_lines(list_runs(journal_of(chosen)), symbols=symbols)
