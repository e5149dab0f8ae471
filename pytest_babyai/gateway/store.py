"""Starts the embedded store, ClickHouse's engine in a process of its own, or joins it."""

from __future__ import annotations

import http.client
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_babyai.child_process import NotReadyError, start_child
from pytest_babyai.errors import ServerStartError
from pytest_babyai.settings.defaults import STORE_DIRECTORY

if TYPE_CHECKING:
    from types import TracebackType

    from pytest_babyai.child_process import ChildProcess
    from pytest_babyai.gateway.clickhouse.directory import Access, StoreDirectory

DATABASE: Final = "tensorzero"
STOP_TIMEOUT_S: Final = 20.0

_HOST = "127.0.0.1"
_LEASE_PATH = "/lease"
_EXIT_USAGE = 2
_MAX_NOISE_LENGTH = 300
_EXIT_IN_USE = 3
_JOIN_PAUSE_S = 0.05
_LEASE_TIMEOUT_S = 5.0


class _InUseError(ServerStartError):
    """Another server has the directory."""


class EmbeddedStore:
    """A ClickHouse without a server to install: one process a directory, for many users.

    The first to start a store runs its server; whoever starts the same store meanwhile joins it.
    The server ends with the process that started it, however that ends, but not before the last
    that joined it is gone; it is no member of anyone's process group, so Ctrl-C in a terminal
    leaves it to `stop`. What it acknowledged outlives its sudden end, in the tables or in a log
    that the next start writes into them.

    It listens on the loopback interface and wants a password that is drawn at every start. The
    password is part of `url`, and of a file in the directory that only the user can read.

    Args:
        directory: Where the data lies; created if need be.
        port: Port to listen on; 0 for a free one.
        share: Whether to join a server that already runs. If not, that is an error.
        python: Python interpreter that runs it.
        start_timeout_s: How long it may take to be ready.

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
        self._directory = Path(directory).absolute()
        self._share = share
        self._start_timeout_s = start_timeout_s
        self._port = port
        self._python = python
        self._child: ChildProcess | None = None
        self._lease: http.client.HTTPConnection | None = None
        self._access: Access | None = None

    @property
    def directory(self) -> Path:
        """Where the data lies."""
        return self._directory

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
                cannot be used, or (unless shared) another process uses it.
        """
        directory = _store_directory(self._directory)
        from pytest_babyai.gateway.clickhouse.file_limit import raise_file_limit

        raise_file_limit()
        give_up_s = time.monotonic() + self._start_timeout_s
        while self._access is None:
            if self._share and self._join(directory):
                break
            try:
                self._spawn_and_wait(give_up_s)
            except _InUseError:
                # Another one is just starting it, or stopping.
                if not self._share or time.monotonic() > give_up_s:
                    raise
                time.sleep(_JOIN_PAUSE_S)
        return self.url

    def _join(self, directory: StoreDirectory) -> bool:
        """Joins a server that already runs; False if there is none, or none that stays."""
        if not directory.is_served():
            return False
        access = directory.read_access()
        lease = access and _take_lease(access)
        if access and lease:
            self._access, self._lease = access, lease
            return True
        return False

    def _spawn_and_wait(self, give_up_s: float) -> None:
        try:
            self._child = start_child(
                "pytest_babyai.gateway.clickhouse",
                [f"--port={self._port}", str(self._directory)],
                python=self._python,
                timeout_s=max(give_up_s - time.monotonic(), 0.0),
            )
        except NotReadyError as error:
            raise _start_failure(error) from None
        try:
            self._access = self._read_access()
        except BaseException:
            self.stop()
            raise

    def _read_access(self) -> Access:
        access = _store_directory(self._directory).read_access()
        if access is None:
            raise ServerStartError("the embedded store did not start: it is gone already")
        return access

    def stop(self, timeout_s: float = STOP_TIMEOUT_S, *, kill: bool = True) -> None:
        """Leaves the server, which ends if nobody else uses it; waits for its end if it does.

        All that it was sent and has not answered yet is written first.

        Args:
            timeout_s: Longest time to wait.
            kill: Whether to end a server that takes longer, else it is left to its end. What it
                has acknowledged is safe either way.
        """
        child, self._child, self._access = self._child, None, None
        if self._lease is not None:
            self._lease.close()
            self._lease = None
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


def _start_failure(error: NotReadyError) -> ServerStartError:
    """Tells why a server did not start: its own last line, and the engine's first, if any."""
    *noise, told = error.said or [""]
    if noise:
        told += f" (the engine said: {noise[0][:_MAX_NOISE_LENGTH]})"
    if error.exit_code == _EXIT_IN_USE:
        return _InUseError(told)
    if error.exit_code != _EXIT_USAGE:
        told = f"{error}: {told}" if told else str(error)
    return ServerStartError(f"the embedded store did not start: {told}")


def _store_directory(path: Path) -> StoreDirectory:
    try:
        from pytest_babyai.gateway.clickhouse.directory import StoreDirectory
    except ImportError:
        raise ServerStartError(
            "the embedded store needs Linux or macOS; name a ClickHouse by --babyai-clickhouse-url"
        ) from None
    return StoreDirectory(path)


def _take_lease(access: Access) -> http.client.HTTPConnection | None:
    """Connects for as long as the store is used; None if the server is about to stop."""
    connection = http.client.HTTPConnection(_HOST, access.port, timeout=_LEASE_TIMEOUT_S)
    headers = {"X-ClickHouse-User": access.user, "X-ClickHouse-Key": access.password}
    try:
        connection.request("GET", _LEASE_PATH, headers=headers)
        held = connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        held = False
    if not held:
        connection.close()
    return connection if held else None
