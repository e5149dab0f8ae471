"""Runs statements on connections, several at once."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_babyai.gateway.clickhouse.connections import ConnectionPool
from pytest_babyai.gateway.clickhouse.engine import Result, quoted_name
from pytest_babyai.gateway.clickhouse.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pytest_babyai.gateway.clickhouse.engine import Connection, Engine
    from pytest_babyai.gateway.clickhouse.requests import Query

T = TypeVar("T")

NUM_THREADS: Final = 8
"""Statements that run at once; the queue of INSERTs has a thread of its own."""

STREAMED_FORMATS: Final = frozenset(
    {
        "CSV",
        "JSONCompactEachRow",
        "JSONCompactStringsEachRow",
        "JSONEachRow",
        "JSONLines",
        "JSONStringsEachRow",
        "LineAsString",
        "NDJSON",
        "Native",
        "RowBinary",
        "TSKV",
        "TSV",
        "TSVRaw",
        "TabSeparated",
        "TabSeparatedRaw",
    }
)
"""Formats whose blocks, one after another, are a whole."""

_FEW_THREADS: Final = (("max_threads", "1"),)
"""More of them cost a short query more than they save it."""

_FORMAT_CLAUSE = re.compile(r"\bFORMAT\s+(\w+)\s*(?:\bSETTINGS\b[^;]*)?;?\s*\Z", re.IGNORECASE)
_SELECTS = re.compile(r"\s*(?:SELECT|WITH)\b", re.IGNORECASE)
_NOT_STREAMED = re.compile(r"\b(?:INSERT|TOTALS|OUTFILE|EXTREMES)\b", re.IGNORECASE)
_MAX_CLAUSE_LENGTH = 1000


class Execution:
    """Runs statements, each on a connection that it has for itself meanwhile.

    Args:
        engine: The engine; it stays the caller's to close, after this.
    """

    def __init__(self, engine: Engine) -> None:
        self._pool = ConnectionPool(engine)
        self._sessions = Sessions(engine)
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="store-statement")

    async def parts(self, query: Query) -> AsyncIterator[Result]:
        """Runs a statement.

        Yields:
            Its result, in one part or, for a query whose format allows it, in several.

        Raises:
            EngineError: It failed; that can be after some parts.
        """
        insert = query.insert()
        async with self._connection(query) as connection:
            if insert is not None:
                written = await self._run(
                    connection.insert, insert.statement, insert.input_format, insert.data
                )
                yield Result(num_written=written)
                return
            statement = query.statement()
            arguments = (statement, query.default_format, query.url.parameters)
            if not _is_streamed(statement, query.default_format):
                yield await self._run(connection.run, *arguments)
                return
            parts = connection.stream(*arguments)
            while (part := await self._run(next, parts, None)) is not None:
                yield part

    async def lookup(self, query: Query) -> Result:
        """Runs a query for few rows of a table, and returns its whole result."""
        query = query._replace(url=query.url.with_settings(_FEW_THREADS))
        async with self._connection(query) as connection:
            arguments = (query.statement(), query.default_format, query.url.parameters)
            return await self._run(connection.run, *arguments)

    async def whole(self, query: Query) -> Result:
        """Runs a statement and returns its whole result."""
        parts = [part async for part in self.parts(query)]
        return Result(
            b"".join(part.body for part in parts),
            sum(part.num_read for part in parts),
            sum(part.num_written for part in parts),
        )

    @asynccontextmanager
    async def _connection(self, query: Query) -> AsyncIterator[Connection]:
        """A connection with what the request brought."""
        if query.session_id is not None and not query.read_only:
            async with self._sessions.connection(query.session_id) as connection:
                try:
                    await self._run(_enter_session, connection, query)
                    yield connection
                finally:
                    await self._run(_leave_session, connection, query)
            return
        connection = await self._run(self._open, query)
        is_as_before = False
        try:
            yield connection
            is_as_before = query.only_reads and not query.tables and not query.read_only
        finally:
            if is_as_before:
                self._pool.give_back(connection, query.context)
            else:
                await self._run(connection.close)

    def _open(self, query: Query) -> Connection:
        connection = self._pool.take(query.context)
        try:
            _create_tables(connection, query)
            if query.read_only:
                connection.set((("readonly", "2"),))
        except BaseException:
            connection.close()
            raise
        return connection

    async def _run(self, function: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Waits for what runs and closes all connections."""
        self._threads.shutdown()
        self._sessions.close()
        self._pool.close()


def _is_streamed(statement: str, default_format: str) -> bool:
    if not _SELECTS.match(statement) or _NOT_STREAMED.search(statement):
        return False
    clause = _FORMAT_CLAUSE.search(statement[-_MAX_CLAUSE_LENGTH:])
    return (clause[1] if clause else default_format) in STREAMED_FORMATS


def _create_tables(connection: Connection, query: Query) -> None:
    for table in query.tables:
        name = quoted_name(table.name)
        connection.run(f"CREATE TEMPORARY TABLE {name} ({table.structure})", "Null", {})
        if table.data:
            connection.insert(f"INSERT INTO {name}", table.input_format, table.data)


def _enter_session(connection: Connection, query: Query) -> None:
    if query.database:
        connection.run(f"USE {quoted_name(query.database)}", "Null", {})
    connection.set(query.url.settings)
    _create_tables(connection, query)


def _leave_session(connection: Connection, query: Query) -> None:
    """Takes back what was for one request only."""
    for table in query.tables:
        connection.run(f"DROP TABLE IF EXISTS {quoted_name(table.name)}", "Null", {})
    if query.url.settings:
        defaults = ", ".join(f"{name} = DEFAULT" for name, _ in query.url.settings)
        connection.run(f"SET {defaults}", "Null", {})
