"""Merges INSERTs into one per table.

An INSERT costs the engine some milliseconds, however few rows it has, and leaves parts that have
to be merged later; a thousand rows cost hardly more than one. So rows that may be acknowledged
before they are in the tables wait in a log until there are many of them, or somebody reads.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytest_babyai.gateway.clickhouse.failures import EngineError
from pytest_babyai.gateway.clickhouse.writing import MERGED_FORMAT

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.clickhouse.insert_log import InsertLog, Record, Segment
    from pytest_babyai.gateway.clickhouse.writing import Writer

T = TypeVar("T")

MAX_MERGED_BYTES = 32 << 20
"""A larger INSERT is written by itself."""


class Pace(NamedTuple):
    """When rows are written into the tables.

    Attributes:
        gather_s: Delay of the first INSERT whose client waits, as they seldom come alone.
        max_busy_share: Share of the time that may go into writing because somebody waits, while
            more rows keep coming.
        max_pause_s: Longest rest after writing.
        silence_s: After so long without another row no more are waited for.
        max_age_s: So long acknowledged rows wait where nobody reads.
        max_bytes: From so many bytes on, acknowledged rows are written.
        max_held_bytes: From so many bytes on, nothing is acknowledged before older rows are
            written: a bound of the memory.
        retry_s: Rest after rows could not be written.
    """

    gather_s: float = 0.003
    max_busy_share: float = 0.15
    max_pause_s: float = 2.0
    silence_s: float = 0.05
    max_age_s: float = 3.0
    max_bytes: int = 48 << 20
    max_held_bytes: int = 96 << 20
    retry_s: float = 1.0

    def pause_s(self, busy_s: float) -> float:
        """The rest after writing."""
        return min(busy_s * (1 / self.max_busy_share - 1), self.max_pause_s)


class _Waiting(NamedTuple):
    record: Record
    done: asyncio.Future[int]


class _Reader(NamedTuple):
    on_start: Callable[[], None]
    settled: asyncio.Future[None]


class InsertQueue:
    """Writes INSERTs, all of one target at once.

    Args:
        writer: Writes them.
        log: Keeps what is acknowledged and not yet written.
        pace: When it is.
    """

    def __init__(self, writer: Writer, log: InsertLog, pace: Pace = Pace()) -> None:  # noqa: B008 - immutable
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-insert")
        self._log = log
        self._pace = pace
        self._waiting: list[_Waiting] = []
        self._readers: list[_Reader] = []
        self._schedule: _Schedule | None = None

    async def insert(self, record: Record) -> int:
        """Writes rows, together with what else waits.

        Returns:
            The number of rows, once they are in the tables: on disk as far as the operating
            system goes, so that the end of this process, however sudden, loses none of them.

        Raises:
            EngineError: They were not written.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(record, done))
        schedule = self._started()
        schedule.count_row()
        schedule.hurry()
        return await done

    async def acknowledge(self, record: Record) -> int:
        """Keeps rows, to write them later; only for such as the engine will take.

        Returns:
            The number of rows, once the end of this process can no longer lose them.

        Raises:
            EngineError: They were not kept.
        """
        if self._log.num_bytes >= self._pace.max_held_bytes:
            await self.settle()
        self._log.append(record)
        schedule = self._started()
        schedule.count_row()
        if self._log.num_new_bytes >= self._pace.max_bytes:
            schedule.hurry(with_log=True)
        return num_rows(record.data)

    async def settle(self, on_start: Callable[[], None] = lambda: None) -> None:
        """Returns once all that is acknowledged can be read.

        Args:
            on_start: Called when the writing starts; what is acknowledged later is not waited
                for.

        Raises:
            EngineError: It cannot be written.
        """
        if not self._log.num_bytes:
            on_start()
            return
        settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._readers.append(_Reader(on_start, settled))
        self._started().hurry(with_log=True)
        await settled

    def recover(self) -> None:
        """Writes what a process that ended suddenly has left; before anything else.

        Raises:
            EngineError: It cannot be written.
        """
        self._thread.submit(self._write_log).result()

    def close(self) -> None:
        """Writes what is acknowledged, and closes the connections.

        What cannot be written stays in the log, for the next start.
        """
        with suppress(EngineError):
            self._thread.submit(self._write_log).result()
        self._thread.submit(self._writer.close)
        self._thread.shutdown()

    def _write_log(self) -> None:
        for segment in self._log.sealed():
            self._writer.write_segment(segment)
            self._log.remove(segment)

    def _started(self) -> _Schedule:
        """The schedule of the writing, which runs while there is something to write."""
        if self._schedule is None:
            self._schedule = _Schedule(self._pace)
            self._writing = asyncio.create_task(self._write_all(self._schedule))
        return self._schedule

    async def _write_all(self, schedule: _Schedule) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._readers or self._log.num_bytes:
            with_log = await schedule.until_due()
            started_s = loop.time()
            await self._write_waiting()
            failed = with_log and await self._write_acknowledged()
            rest_s = self._pace.pause_s(loop.time() - started_s)
            schedule.rest(max(rest_s, self._pace.retry_s) if failed else rest_s)
            if self._waiting or self._readers:
                schedule.hurry(with_log=bool(self._readers))
        self._schedule = None

    async def _write_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        failures = await self._run(self._writer.write, [each.record for each in waiting])
        for each, failure in zip(waiting, failures, strict=True):
            _end(each.done, failure, num_rows(each.record.data))

    async def _write_acknowledged(self) -> bool:
        """Returns whether it failed."""
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.on_start()
        failure = None
        for segment in self._log.sealed():
            failure = await self._run(_failure_of, self._writer, segment)
            if failure is not None:
                break
            self._log.remove(segment)
        for reader in readers:
            _end(reader.settled, failure, None)
        return failure is not None

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


