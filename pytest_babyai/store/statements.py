"""Runs the statements of many clients at once."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from pytest_babyai.store.engine import ConnectionPool, Context, EngineError, Result, quoted_name
from pytest_babyai.store.group_commit import GroupCommit, Target, can_be_merged
from pytest_babyai.store.sql import check_statement, insert_of, is_streamed, only_reads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from pytest_babyai.store.engine import Connection, Engine, Settings
    from pytest_babyai.store.sql import Insert

T = TypeVar("T")

NUM_THREADS: Final = 8
"""Statements that run at once; merged INSERTs have a thread of their own."""

MAX_SESSIONS: Final = 64
MAX_IDLE_S: Final = 600.0
"""A session that is used no longer ends after this time, or when there are too many."""


class Table(NamedTuple):
    """A table that came with a request and lives as long as it."""

    name: str
    structure: str
    input_format: str
    data: bytes


class Query(NamedTuple):
    """Everything a request asks for.

    Attributes:
        text: The statement, and its rows if it has any, as ClickHouse reads them.
        database: The database that names refer to.
        settings: Settings for this statement.
        parameters: Values of ``{name:Type}``.
        default_format: Format of a result where the statement names none.
        session_id: The session whose settings and temporary tables the statement sees.
        read_only: Whether nothing may be changed, as for a GET.
        tables: Tables that came along.
    """

    text: bytes
    database: str | None = None
    settings: Settings = ()
    parameters: Mapping[str, str] = {}
    default_format: str = "TabSeparated"
    session_id: str | None = None
    read_only: bool = False
    tables: tuple[Table, ...] = ()

    @property
    def context(self) -> Context:
        """What the statement's connection has to have."""
        return Context(self.database, self.settings)

    def statement(self) -> str:
        """Returns the whole text.

        Raises:
            EngineError: It is no UTF-8, or nothing that may run.
        """
        statement = _decoded(self.text)
        check_statement(statement, self.parameters)
        return statement


class Statements:
    """Runs statements, each on a connection that it has for itself meanwhile.

    Args:
        engine: The engine; it stays the caller's to close, after this.
    """

    def __init__(self, engine: Engine) -> None:
        self._commit = GroupCommit(engine)
        self._pool = ConnectionPool(engine)
        self._sessions = Sessions(engine)
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="store-statement")

    async def results(self, query: Query) -> AsyncGenerator[Result, None]:
        """Runs a statement.

        Yields:
            Its result, in one part or, for a query whose format allows it, in several.

        Raises:
            EngineError: It failed; that can be after some parts.
        """
        insert = None if query.read_only else insert_of(query.text)
        # Values that are parameters stand in the statement; any other rows go by a file.
        if insert is not None and not query.parameters:
            yield Result(num_written=await self._insert(query, insert))
            return
        statement = query.statement()
        async with self._connection(query) as connection:
            arguments = (statement, query.default_format, query.parameters)
            if not is_streamed(statement, query.default_format):
                yield await self._run(connection.run, *arguments)
                return
            parts = connection.stream(*arguments)
            while (part := await self._run(next, parts, None)) is not None:
                yield part

    def close(self) -> None:
        """Waits for what runs and closes all connections."""
        self._commit.close()
        self._threads.shutdown()
        self._sessions.close()
        self._pool.close()

    async def _insert(self, query: Query, insert: Insert) -> int:
        is_alone = query.session_id is not None or bool(query.tables)
        if not is_alone and can_be_merged(insert.input_format, insert.data):
            target = Target(insert.into, insert.settings, query.context)
            return await self._commit.insert(target, insert.data)
        if insert.input_format.lower() == "values":  # these are expressions
            check_statement(_decoded(insert.data))
        async with self._connection(query) as connection:
            return await self._run(connection.insert, *insert)

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
            is_as_before = not (query.tables or query.read_only) and only_reads(query.text)
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


@dataclass
class _Session:
    connection: Connection
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    num_users: int = 0
    used_s: float = 0.0


class Sessions:
    """The sessions that clients have open.

    Args:
        engine: Opens a connection for each.
        clock: Time in seconds.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock
        self._sessions: dict[str, _Session] = {}

    @asynccontextmanager
    async def connection(self, session_id: str) -> AsyncIterator[Connection]:
        """A session's connection, for one request at a time: a second one waits for the first."""
        self._end_idle()
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = _Session(self._engine.connect(None, ()))
        session.num_users += 1
        try:
            async with session.lock:
                yield session.connection
        finally:
            session.num_users -= 1
            session.used_s = self._clock()

    def close(self) -> None:
        """Ends all sessions."""
        while self._sessions:
            self._sessions.popitem()[1].connection.close()

    def _end_idle(self) -> None:
        now_s = self._clock()
        idle = [key for key, session in self._sessions.items() if not session.num_users]
        idle.sort(key=lambda key: self._sessions[key].used_s)
        num_too_many = len(self._sessions) - MAX_SESSIONS + 1
        for place, key in enumerate(idle):
            if place < num_too_many or now_s - self._sessions[key].used_s > MAX_IDLE_S:
                self._sessions.pop(key).connection.close()


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise EngineError(62, "SYNTAX_ERROR", f"The query is not UTF-8: {error}") from None


def _create_tables(connection: Connection, query: Query) -> None:
    for table in query.tables:
        name = quoted_name(table.name)
        check_statement(table.structure)
        connection.run(f"CREATE TEMPORARY TABLE {name} ({table.structure})", "Null", {})
        if table.data:
            connection.insert(f"INSERT INTO {name}", "", table.input_format, table.data)


def _enter_session(connection: Connection, query: Query) -> None:
    if query.database:
        connection.run(f"USE {quoted_name(query.database)}", "Null", {})
    connection.set(query.settings)
    _create_tables(connection, query)


def _leave_session(connection: Connection, query: Query) -> None:
    """Takes back what was for one request only."""
    for table in query.tables:
        connection.run(f"DROP TABLE IF EXISTS {quoted_name(table.name)}", "Null", {})
    if query.settings:
        defaults = ", ".join(f"{name} = DEFAULT" for name, _ in query.settings)
        connection.run(f"SET {defaults}", "Null", {})
