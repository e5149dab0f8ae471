"""``python -m pytest_babyai.store.server``: serves a store until it is told to stop.

Prints one line when it is ready, its URL without user and password, which stand in the store's
``access.json``. `embedded.EmbeddedStore` starts it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from pytest_babyai.errors import ServerStartError
from pytest_babyai.store.directory import (
    DATA,
    Access,
    DirectoryInUseError,
    StoreDirectory,
    raise_file_limit,
)
from pytest_babyai.store.engine import ChdbEngine, EngineError, engine_version
from pytest_babyai.store.http import Leases, application
from pytest_babyai.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.applications import Starlette

    from pytest_babyai.store.engine import Engine

EXIT_USAGE = 2
EXIT_IN_USE = 3
BACKLOG = 2048
SHUTDOWN_TIMEOUT_S = 10
NICENESS = 10
HOST = "127.0.0.1"
USER = "babyai"
DATABASE = "tensorzero"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server.

    Returns:
        The exit code: 0 after a signal or its owner's end, 2 if the server could not start, 3 if
        another process serves the directory.
    """
    options = _parser().parse_args(arguments)
    os.umask(0o077)
    raise_file_limit()
    _give_way()
    directory = StoreDirectory(options.directory.absolute())
    try:
        directory.acquire()
        left = directory.read_access() if options.revive else None
        with (
            _listen(left.port if left else options.port) as listener,
            contextlib.closing(_open_engine(directory)) as engine,
        ):
            password = left.password if left else secrets.token_urlsafe(24)
            access = Access(listener.getsockname()[1], USER, password, os.getpid())
            _serve(engine, listener, access, directory, options.exit_with_parent)
    except ServerStartError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_IN_USE if isinstance(error, DirectoryInUseError) else EXIT_USAGE
    finally:
        directory.release()
    return 0


def _give_way() -> None:
    """Leaves the processors to those that the store is kept for, where these are busy."""
    os.nice(NICENESS)
    # Where the scheduler groups processes by session, niceness counts within a group alone.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pytest_babyai.store.server", description=__doc__
    )
    parser.add_argument("directory", type=Path, help="where the data lies")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one (default)")
    parser.add_argument(
        "--revive",
        action="store_true",
        help="take over the port and the password of a server that ended suddenly",
    )
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="stop when standard input ends, as it does when the process that holds it dies, "
        "and nobody else uses the server",
    )
    return parser


def _open_engine(directory: StoreDirectory) -> Engine:
    try:
        import python_multipart  # noqa: F401 - of the same extra; needed with the first form

        directory.check_version(engine_version())
        os.chdir(directory.path)  # the engine reads a "?" in a path as the start of options
        engine = ChdbEngine(DATA)
        connection = engine.connect(None, ())
        connection.run(f"CREATE DATABASE IF NOT EXISTS {DATABASE}", "Null", {})
        connection.close()
    except ImportError:
        raise ServerStartError(
            "the embedded store needs its extra: pip install 'pytest-babyai[store]'"
        ) from None
    except EngineError as error:
        reason = " ".join(str(error).split())
        raise ServerStartError(f"the store {directory.path} cannot be opened: {reason}") from None
    except OSError as error:
        raise ServerStartError(f"the store {directory.path}: {error.strerror}") from None
    return engine


def _listen(port: int) -> socket.socket:
    """Opens the port here, not in uvicorn: so its number is known and a failure is one line."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ServerStartError(
            f"the store cannot listen on {HOST}:{port}: {reason}; "
            "choose another --port, or 0 for a free one"
        ) from None
    return listener


def _serve(
    engine: Engine,
    listener: socket.socket,
    access: Access,
    directory: StoreDirectory,
    exit_with_parent: bool,  # noqa: FBT001 - as `main` has it
) -> None:
    statements = Statements(engine)
    server = _Server(statements, access, directory)
    if exit_with_parent:
        threading.Thread(target=server.wait_for_owner, daemon=True).start()
    try:
        with contextlib.suppress(KeyboardInterrupt):  # before the server handles signals
            server.run(sockets=[listener])
    finally:
        directory.remove_access()
        statements.close()


class _Server(uvicorn.Server):
    """Tells where it is once it can be used, and stops when it is needed no longer."""

    def __init__(self, statements: Statements, access: Access, directory: StoreDirectory) -> None:
        self._leases = Leases(self.stop)
        self._access = access
        self._directory = directory
        self._ready = threading.Event()
        app = application(statements, access.user, access.password, self._leases)
        super().__init__(_configuration(app))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._directory.write_access(self._access)
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        _tell(f"http://{HOST}:{self._access.port}")

    def stop(self) -> None:
        """Makes it stop, and nobody find it any longer."""
        self._directory.remove_access()
        self.should_exit = True

    def wait_for_owner(self) -> None:
        """Waits for the end of standard input; runs on a thread of its own."""
        while sys.stdin.buffer.read(4096):
            pass
        self._ready.wait()
        self._loop.call_soon_threadsafe(self._end_ownership)

    def _end_ownership(self) -> None:
        if self._leases.end_ownership():
            _tell("in use")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):  # who listened is gone
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def _configuration(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=3600,  # no client's pool should meet a connection just closed
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )


if __name__ == "__main__":
    sys.exit(main())
