"""Merges the INSERTs that wait into one per table.

An INSERT costs the engine some milliseconds, however few rows it has, and leaves parts that have
to be merged later; a thousand rows cost hardly more than one.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.gateway.clickhouse.connections import ConnectionPool, Context
from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.gateway.clickhouse.engine import Engine

MERGED_FORMAT = "JSONEachRow"
MAX_MERGED_BYTES = 1 << 20
"""A larger INSERT is written by itself."""

_MAX_BATCH_BYTES = 32 << 20
"""Far below the size at which the engine would split an INSERT, which is all or nothing so."""

_TICK_S = 0.002


class Pace(NamedTuple):
    """When waiting INSERTs are written.

    Attributes:
        gather_s: Delay of the first INSERT after a rest, as they seldom come alone.
        max_busy_share: Share of the time that may go into writing.
        max_pause_s: Longest rest after writing.
        max_waiting: So many INSERTs are written without further delay; each of them keeps a
            connection of its client open.
        burst: From so many on, they are written as soon as no more come: their clients wait.
        silence: That no more come is taken from a gap so many times as long as the usual one.
        min_silence_s: The shortest such gap.
        patience: How much longer the gap has to be while there are fewer than the last time, as
            clients that wait come back in the same number.
    """

    gather_s: float = 0.003
    max_busy_share: float = 0.15
    max_pause_s: float = 0.4
    max_waiting: int = 500
    burst: int = 16
    silence: float = 5.0
    min_silence_s: float = 0.005
    patience: float = 4.0

    def pause_s(self, busy_s: float) -> float:
        """The rest after writing."""
        return min(busy_s * (1 / self.max_busy_share - 1), self.max_pause_s)


class Target(NamedTuple):
    """What INSERTs must have in common to be merged."""

    statement: str
    context: Context


class _Waiting(NamedTuple):
    data: bytes
    done: asyncio.Future[int]


class Arrivals:
    """Tells from how INSERTs arrive when those that wait should be written.

    Args:
        pace: The limits.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._num = self._num_before = 0
        self._first_s = self._last_s = 0.0

    def reset(self) -> None:
        """Starts over, as nothing waits."""
        self._num_before, self._num = self._num, 0

    def count(self, now_s: float) -> None:
        """Counts one that arrives."""
        if not self._num:
            self._first_s = now_s
        self._num += 1
        self._last_s = now_s

    def are_due(self, now_s: float, end_s: float) -> bool:
        """Whether they should be written now, the rest's end being ``end_s``."""
        if now_s >= end_s or self._num >= self._pace.max_waiting:
            return True
        return self._num >= self._pace.burst and now_s - self._last_s > self._silence_s()

    def _silence_s(self) -> float:
        usual_gap_s = (self._last_s - self._first_s) / max(self._num - 1, 1)
        silence_s = max(usual_gap_s * self._pace.silence, self._pace.min_silence_s)
        return silence_s if self._num >= self._num_before else silence_s * self._pace.patience


class InsertQueue:
    """Writes queued INSERTs, all of one target at once.

    An INSERT is done when its rows are in the tables: on disk as far as the operating system goes,
    so that the end of this process, however sudden, loses none of them.

    Args:
        engine: The engine.
        pace: When it writes.
    """

    def __init__(self, engine: Engine, pace: Pace = Pace()) -> None:  # noqa: B008 - immutable
        self._writer = _Writer(engine)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-insert")
        self._pace = pace
        self._waiting: dict[Target, list[_Waiting]] = {}
        self._arrivals = Arrivals(pace)
        self._writing: asyncio.Task[None] | None = None

    async def insert(self, target: Target, data: bytes) -> int:
        """Writes JSON rows, together with what else waits for the target.

        Returns:
            The number of rows.

        Raises:
            EngineError: They were not written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._waiting.setdefault(target, []).append(_Waiting(data, done))
        self._arrivals.count(loop.time())
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await done

    async def _write_all(self) -> None:
        """Runs while there is something to write."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._pace.gather_s)
        while self._waiting:
            started_s = loop.time()
            waiting, self._waiting = self._waiting, {}
            self._arrivals.reset()
            for target, inserts in waiting.items():
                for batch in _batches(inserts):
                    await self._write(target, batch)
            ended_s = loop.time()
            end_s = ended_s + self._pace.pause_s(ended_s - started_s)
            while not self._arrivals.are_due(loop.time(), end_s):  # noqa: ASYNC110 - time decides
                await asyncio.sleep(_TICK_S)
        self._writing = None

    async def _write(self, target: Target, batch: Sequence[_Waiting]) -> None:
        bodies = [insert.data for insert in batch]
        loop = asyncio.get_running_loop()
        failures = await loop.run_in_executor(self._thread, self._writer.write, target, bodies)
        for insert, failure in zip(batch, failures, strict=True):
            if insert.done.cancelled():
                continue  # nobody waits any longer; the rows are written all the same
            if failure is None:
                insert.done.set_result(_num_rows(insert.data))
            else:
                insert.done.set_exception(failure)

    def close(self) -> None:
        """Closes the connections once what is being written is written."""
        self._thread.submit(self._writer.close)
        self._thread.shutdown()


class _Writer:
    """Writes batches; all on one thread."""

    def __init__(self, engine: Engine) -> None:
        self._pool = ConnectionPool(engine)

    def write(self, target: Target, bodies: Sequence[bytes]) -> list[EngineError | None]:
        """Writes bodies in one INSERT; should rows be unreadable, each by itself.

        Returns:
            For every body why it was not written, or None.
        """
        failure = self._insert(target, bodies)
        if failure is None or len(bodies) == 1 or not failure.is_bad_data:
            return [failure] * len(bodies)
        return [self._insert(target, [body]) for body in bodies]

    def _insert(self, target: Target, bodies: Sequence[bytes]) -> EngineError | None:
        database, settings = target.context
        context = Context(database, (*settings, ("max_threads", "1")))
        connection = None
        try:
            connection = self._pool.take(context)
            connection.insert(target.statement, MERGED_FORMAT, b"\n".join(bodies))
        except Exception as error:  # noqa: BLE001 - who waits has to be told, whatever it was
            if connection is not None:
                connection.close()
            return error if isinstance(error, EngineError) else _unknown(error)
        self._pool.give_back(connection, context)
        return None

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()


def _unknown(error: Exception) -> EngineError:
    return EngineError.from_text(f"{type(error).__name__}: {error}")


def can_be_merged(input_format: str, data: bytes) -> bool:
    """Whether rows may stand behind those of another INSERT."""
    return (
        input_format == MERGED_FORMAT
        and len(data) <= MAX_MERGED_BYTES
        and data.startswith(b"{")
        and data.rstrip(b" \t\r\n").endswith(b"}")
    )


def _batches(inserts: Sequence[_Waiting]) -> list[list[_Waiting]]:
    batches: list[list[_Waiting]] = [[]]
    num_bytes = 0
    for insert in inserts:
        if num_bytes + len(insert.data) > _MAX_BATCH_BYTES:
            batches.append([])
            num_bytes = 0
        batches[-1].append(insert)
        num_bytes += len(insert.data)
    return batches


def _num_rows(data: bytes) -> int:
    """Rows have a line each, as clients write them."""
    return data.rstrip(b" \t\r\n").count(b"\n") + 1
