"""Sessions of the HTTP interface: settings and temporary tables that outlive a request."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from pytest_babyai.gateway.clickhouse.engine import Connection, Engine

MAX_SESSIONS = 64
MAX_IDLE_S = 600.0
"""A session that is used no longer ends after this time, or when there are too many."""


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

    def _end_idle(self) -> None:
        now_s = self._clock()
        idle = [key for key, session in self._sessions.items() if not session.num_users]
        idle.sort(key=lambda key: self._sessions[key].used_s)
        num_too_many = len(self._sessions) - MAX_SESSIONS + 1
        for place, key in enumerate(idle):
            if place < num_too_many or now_s - self._sessions[key].used_s > MAX_IDLE_S:
                self._sessions.pop(key).connection.close()

    def close(self) -> None:
        """Ends all sessions."""
        while self._sessions:
            self._sessions.popitem()[1].connection.close()
