"""``show``: the episodes of a run, or one of them step by step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import RUN_HELP, root_option, with_options
from pytest_babyai.commands.places import run_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace


@click.command("show", help=f"Show the episodes of a run, or one of them. {RUN_HELP}")
@click.argument("run", metavar="RUN")
@click.argument("nodeid", metavar="[NODEID]", required=False)
@click.option("-v", "--verbose", is_flag=True, help="show whole texts")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields the episodes, or the steps of the one that NODEID or an end of it names."""
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import show_lines

    log = run_of(chosen, chosen.run)
    symbols = symbols_for(sys.stdout.encoding)
    yield from show_lines(log, chosen.nodeid, verbose=chosen.verbose, symbols=symbols)
    if chosen.nodeid is None:
        yield f"consumed by all its sessions: {log.spent()}"
