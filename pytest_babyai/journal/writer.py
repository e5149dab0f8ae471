"""Group commit: lines that arrive while the disk is busy share the next write and fsync."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_babyai.journal.files import AppendFile


@dataclass(slots=True, eq=False)
class _Pending:
    """A line on its way to the disk.

    Attributes:
        encode: Makes the line, on the writer's thread.
        waiter: Told once the line is durable, or why it is not.
        loop: The event loop of an asyncio waiter, None for a blocking one.
        error: Why the line is not durable.
    """

    encode: Callable[[], bytes]
    waiter: concurrent.futures.Future[None] | asyncio.Future[None]
    loop: asyncio.AbstractEventLoop | None = None
    error: BaseException | None = None

    def tell(self) -> None:
        """Wakes the waiter, unless it was cancelled meanwhile."""
        if self.waiter.done():
            return
        if self.error is None:
            self.waiter.set_result(None)
        else:
            self.waiter.set_exception(self.error)


class GroupWriter:
    """Appends lines to a file from any thread; each is durable before its append returns.

    A line that does not go in whole is cut away again, so that the lines before it stay intact.
    Once a sync failed, nobody knows what the disk holds, and nothing more is written.

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
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="babyai-journal", daemon=True)
        self._thread.start()

    def append(self, encode: Callable[[], bytes]) -> None:
        """Blocks until the line is durable.

        Raises:
            JournalError: It is not.
        """
        waiter: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._submit(_Pending(encode, waiter))
        waiter.result()

    async def append_async(self, encode: Callable[[], bytes]) -> None:
        """Waits until the line is durable; cancelling the wait does not take the line back.

        Raises:
            JournalError: It is not.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._submit(_Pending(encode, waiter, loop))
        await waiter

    def close(self) -> None:
        """Writes what is pending, then closes the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._file.close()

    def _submit(self, pending: _Pending) -> None:
        with self._wake:
            if self._closing:
                raise JournalError("the journal is closed; this episode is not recorded")
            self._pending.append(pending)
            self._wake.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._commit(batch)
            except BaseException as error:  # noqa: BLE001 -- nobody may wait for a dead writer
                for pending in batch:
                    pending.error = pending.error or error
            _tell(batch)

    def _next_batch(self) -> list[_Pending]:
        with self._wake:
            while not self._pending and not self._closing:
                self._wake.wait()
            batch = list(self._pending)
            self._pending.clear()
        return batch

    def _commit(self, batch: Sequence[_Pending]) -> None:
        lines = [(pending, line) for pending in batch if (line := _encoded(pending)) is not None]
        try:
            self._file.commit(b"".join(line for _, line in lines))
        except OSError:
            # The disk may have room for some of the lines: every finished episode counts.
            for pending, line in lines:
                self._commit_alone(pending, line)

    def _commit_alone(self, pending: _Pending, line: bytes) -> None:
        try:
            self._file.commit(line)
        except OSError as error:
            pending.error = self._described(error)

    def _described(self, error: OSError) -> JournalError:
        reason = error.strerror or error
        return JournalError(f"{self._path}: {reason}; earlier episodes are kept; {self._advice}")


class _CommittedFile:
    """An append file that holds whole commits only."""

    def __init__(self, file: AppendFile, size: int) -> None:
        self._file = file
        self._size: int | None = size
        self._torn = False
        self._sync_error: OSError | None = None

    def commit(self, content: bytes) -> None:
        """Appends and syncs; on an error the file is as before, as far as the disk allows."""
        if self._sync_error is not None:
            raise self._sync_error
        if self._torn:
            content = b"\n" + content
        try:
            self._write(content)
            self._sync()
        except OSError:
            self._cut()
            raise
        self._torn = False
        if self._size is not None:
            self._size += len(content)

    def close(self) -> None:
        self._file.close()

    def _write(self, content: bytes) -> None:
        while content:
            content = content[self._file.write(content) :]

    def _sync(self) -> None:
        try:
            self._file.sync()
        except OSError as error:
            self._sync_error = error
            raise

    def _cut(self) -> None:
        if self._size is not None:
            try:
                self._file.truncate(self._size)
            except OSError:
                self._size = None  # it is unknown from now on, and a wrong cut would take lines
            else:
                return
        self._torn = True


def _encoded(pending: _Pending) -> bytes | None:
    try:
        return pending.encode()
    except Exception as error:  # noqa: BLE001 -- the caller of append gets it
        pending.error = error
        return None


def _tell(batch: Sequence[_Pending]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop | None, list[_Pending]] = {}
    for pending in batch:
        by_loop.setdefault(pending.loop, []).append(pending)
    for loop, waiting in by_loop.items():
        if loop is None:
            _tell_all(waiting)
        else:
            _tell_on(loop, waiting)


def _tell_on(loop: asyncio.AbstractEventLoop, waiting: Sequence[_Pending]) -> None:
    try:
        loop.call_soon_threadsafe(_tell_all, waiting)
    except RuntimeError:  # the loop is closed, nobody waits any more
        return


def _tell_all(waiting: Sequence[_Pending]) -> None:
    for pending in waiting:
        pending.tell()
