"""Decides how a statement is run: merged with others, from memory, or by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.gateway.clickhouse.execution import Execution
from pytest_babyai.gateway.clickhouse.inserts import InsertQueue, Target, can_be_merged
from pytest_babyai.gateway.clickhouse.lookups import (
    Lookups,
    asks_directness,
    lookup_of,
    written_table,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from pytest_babyai.gateway.clickhouse.engine import Engine, Result
    from pytest_babyai.gateway.clickhouse.lookups import Lookup, Table
    from pytest_babyai.gateway.clickhouse.requests import Query


class Statements:
    """Runs statements of many clients at once.

    Args:
        engine: The engine; it stays the caller's to close, after this.
    """

    def __init__(self, engine: Engine) -> None:
        self._queue = InsertQueue(engine)
        self._execution = Execution(engine)
        self._lookups = Lookups()

    def merged_insert(self, query: Query) -> Awaitable[int] | None:
        """Writes rows together with those of others.

        Returns:
            The number of rows once they are written; None if the query is no such INSERT.
        """
        if query.session_id is not None or query.read_only or query.tables:
            return None
        insert = query.insert()
        if insert is None or not can_be_merged(insert.input_format, insert.data):
            return None
        return self._write(query, Target(insert.statement, query.context), insert.data)

    async def _write(self, query: Query, target: Target, data: bytes) -> int:
        try:
            return await self._queue.insert(target, data)
        finally:
            self._lookups.note_write(written_table(query))

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
        try:
            async for part in self._execution.parts(query):
                yield part
        finally:
            if not query.only_reads:
                self._lookups.note_write(written_table(query))

    async def _look_up(self, lookup: Lookup, query: Query) -> Result:
        answer = self._lookups.find(lookup)
        if answer is None:
            version = self._lookups.version(lookup.table)
            answer = await self._execution.whole(query)
            if await self._is_written_directly(lookup.table):
                self._lookups.remember(lookup, version, answer)
        return answer

    async def _is_written_directly(self, table: Table) -> bool:
        known = self._lookups.directness(table)
        if known is None:
            answer = await self._execution.whole(asks_directness(table))
            known = answer.body == b"1\n"
            self._lookups.note_directness(table, is_direct=known)
        return known

    def close(self) -> None:
        """Waits for what runs and closes all connections."""
        self._queue.close()
        self._execution.close()
