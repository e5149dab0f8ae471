"""``show``: the episodes of a run, or one of them step by step."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.commands.places import RUN_HELP, add_root, run_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_babyai.reporting.prompts import Message
    from pytest_babyai.reporting.runs import StoredPrompts


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("show", help="show the episodes of a run, or one of them")
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    parser.add_argument("nodeid", nargs="?", metavar="NODEID", help="such as baseline-goto-200")
    parser.add_argument("-v", "--verbose", action="store_true", help="show whole texts")
    parser.add_argument(
        "--prompts", action="store_true", help="show the messages of every step as they were sent"
    )
    parser.add_argument(
        "--store", type=Path, metavar="DIR", help="with --prompts: take them from this store"
    )
    add_root(parser)
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import symbols_for
    from pytest_babyai.reporting.runs import show_lines

    log = run_of(chosen, chosen.run)
    symbols = symbols_for(sys.stdout.encoding)
    with _stored(chosen.store) as stored:
        yield from show_lines(
            log,
            chosen.nodeid,
            verbose=chosen.verbose,
            prompts=chosen.prompts,
            stored=stored,
            symbols=symbols,
        )


@contextlib.contextmanager
def _stored(directory: Path | None) -> Iterator[StoredPrompts | None]:
    """Opens a store, and yields what asks it for messages."""
    from pytest_babyai.gateway.store import EmbeddedStore
    from pytest_babyai.gateway.store_queries import ClickHouseStore
    from pytest_babyai.reporting.prompts import stored_messages

    if directory is None:
        yield None
        return
    if not directory.is_dir():
        raise SettingsError(f"--store: there is no directory {directory}")
    with EmbeddedStore(directory) as store:
        queries = ClickHouseStore(store.url)

        def ask(ids: Sequence[str]) -> Mapping[str, tuple[Message, ...]]:
            found = asyncio.run(queries.prompts(ids))
            return {name: stored_messages(*sent) for name, sent in found.items()}

        yield ask
