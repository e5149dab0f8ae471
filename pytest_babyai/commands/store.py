"""``store``: runs the embedded store until Ctrl-C, for ClickHouse's clients and TensorZero's UI."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytest_babyai.commands.options import PATH, with_options
from pytest_babyai.errors import ServerStartError
from pytest_babyai.settings.defaults import STORE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import SimpleNamespace

    from pytest_babyai.store.embedded import EmbeddedStore

_LOOK_S: Final = 1.0
_STOPPED: Final = threading.Event()


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
    from pytest_babyai.store.embedded import EmbeddedStore

    store = EmbeddedStore(chosen.directory, port=chosen.port)
    if store.is_new:
        sys.stderr.write(f"creating the store {store.directory}\n")
    return serve_lines(store, wait_for_stop)


def serve_lines(
    store: EmbeddedStore, wait: Callable[[threading.Event, float], bool]
) -> Iterator[str]:
    """Yields what the user has to know, waits, and stops the store.

    Args:
        store: The store; it is started here.
        wait: Waits for an event, for so many seconds; returns True or raises `KeyboardInterrupt`
            when the store is to be stopped or has set the event.

    Raises:
        ServerStartError: The store did not start, or has ended and could not be started again.
    """
    with store:
        yield store.url
        yield "Ctrl-C stops it." if store.is_owner else "It runs already; Ctrl-C leaves it."
        num_told = 0
        try:
            while not wait(store.gone, _LOOK_S):
                yield from store.deaths[num_told:]
                num_told = len(store.deaths)
        except KeyboardInterrupt:
            yield ""
        if store.gone.is_set():
            raise ServerStartError(store.deaths[-1])


def wait_for_stop(gone: threading.Event, timeout_s: float) -> bool:
    """Waits for a termination signal, Ctrl-C or the end of the store; whether there was one."""
    signal.signal(signal.SIGTERM, lambda *_: _STOPPED.set())
    return gone.wait(timeout_s) or _STOPPED.is_set()
