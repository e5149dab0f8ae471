"""Group commit: INSERTs that arrive while others are written go together, as one per table.

An INSERT costs the engine some milliseconds, however few rows it has, and leaves parts that have
to be merged later; a thousand rows cost hardly more than one. Every INSERT is answered once its
rows are in the tables: on disk as far as the operating system goes, so that the end of this
process, however sudden, loses none of them, and a SELECT finds them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.store.engine import ConnectionPool, Context, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_babyai.store.engine import Engine

MERGED_FORMAT: Final = "JSONEachRow"
MAX_MERGED_BYTES: Final = 2 << 20
"""Far fewer rows than the engine would split into several blocks: an INSERT is all or nothing so.
A larger INSERT is written by itself."""

_GATHER_S: Final = 0.003
"""Delay of the first INSERT, as they seldom come alone."""
_FEW_THREADS: Final = (("max_threads", "1"),)


class Target(NamedTuple):
    """What INSERTs must have in common to be merged.

    Attributes:
        into: ``INSERT INTO table (columns)``.
        settings: ``SETTINGS ...``, or empty.
        context: Database and settings of the request.
    """

    into: str
    settings: str
    context: Context


class _Waiting(NamedTuple):
    target: Target
    data: bytes
    done: asyncio.Future[int]


class GroupCommit:
    """Writes INSERTs of JSON lines, all of one target at once.

    Args:
        engine: The engine; it stays the caller's to close, after this.
    """

    def __init__(self, engine: Engine) -> None:
        self._pool = ConnectionPool(engine)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-insert")
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def insert(self, target: Target, data: bytes) -> int:
        """Writes rows, together with those of others.

        Args:
            target: Where to.
            data: JSON lines, as `can_be_merged` wants them.

        Returns:
            The number of rows, once they are in the tables.

        Raises:
            EngineError: None of them was written.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(target, data, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await done

    def close(self) -> None:
        """Waits for what is being written, and closes the connections."""
        self._thread.shutdown()
        self._pool.close()

    async def _write_all(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_GATHER_S)
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for batch in _batches(waiting):
                failures = await loop.run_in_executor(self._thread, self._write, batch)
                for insert, failure in zip(batch, failures, strict=True):
                    _answer(insert, failure)
        self._writing = None

    def _write(self, batch: Sequence[_Waiting]) -> list[EngineError | None]:
        """Writes a batch; should rows be unreadable, each INSERT by itself.

        Returns:
            For every INSERT why it was not written, or None.
        """
        failure = self._insert(batch)
        if failure is None or len(batch) == 1 or not failure.is_bad_data:
            return [failure] * len(batch)
        return [self._insert([insert]) for insert in batch]

    def _insert(self, batch: Sequence[_Waiting]) -> EngineError | None:
        target = batch[0].target
        context = target.context._replace(settings=(*target.context.settings, *_FEW_THREADS))
        connection = None
        try:
            connection = self._pool.take(context)
            data = b"\n".join(insert.data for insert in batch)
            connection.insert(target.into, target.settings, MERGED_FORMAT, data)
        except Exception as error:  # noqa: BLE001 - who waits has to be told, whatever it was
            if connection is not None:
                connection.close()
            if isinstance(error, EngineError):
                return error
            return EngineError.from_text(f"{type(error).__name__}: {error}")
        self._pool.give_back(connection, context)
        return None


def can_be_merged(input_format: str, data: bytes) -> bool:
    """Whether rows may stand behind those of another INSERT."""
    return (
        input_format == MERGED_FORMAT
        and len(data) <= MAX_MERGED_BYTES
        and data.lstrip(b" \t\r\n").startswith(b"{")
        and data.rstrip(b" \t\r\n").endswith(b"}")
    )


def _batches(waiting: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Yields INSERTs that are written together, in the order of the first of each."""
    by_target: dict[Target, list[_Waiting]] = {}
    for insert in waiting:
        by_target.setdefault(insert.target, []).append(insert)
    for inserts in by_target.values():
        batch: list[_Waiting] = []
        num_bytes = 0
        for insert in inserts:
            if batch and num_bytes + len(insert.data) > MAX_MERGED_BYTES:
                yield batch
                batch, num_bytes = [], 0
            batch.append(insert)
            num_bytes += len(insert.data)
        yield batch


def _answer(insert: _Waiting, failure: EngineError | None) -> None:
    if insert.done.cancelled():
        return  # nobody waits any longer; the rows are written all the same
    if failure is None:
        insert.done.set_result(_num_rows(insert.data))
    else:
        insert.done.set_exception(failure)


def _num_rows(data: bytes) -> int:
    """Rows have a line each, as clients write them."""
    return sum(1 for line in data.splitlines() if line.strip())
