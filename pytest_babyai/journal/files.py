"""Files that survive a crash: group commit, atomic replacement, one writer a run."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import sys
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import filelock

from pytest_babyai.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOCK_FILE: Final = "lock"
_OWNER_FILE: Final = "writer"
_LOCK_TIMEOUT_S: Final = 0.5
_LOOK_TIMEOUT_S: Final = 0.4
"""Both are longer than `is_locked` holds the lock of a run that nobody writes."""
_BLOCK: Final = 1 << 16


class AppendFile:
    """A file on disk that is appended to; made if it is not there."""

    def __init__(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(path, flags, 0o644)

    def write(self, content: bytes) -> int:
        """Appends, and returns how many bytes went in."""
        return os.write(self._descriptor, content)

    def sync(self) -> None:
        """Returns once everything written is durable; its length is, times of access need not."""
        getattr(os, "fdatasync", os.fsync)(self._descriptor)

    def truncate(self, size: int) -> None:
        """Cuts the file to a size in bytes."""
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


def size_of_whole_lines(path: Path) -> int:
    r"""Returns the size of a file up to its last ``\n`` and with it; what follows is unfinished."""
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        newline = -1
        while start > 0 and newline < 0:
            num_bytes = min(_BLOCK, start)
            start -= num_bytes
            file.seek(start)
            newline = file.read(num_bytes).rfind(b"\n")
        return start + newline + 1


class RunLock:
    """Lets one process write a run; the operating system frees it when the process dies.

    Where the file system knows no locks, nothing is locked.

    Args:
        directory: The run's directory.

    Raises:
        JournalError: Another writer has it.
    """

    def __init__(self, directory: Path) -> None:
        self._owner = directory / _OWNER_FILE
        self._lock = filelock.FileLock(directory / LOCK_FILE, thread_local=False)
        try:
            self._lock.acquire(timeout=_LOCK_TIMEOUT_S)
        except filelock.Timeout:
            raise JournalError(
                f"run {directory.name} is being written by process {self._read_owner()}; "
                "wait for its end, or start a run of its own"
            ) from None
        except NotImplementedError:
            return
        with contextlib.suppress(OSError):  # a full disk is complained of where it loses something
            self._owner.write_text(f"{os.getpid()}\n", encoding="ascii")

    def release(self) -> None:
        """Lets others write the run."""
        with contextlib.suppress(OSError):
            self._owner.unlink(missing_ok=True)
        self._lock.release()

    def _read_owner(self) -> str:
        try:
            return self._owner.read_text(encoding="ascii").strip() or "unknown"
        except (OSError, ValueError):
            return "unknown"


def is_locked(directory: Path) -> bool:
    """Whether some process writes the run at this moment."""
    path = directory / LOCK_FILE
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, timeout=_LOOK_TIMEOUT_S, thread_local=False):
            return False
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


class GroupWriter:
    """Appends lines to a file from any thread; each is durable before its append returns.

    Lines that arrive while the disk is busy share the next write and sync. A line that does not go
    in whole is cut away again, so that the lines before it stay intact. Once a sync failed, nobody
    knows what the disk holds, and nothing more is written.

    Args:
        path: The file, named in errors.
        file: Where lines go.
        size: Size of the file in bytes.
        advice: Ends the line of an error.
    """

    def __init__(self, path: Path, file: AppendFile, size: int, advice: str) -> None:
        self._file = _CommittedFile(file, size)
        self._path = path
        self._advice = advice
        self._pending: collections.deque[_Pending] = collections.deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="babyai-journal")

    def append(self, encode: Callable[[], bytes]) -> None:
        """Blocks until the line is durable; it is made on the writer's thread.

        Raises:
            JournalError: It is not.
        """
        self._submit(encode).result()

    async def append_async(self, encode: Callable[[], bytes]) -> None:
        """Waits until the line is durable; cancelling the wait does not take the line back.

        Raises:
            JournalError: It is not.
        """
        await asyncio.wrap_future(self._submit(encode))

    def close(self) -> None:
        """Writes what is pending, then closes the file."""
        self._thread.shutdown()
        self._file.close()

    def _submit(self, encode: Callable[[], bytes]) -> Future[None]:
        pending = _Pending(encode)
        self._pending.append(pending)
        try:
            self._thread.submit(self._write_pending)
        except RuntimeError:
            raise JournalError("the journal is closed; this episode is not recorded") from None
        return pending.future

    def _write_pending(self) -> None:
        """Writes all that waits; those that a call finds are not there for the next one."""
        batch = []
        with contextlib.suppress(IndexError):
            while True:
                batch.append(self._pending.popleft())
        try:
            self._commit([(each, line) for each in batch if (line := each.line()) is not None])
        except Exception as error:  # noqa: BLE001 -- nobody may wait for ever
            for pending in batch:
                pending.error = pending.error or error
        for pending in batch:
            pending.end()

    def _commit(self, lines: Sequence[tuple[_Pending, bytes]]) -> None:
        try:
            self._file.commit(b"".join(line for _, line in lines))
        except OSError as error:
            if len(lines) == 1:
                lines[0][0].error = self._described(error)
                return
            for line in lines:  # the disk may have room for some: every finished episode counts
                self._commit([line])

    def _described(self, error: OSError) -> JournalError:
        reason = error.strerror or error
        return JournalError(f"{self._path}: {reason}; earlier episodes are kept; {self._advice}")


class _Pending:
    """A line on its way to the disk."""

    def __init__(self, encode: Callable[[], bytes]) -> None:
        self.future: Future[None] = Future()
        self.error: BaseException | None = None
        self._encode = encode

    def line(self) -> bytes | None:
        try:
            return self._encode()
        except Exception as error:  # noqa: BLE001 -- the caller of append gets it
            self.error = error
            return None

    def end(self) -> None:
        """Wakes whoever waits, unless the wait was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        if self.error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(self.error)


class _CommittedFile:
    """An append file that holds whole commits only."""

    def __init__(self, file: AppendFile, size: int) -> None:
        self._file = file
        self._size: int | None = size
        self._is_torn = False
        self._sync_error: OSError | None = None

    def commit(self, content: bytes) -> None:
        """Appends and syncs; on an error the file is as before, as far as the disk allows."""
        if not content:
            return
        if self._sync_error is not None:
            raise self._sync_error
        if self._is_torn:
            content = b"\n" + content
        try:
            self._write(content)
        except OSError:
            self._cut()
            raise
        self._is_torn = False
        if self._size is not None:
            self._size += len(content)

    def close(self) -> None:
        self._file.close()

    def _write(self, content: bytes) -> None:
        rest = content
        while rest:
            rest = rest[self._file.write(rest) :]
        try:
            self._file.sync()
        except OSError as error:
            self._sync_error = error
            raise

    def _cut(self) -> None:
        """Cuts an unfinished commit away; where that fails, the next one begins a line of its own.

        The size is unknown from then on, and cutting by a wrong one would take lines.
        """
        if self._size is not None:
            try:
                self._file.truncate(self._size)
            except OSError:
                self._size = None
            else:
                return
        self._is_torn = True
