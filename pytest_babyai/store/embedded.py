"""Starts the embedded store, joins one that runs, and stops it."""

from __future__ import annotations

import http.client
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_babyai.child_process import ChildProcess, NotReadyError, start_child
from pytest_babyai.errors import ServerStartError
from pytest_babyai.settings.defaults import STORE_DIRECTORY

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_babyai.store.directory import Access, StoreDirectory

DATABASE: Final = "tensorzero"
STOP_TIMEOUT_S: Final = 20.0

_HOST: Final = "127.0.0.1"
_LEASE_PATH: Final = "/lease"
_SERVER: Final = "pytest_babyai.store.server"
_EXIT_USAGE: Final = 2
_EXIT_IN_USE: Final = 3
_MAX_NOISE_LENGTH: Final = 300
_JOIN_PAUSE_S: Final = 0.05
_LEASE_TIMEOUT_S: Final = 5.0


class _InUseError(ServerStartError):
    """Another server has the directory."""


class EmbeddedStore:
    """A ClickHouse without a server to install: one process a directory, for many users.

    The first to start a store runs its server; whoever starts the same store meanwhile joins it.
    The server ends with the process that started it, however that ends, but not before the last
    that joined it is gone; it is no member of anyone's process group, so Ctrl-C in a terminal
    leaves it to `stop`. What it acknowledged is in its tables and outlives its sudden end.

    A server that ends while it is used is started again, once, under the same `url`.

    It listens on the loopback interface and wants a password that is drawn at every start. The
    password is part of `url`, and of a file in the directory that only the user can read.

    Args:
        directory: Where the data lies; created if need be.
        port: Port to listen on; 0 for a free one.
        share: Whether to join a server that already runs. If not, that is an error.
        python: Python interpreter that runs it.
        start_timeout_s: How long it may take to be ready.

    Attributes:
        deaths: What is to be told of every sudden end of the server, oldest first.
        gone: Set once the server has ended and will not be started again.

    Example:
        >>> with EmbeddedStore(".babyai/store") as store:
        ...     store.url
        'http://babyai:PASSWORD@127.0.0.1:40123/tensorzero'
    """

    def __init__(
        self,
        directory: str | Path = STORE_DIRECTORY,
        *,
        port: int = 0,
        share: bool = True,
        python: str = sys.executable,
        start_timeout_s: float = 60.0,
    ) -> None:
        self.deaths: list[str] = []
        self.gone = threading.Event()
        self._directory = Path(directory).absolute()
        self._share = share
        self._start_timeout_s = start_timeout_s
        self._port = port
        self._python = python
        self._child: ChildProcess | None = None
        self._lease: _Lease | None = None
        self._access: Access | None = None
        self._changing = threading.RLock()

    @property
    def directory(self) -> Path:
        """Where the data lies."""
        return self._directory

    @property
    def is_new(self) -> bool:
        """Whether there is no store in the directory yet."""
        return not (self._directory / "format.json").exists()

    @property
    def url(self) -> str:
        """ClickHouse URL with user, password and database; empty while not running."""
        access = self._access
        if access is None:
            return ""
        return f"http://{access.user}:{access.password}@{_HOST}:{access.port}/{DATABASE}"

    @property
    def port(self) -> int:
        """Port the server listens on; 0 while not running."""
        return self._access.port if self._access else 0

    @property
    def pid(self) -> int | None:
        """Process id of the server; None while not running."""
        return self._access.pid if self._access else None

    @property
    def is_owner(self) -> bool:
        """Whether this object started the server, not joined it."""
        return self._child is not None

    def start(self) -> str:
        """Starts the server, or joins it, and waits until it is ready; does nothing if it did.

        Raises this process's soft limit of open files, if that is low: a gateway has a connection
        open for every INSERT that is not answered yet.

        Returns:
            `url`.

        Raises:
            ServerStartError: It did not start, or not in time: chdb is missing, the directory
                cannot be used, another process uses it (unless shared), or a server that runs
                listens on another port than the one asked for.
        """
        directory = _store_directory(self._directory)
        from pytest_babyai.store.directory import raise_file_limit

        raise_file_limit()
        with self._changing:
            if self._access is None:
                self._join_or_spawn(directory, [f"--port={self._port}"])
                self._check_port()
        return self.url

    def stop(self, timeout_s: float = STOP_TIMEOUT_S, *, kill: bool = True) -> None:
        """Leaves the server, which ends if nobody else uses it; waits for its end if it does.

        All that it was sent and has not answered yet is written first.

        Args:
            timeout_s: Longest time to wait.
            kill: Whether to end a server that takes longer, else it is left to its end. What it
                has acknowledged is safe either way.
        """
        with self._changing:
            child, self._child, self._access = self._child, None, None
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()
        if child is not None:
            child.stop(timeout_s, kill=kill)

    def __enter__(self) -> EmbeddedStore:  # noqa: PYI034 - Self needs Python 3.11
        """Starts the server or joins it."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the server."""
        self.stop()

    def _join_or_spawn(self, directory: StoreDirectory, options: list[str]) -> None:
        give_up_s = time.monotonic() + self._start_timeout_s
        while not (self._share and self._join(directory)):
            try:
                self._spawn(options, give_up_s)
            except _InUseError:
                # Another one is just starting it, or stopping.
                if not self._share or time.monotonic() > give_up_s:
                    raise
                time.sleep(_JOIN_PAUSE_S)
                continue
            self._access = directory.read_access()
            if self._access is None:
                self.stop()
                raise ServerStartError("the embedded store did not start: it is gone already")
            self._watch(self._child)
            return

    def _join(self, directory: StoreDirectory) -> bool:
        """Takes a lease of a server that runs; False if there is none, or none that stays."""
        if not directory.is_served():
            return False
        access = directory.read_access()
        lease = access and _take_lease(access)
        if not (access and lease):
            return False
        self._access, self._lease = access, lease
        self._watch(lease)
        return True

    def _spawn(self, options: list[str], give_up_s: float) -> None:
        try:
            self._child = start_child(
                _SERVER,
                [*options, str(self._directory)],
                python=self._python,
                timeout_s=max(give_up_s - time.monotonic(), 0.0),
            )
        except NotReadyError as error:
            raise _start_failure(error) from None

    def _check_port(self) -> None:
        if self._port and self._port != self.port:
            port = self.port
            self.stop()
            raise ServerStartError(
                f"the store {self._directory} runs already and listens on port {port}; stop that "
                f"one, or leave out --port={self._port}"
            )

    def _watch(self, server: ChildProcess | _Lease | None) -> None:
        """Has the end of the server noticed, unless it was left before."""
        threading.Thread(
            target=self._wait_for_death, args=(server,), name="babyai-store-watch", daemon=True
        ).start()

    def _wait_for_death(self, server: ChildProcess | _Lease) -> None:
        server.wait()
        with self._changing:
            if server not in (self._child, self._lease):
                return
            how = f" ({server.ending()})" if isinstance(server, ChildProcess) else ""
            self._child = self._lease = None
            server.close()
            death = f"the store {self._directory} ended suddenly{how}"
            if self.deaths:
                self._give_up(f"{death}, for the second time")
                return
            try:
                self._join_or_spawn(_store_directory(self._directory), ["--revive"])
            except ServerStartError as error:
                self._give_up(f"{death} and could not be started again: {error}")
            else:
                self.deaths.append(f"{death} and was started again")

    def _give_up(self, death: str) -> None:
        self.deaths.append(death)
        self._access = None
        self.gone.set()


