"""``runs``: what the journal holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.commands.places import journal_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace


@click.command("runs", help="List the runs of the journal.")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields a table of the runs, and a line for each that cannot be read."""
    from pytest_babyai.journal import list_runs
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import runs_lines

    unreadable: list[str] = []
    logs = list_runs(journal_of(chosen), unreadable)
    if logs or not unreadable:
        yield from runs_lines(logs, symbols=symbols_for(sys.stdout.encoding))
    yield from (f"not readable: {line}" for line in unreadable)
