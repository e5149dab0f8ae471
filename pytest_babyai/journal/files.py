"""Files that survive a crash: durable appends, atomic replacement, one writer a run."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import uuid
from typing import TYPE_CHECKING, Final, Protocol

from pytest_babyai.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE: Final = "lock"
_BLOCK: Final = 1 << 16
_NUM_LOCK_TRIES: Final = 10
_LOCK_PAUSE_S: Final = 0.05
_LOCKED_BYTE: Final = 1 << 30
"""Windows lets nobody read a locked byte, so one far behind the process id is locked."""


class AppendFile(Protocol):
    """What the journal asks of its file; tests give one with a full disk behind it."""

    def write(self, content: bytes) -> int:
        """Appends, and returns how many bytes went in.

        Raises:
            OSError: Nothing went in.
        """
        ...

    def sync(self) -> None:
        """Returns once everything written is durable.

        Raises:
            OSError: It may not be.
        """
        ...

    def truncate(self, size: int) -> None:
        """Cuts the file to a size in bytes.

        Raises:
            OSError: It is as long as before.
        """
        ...

    def close(self) -> None:
        """Closes the file."""
        ...


class DiskFile:
    """An `AppendFile` on disk; made if it is not there."""

    def __init__(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o644)

    def write(self, content: bytes) -> int:
        """Appends in one system call."""
        return os.write(self._descriptor, content)

    def sync(self) -> None:
        """Waits for the disk; the length is synced too, times of access need not be."""
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cuts the file."""
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


def sync_directory(directory: Path) -> None:
    """Makes new names in a directory durable, where the platform can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that readers and crashes see the old content or the new, never a part.

    Raises:
        OSError: The old content is still there.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def unfinished_tail(path: Path) -> tuple[int, bytes]:
    r"""Finds what stands behind the last ``\n``.

    Returns:
        Where it begins, and its bytes; the size and ``b""`` where the file ends in ``\n``.
    """
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        tail = b""
        while start > 0:
            size = min(_BLOCK, start)
            start -= size
            file.seek(start)
            block = file.read(size)
            newline = block.rfind(b"\n")
            if newline >= 0:
                return start + newline + 1, block[newline + 1 :] + tail
            tail = block + tail
    return 0, tail


class RunLock:
    """Lets one process write a run; the operating system frees it when the process dies.

    Where the file system knows no locks, nothing is locked.

    Args:
        directory: The run's directory.

    Raises:
        JournalError: Another writer has it.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / LOCK_FILE
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        if not _try_lock_patiently(self._descriptor):
            holder = _process_id(self._descriptor)
            os.close(self._descriptor)
            raise JournalError(
                f"run {directory.name} is being written by process {holder}; "
                "wait for its end, or start a run of its own"
            )
        with contextlib.suppress(OSError):  # the number is only told, a full disk is told elsewhere
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, b"%d\n" % os.getpid())

    def release(self) -> None:
        """Lets others write the run."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def is_locked(directory: Path) -> bool:
    """Whether some process writes the run at this moment."""
    try:
        descriptor = os.open(directory / LOCK_FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _process_id(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"


def _try_lock_patiently(descriptor: int) -> bool:
    """Tries again for half a second: `is_locked` holds the lock for a moment."""
    for _ in range(_NUM_LOCK_TRIES):
        if _try_lock(descriptor):
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True
