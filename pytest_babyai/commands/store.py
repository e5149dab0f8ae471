"""``store``: runs the embedded store until Ctrl-C, for ClickHouse's clients and TensorZero's UI."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.settings.defaults import STORE_DIRECTORY

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from pytest_babyai.store.embedded import EmbeddedStore


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("store", help="run the embedded store and print its URL")
    parser.add_argument(
        "--directory",
        default=STORE_DIRECTORY,
        type=Path,
        metavar="DIR",
        help="where the data lies (default: %(default)s)",
    )
    parser.add_argument(
        "--port", default=0, type=int, help="port to listen on; 0 for a free one (default)"
    )
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.store.embedded import EmbeddedStore

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