class _Schedule:
    """Tells when to write next."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._clock = asyncio.get_running_loop().time
        self._last_row_s = self._clock()
        self._end_of_rest_s = self._clock() + pace.gather_s
        self._is_hurried = self._with_log = False
        self._hurried = asyncio.Event()

    def count_row(self) -> None:
        """A row was acknowledged."""
        self._last_row_s = self._clock()

    def hurry(self, *, with_log: bool = False) -> None:
        """Somebody waits, or there is enough.

        Args:
            with_log: Whether for what is acknowledged.
        """
        self._is_hurried = True
        self._with_log |= with_log
        self._hurried.set()

    def rest(self, rest_s: float) -> None:
        """Writing has ended."""
        self._end_of_rest_s = self._clock() + rest_s
        self._is_hurried = self._with_log = False

    async def until_due(self) -> bool:
        """Returns when to write, and whether what is acknowledged as well."""
        while (wait_s := self._due_s() - self._clock()) > 0:
            self._hurried.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), wait_s)
        return self._with_log or not self._is_hurried

    def _due_s(self) -> float:
        if self._is_hurried:
            return min(self._end_of_rest_s, self._last_row_s + self._pace.silence_s)
        return self._end_of_rest_s + self._pace.max_age_s


def _failure_of(writer: Writer, segment: Segment) -> EngineError | None:
    try:
        writer.write_segment(segment)
    except EngineError as error:
        return error
    return None


def _end(future: asyncio.Future[T], failure: EngineError | None, result: T) -> None:
    if future.cancelled():
        return  # nobody waits any longer; the rows are written all the same
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def can_be_merged(input_format: str, data: bytes) -> bool:
    """Whether rows may stand behind those of another INSERT."""
    return (
        input_format == MERGED_FORMAT
        and len(data) <= MAX_MERGED_BYTES
        and data.startswith(b"{")
        and data.rstrip(b" \t\r\n").endswith(b"}")
    )


def num_rows(data: bytes) -> int:
    """Rows have a line each, as clients write them."""
    return data.rstrip(b" \t\r\n").count(b"\n") + 1
