"""``store``: runs the embedded store until Ctrl-C, for ClickHouse's clients and TensorZero's UI."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import PATH, with_options
from pytest_babyai.settings.defaults import STORE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import SimpleNamespace

    from pytest_babyai.gateway.store import EmbeddedStore


@click.command("store", help="Run the embedded store and print its URL.")
@click.option(
    "--directory",
    default=Path(STORE_DIRECTORY),
    type=PATH,
    metavar="DIR",
    help=f"where the data lies (default: {STORE_DIRECTORY})",
)
@click.option("--port", default=0, help="port to listen on; 0 for a free one (default)")
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what `serve_lines` does."""
    from pytest_babyai.gateway.store import EmbeddedStore

    store = EmbeddedStore(chosen.directory, port=chosen.port)
    return serve_lines(store, wait_for_stop)


def serve_lines(store: EmbeddedStore, wait: Callable[[], None]) -> Iterator[str]:
    """Yields what the user has to know, waits, and stops the store.

    Args:
        store: The store; it is started here.
        wait: Returns or raises `KeyboardInterrupt` when it is to be stopped.

    Raises:
        ServerStartError: The store did not start.
    """
    with store:
        yield store.url
        yield "Ctrl-C stops it." if store.is_owner else "It runs already; Ctrl-C leaves it."
        try:
            wait()
        except KeyboardInterrupt:
            yield ""


def wait_for_stop() -> None:
    """Waits for Ctrl-C or a termination signal."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    while not stopped.wait(3600):
        pass
