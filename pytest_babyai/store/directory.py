"""The store's directory: its lock, its version, and how to reach the server that has it."""

from __future__ import annotations

import fcntl
import json
import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_babyai.errors import ServerStartError
from pytest_babyai.private_files import make_private

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

FORMAT = 1
MAX_OPEN_FILES = 4096
DATA = "data"
_LOCK = "lock"
_FORMAT_FILE = "format.json"
_ACCESS_FILE = "access.json"
_EARLIER_LOG = "inserts"
_OURS = frozenset({DATA, _LOCK, _FORMAT_FILE, _ACCESS_FILE})
"""What may be there before the version is written down."""


class DirectoryInUseError(ServerStartError):
    """Another process serves the store."""


class Access(NamedTuple):
    """How a running server is reached."""

    port: int
    user: str
    password: str
    pid: int

    def __repr__(self) -> str:
        """Leaves the password out."""
        return f"Access(port={self.port}, user={self.user!r}, pid={self.pid})"


class StoreDirectory:
    """A directory that holds a store.

    ``lock`` is locked by the server as long as it lives and names its process, ``format.json``
    says which version wrote the data, ``access.json`` (there while the server runs) how the server
    is reached; ``data`` and all the rest belong to the engine. Nobody but the user can read any.

    Args:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def acquire(self) -> None:
        """Creates the directory if need be and locks it.

        Raises:
            DirectoryInUseError: Another process has it.
            ServerStartError: It is no directory for a store.
        """
        try:
            make_private(self.path)
            foreign = sorted({entry.name for entry in self.path.iterdir()} - _OURS)
            if foreign and not (self.path / _FORMAT_FILE).exists():
                raise ServerStartError(
                    f"{self.path} is no store: it holds {', '.join(foreign[:3])}; "
                    "name an empty or a new directory"
                )
            self._lock = (self.path / _LOCK).open("a+", encoding="ascii")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock.truncate(0)
            self._lock.write(f"{os.getpid()}\n")
            self._lock.flush()
        except BlockingIOError:
            self.release()
            raise DirectoryInUseError(
                f"the store {self.path} is in use by process {self._holder()}; "
                "stop that one or name another directory"
            ) from None
        except OSError as error:
            self.release()
            raise ServerStartError(f"the store {self.path}: {error.strerror}") from None

    def release(self) -> None:
        """Gives the directory up; the end of the process does the same."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _holder(self) -> str:
        return (self.path / _LOCK).read_text(encoding="ascii").strip() or "unknown"

    def is_served(self) -> bool:
        """Whether a server has locked the directory."""
        try:
            with (self.path / _LOCK).open(encoding="ascii") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def check_version(self, engine_version: str) -> None:
        """Compares the data's version with the engine's and writes it down.

        Raises:
            ServerStartError: A newer version wrote the data, or nobody knows which.
        """
        path = self.path / _FORMAT_FILE
        if any((self.path / _EARLIER_LOG).glob("*.log")):
            raise ServerStartError(
                f"{self.path} ended suddenly under an earlier pytest-babyai and holds rows in "
                f"{_EARLIER_LOG} that only that version writes: start and stop it once with that"
            )
        if path.exists():
            _check_format(path, _read_json(path), engine_version)
        elif (self.path / DATA).exists():
            raise ServerStartError(
                f"{self.path} is no store: {_FORMAT_FILE} is missing beside {DATA}; "
                "name an empty or a new directory"
            )
        _write_json(path, {"format": FORMAT, "engine": engine_version})

    def write_access(self, access: Access) -> None:
        """Writes down how the server is reached, for this user alone."""
        _write_json(self.path / _ACCESS_FILE, access._asdict())

    def read_access(self) -> Access | None:
        """How the running server is reached; None while none is ready."""
        try:
            return Access(**_read_json(self.path / _ACCESS_FILE))
        except (ServerStartError, TypeError):
            return None

    def remove_access(self) -> None:
        """Removes what `write_access` wrote."""
        with suppress(OSError):
            (self.path / _ACCESS_FILE).unlink()


def raise_file_limit(wanted: int = MAX_OPEN_FILES) -> int:
    """Raises the soft limit of open files as far as the hard one allows.

    Every INSERT that is not answered yet keeps a connection open, on both sides; the usual soft
    limits (1024 on Linux, 256 on macOS) are for programs that wait by ``select``.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return soft
    with suppress(ValueError, OSError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _check_format(path: Path, written: dict[str, Any], engine_version: str) -> None:
    store_format, engine = written.get("format"), written.get("engine")
    if not isinstance(store_format, int) or not isinstance(engine, str):
        raise ServerStartError(f"{path}: not a store's version; name an empty or a new directory")
    if store_format > FORMAT:
        raise ServerStartError(
            f"{path.parent} was written by a newer pytest-babyai (format {store_format}, this one "
            f"knows {FORMAT}): pip install -U pytest-babyai, or name another directory"
        )
    if _release(engine) > _release(engine_version):
        raise ServerStartError(
            f"{path.parent} was written by ClickHouse {engine}, and the installed chdb has "
            f"{engine_version}: pip install -U chdb, or name another directory"
        )


def _release(version: str) -> tuple[int, ...]:
    """Year and month: within a release the data's format does not change."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServerStartError(f"{path}: {error}") from None
    return read if isinstance(read, dict) else {}


def _write_json(path: Path, entries: dict[str, Any]) -> None:
    """Writes a file whole or not at all; a reader never meets half of one."""
    written = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        written.unlink()
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(entries, file)
    written.replace(path)
