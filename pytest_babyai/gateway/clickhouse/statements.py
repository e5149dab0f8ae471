"""Decides how a statement is run: merged with others, from memory, or by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_babyai.gateway.clickhouse.execution import Execution
from pytest_babyai.gateway.clickhouse.insert_log import InsertLog, Record, Target
from pytest_babyai.gateway.clickhouse.inserts import InsertQueue, can_be_merged
from pytest_babyai.gateway.clickhouse.known_rows import (
    KnownShapes,
    PendingKeys,
    RecentValues,
    rows_of,
)
from pytest_babyai.gateway.clickhouse.lookups import (
    Lookups,
    Table,
    asks_directness,
    key_of,
    lookup_of,
    written_table,
)
from pytest_babyai.gateway.clickhouse.writing import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable
    from pathlib import Path

    from pytest_babyai.gateway.clickhouse.engine import Engine, Result
    from pytest_babyai.gateway.clickhouse.lookups import Lookup
    from pytest_babyai.gateway.clickhouse.requests import Query

RECENT_IDS = (
    {
        Table("tensorzero", "ModelInference"): "inference_id",
        Table("tensorzero", "JsonInference"): "id",
    },
    {Table("tensorzero", "FloatMetricFeedback"): "id"},
)
"""The columns with the ids of TensorZero's inferences, which have a row in two tables, and of its
feedback."""

KEYS = {Table("tensorzero", "ModelInferenceCache"): "long_cache_key"}
"""The column with which TensorZero looks up a cached answer, before each inference."""

LOG_DIRECTORY = "inserts"
REFUSED_FILE = "refused.jsonl"


class Statements:
    """Runs statements of many clients at once.

    Args:
        engine: The engine; it stays the caller's to close, after this.
        directory: Of the store; holds acknowledged rows until they are in the tables.

    Raises:
        EngineError: Rows that were acknowledged before a sudden end cannot be written.
    """

    def __init__(self, engine: Engine, directory: Path) -> None:
        log = InsertLog(directory / LOG_DIRECTORY)
        self._queue = InsertQueue(Writer(engine, directory / REFUSED_FILE), log)
        self._execution = Execution(engine)
        self._lookups = Lookups()
        self._shapes = KnownShapes()
        self._asking: dict[Lookup, asyncio.Task[Result]] = {}
        self._directness = asyncio.Lock()
        self._recent = [RecentValues(columns) for columns in RECENT_IDS]
        self._pending = PendingKeys(KEYS, log)
        self._queue.recover()

    def merged_insert(self, query: Query) -> Awaitable[int] | None:
        """Writes rows together with those of others.

        Where the client asks for an asynchronous INSERT, and rows of the same shape were written
        before, they are acknowledged once they are safe, and written later: before anything is
        read, or when there are enough of them.

        Returns:
            The number of rows; None if the query is no such INSERT.
        """
        if query.session_id is not None or query.read_only or query.tables:
            return None
        insert = query.insert()
        if insert is None or not can_be_merged(insert.input_format, insert.data):
            return None
        record = Record(Target(insert.statement, query.context), insert.data)
        return self._write(query, record, may_wait=insert.is_asynchronous)

    async def _write(self, query: Query, record: Record, *, may_wait: bool) -> int:
        table = written_table(query)
        rows = rows_of(record.data)
        is_known = rows is not None and self._shapes.cover(record.target, rows)
        try:
            if may_wait and is_known:
                num_rows = await self._queue.acknowledge(record)
                self._pending.add(table, rows or [])
            else:
                num_rows = await self._queue.insert(record)
        finally:
            self._lookups.note_write(table)
        if rows is not None:
            for recent in self._recent:
                recent.add(table, rows)
            if not is_known:
                self._shapes.learn(record.target, rows)
        return num_rows

    def acknowledged(self, ids: Iterable[str]) -> list[str]:
        """Returns which inferences and feedback came in lately, without reading a table."""
        asked = list(ids)
        return [each for recent in self._recent for each in recent.find(asked)]

    async def results(self, query: Query) -> AsyncIterator[Result]:
        """Runs any other statement.

        Yields:
            Its result, in one part or, for a query whose format allows it, in several.

        Raises:
            EngineError: It failed; that can be after some parts.
        """
        lookup = lookup_of(query)
        if lookup is not None:
            yield await self._look_up(lookup, query)
            return
        await self._queue.settle()
        try:
            async for part in self._execution.parts(query):
                yield part
        finally:
            if not query.only_reads:
                self._note_write(written_table(query))

    def _note_write(self, table: Table | None) -> None:
        self._lookups.note_write(table)
        if table is None:
            self._shapes.forget()

    async def _look_up(self, lookup: Lookup, query: Query) -> Result:
        """Answers a lookup from memory, or for all at once that wait for the same."""
        answer = self._lookups.find(lookup)
        if answer is not None:
            return answer
        asking = self._asking.get(lookup)
        if asking is None:
            asking = self._asking[lookup] = asyncio.create_task(self._ask(lookup, query))
        return await asyncio.shield(asking)

    async def _ask(self, lookup: Lookup, query: Query) -> Result:
        version: object = None

        def start() -> None:
            # Of rows that come from now on the answer need not know.
            nonlocal version
            version = self._lookups.version(lookup.table)
            self._asking.pop(lookup, None)

        if self._may_be_pending(lookup.table, query):
            await self._queue.settle(on_start=start)
        else:
            start()
        answer = await self._execution.lookup(query)
        if await self._is_written_directly(lookup.table):
            self._lookups.remember(lookup, version, answer)
        return answer

    def _may_be_pending(self, table: Table, query: Query) -> bool:
        column = KEYS.get(table)
        return self._pending.may_have(table, key_of(query, column) if column else None)

    async def _is_written_directly(self, table: Table) -> bool:
        async with self._directness:
            known = self._lookups.directness(table)
            if known is None:
                answer = await self._execution.whole(asks_directness(table))
                known = answer.body == b"1\n"
                self._lookups.note_directness(table, is_direct=known)
            return known

    def close(self) -> None:
        """Waits for what runs, writes what is acknowledged and closes all connections."""
        self._queue.close()
        self._execution.close()
