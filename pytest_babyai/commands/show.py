"""``show``: the episodes of a run, or one of them step by step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_babyai.commands.places import RUN_HELP, add_root, run_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("show", help="show the episodes of a run, or one of them")
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    parser.add_argument("nodeid", nargs="?", metavar="NODEID", help="such as baseline-goto-200")
    parser.add_argument("-v", "--verbose", action="store_true", help="show whole texts")
    parser.add_argument(
        "--prompts", action="store_true", help="show the messages of every step as they were sent"
    )
    add_root(parser)
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import show_lines

    log = run_of(chosen, chosen.run)
    symbols = symbols_for(sys.stdout.encoding)
    yield from show_lines(
        log,
        chosen.nodeid,
        verbose=chosen.verbose,
        prompts=chosen.prompts,
        symbols=symbols,
    )
