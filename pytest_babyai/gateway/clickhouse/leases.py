"""Who uses the server besides the process that started it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Send


class Leases:
    """Connections that keep the server running; a process that dies gives up its own.

    Args:
        stop: Called once the owner is gone and nobody holds a lease any longer.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._num_held = 0
        self._owned = True

    def end_ownership(self) -> bool:
        """Tells that the process that started the server needs it no longer.

        Returns:
            Whether others still use it.
        """
        self._owned = False
        if not self._num_held:
            self._stop()
        return self._num_held > 0

    async def hold(self, receive: Receive, send: Send) -> None:
        """Holds a lease for as long as the client stays connected.

        Raises:
            EngineError: The server is about to stop.
        """
        if not (self._owned or self._num_held):
            raise EngineError(236, "ABORTED", "The server is about to stop.")
        self._num_held += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"held\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._num_held -= 1
            if not (self._owned or self._num_held):
                self._stop()
