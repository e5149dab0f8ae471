"""``show``: the episodes of a run, or one of them step by step."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import PATH, RUN_HELP, root_option, with_options
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import SimpleNamespace

    from pytest_babyai.reporting.prompts import Message
    from pytest_babyai.reporting.runs import StoredPrompts


@click.command("show", help=f"Show the episodes of a run, or one of them. {RUN_HELP}")
@click.argument("run", metavar="RUN")
@click.argument("nodeid", metavar="[NODEID]", required=False)
@click.option("-v", "--verbose", is_flag=True, help="show whole texts")
@click.option("--prompts", is_flag=True, help="show the messages of every step as they were sent")
@click.option("--store", type=PATH, metavar="DIR", help="with --prompts: take them from this store")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields the episodes, or the steps of the one that NODEID or an end of it names."""
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
    if chosen.nodeid is None:
        yield f"consumed by all its sessions: {log.spent()}"


@contextlib.contextmanager
def _stored(directory: Path | None) -> Iterator[StoredPrompts | None]:
    """Opens a store, and yields what asks it for messages."""
    from pytest_babyai.gateway.store_queries import ClickHouseStore
    from pytest_babyai.reporting.prompts import stored_messages
    from pytest_babyai.store.embedded import EmbeddedStore

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
