"""Connections that are kept for the next statement of the same kind."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pytest_babyai.gateway.clickhouse.engine import Connection, Engine, Settings

MAX_IDLE = 32


class Context(NamedTuple):
    """What a statement is to find on its connection."""

    database: str | None
    settings: Settings


class ConnectionPool:
    """Connections by database and settings, whose setting up costs as much as a short query.

    Only statements that change nothing of a connection, and did not fail, may give one back.

    Args:
        engine: Opens the connections.
        max_idle: How many are kept; the one longest unused goes first.
    """

    def __init__(self, engine: Engine, max_idle: int = MAX_IDLE) -> None:
        self._engine = engine
        self._max_idle = max_idle
        self._lock = threading.Lock()
        self._idle: OrderedDict[Connection, Context] = OrderedDict()

    def take(self, context: Context) -> Connection:
        """Returns a connection that nobody else uses."""
        with self._lock:
            for connection, its_context in self._idle.items():
                if its_context == context:
                    del self._idle[connection]
                    return connection
        return self._engine.connect(*context)

    def give_back(self, connection: Connection, context: Context) -> None:
        """Keeps a connection for the next statement."""
        with self._lock:
            self._idle[connection] = context
            unused = self._idle.popitem(last=False)[0] if len(self._idle) > self._max_idle else None
        if unused is not None:
            unused.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[0].close()