class _Lease:
    """A connection that is held for as long as the store is used."""

    def __init__(
        self, connection: http.client.HTTPConnection, held: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._held = held
        self._socket = connection.sock
        connection.sock.settimeout(None)

    def wait(self) -> None:
        """Returns once the server, or `close`, has ended it."""
        with suppress(OSError, ValueError, http.client.HTTPException):
            while self._held.read1(64):
                pass

    def close(self) -> None:
        """Ends it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _take_lease(access: Access) -> _Lease | None:
    """Connects for as long as the store is used; None if the server is about to stop."""
    connection = http.client.HTTPConnection(_HOST, access.port, timeout=_LEASE_TIMEOUT_S)
    headers = {"X-ClickHouse-User": access.user, "X-ClickHouse-Key": access.password}
    try:
        connection.request("GET", _LEASE_PATH, headers=headers)
        answer = connection.getresponse()
        if answer.status == http.client.OK:
            return _Lease(connection, answer)
    except (OSError, http.client.HTTPException):
        pass
    connection.close()
    return None


def _start_failure(error: NotReadyError) -> ServerStartError:
    """Tells why a server did not start: its own last line, and the engine's first, if any."""
    *noise, line = error.said or [""]
    if noise:
        line += f" (the engine said: {noise[0][:_MAX_NOISE_LENGTH]})"
    if error.exit_code == _EXIT_IN_USE:
        return _InUseError(line)
    if error.exit_code != _EXIT_USAGE:
        line = f"{error}: {line}" if line else str(error)
    return ServerStartError(f"the embedded store did not start: {line}")


def _store_directory(path: Path) -> StoreDirectory:
    try:
        from pytest_babyai.store.directory import StoreDirectory
    except ImportError:
        raise ServerStartError(
            "the embedded store needs Linux or macOS; name a ClickHouse by --babyai-clickhouse-url"
        ) from None
    return StoreDirectory(path)
