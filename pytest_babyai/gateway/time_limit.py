"""One time limit for many calls, with one timer for all of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable


class TimeLimit:
    """Awaits calls, and cancels the ones that take too long.

    `asyncio.wait_for` makes and cancels a timer for every call, which costs a twentieth of the
    fastest inference. As the limit is the same for all calls, the first of them to start is always
    the first to be overdue, and one timer will do.

    Args:
        limit_s: Longest time a call may take, in seconds.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._due_s: dict[asyncio.Future[Any], float] = {}
        self._overdue: set[asyncio.Future[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def wait_for(self, awaitable: Awaitable[Any]) -> Any:
        """Returns what the awaitable gives.

        Raises:
            TimeoutError: It took too long, and has been cancelled.
        """
        future = asyncio.ensure_future(awaitable)
        loop = asyncio.get_running_loop()
        self._due_s[future] = loop.time() + self.limit_s
        if self._timer is None:
            self._timer = loop.call_later(self.limit_s, self._cancel_overdue)
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._overdue:
                raise TimeoutError from None
            raise
        finally:
            self._due_s.pop(future, None)
            self._overdue.discard(future)

    def _cancel_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        for future, due_s in list(self._due_s.items()):
            if due_s > loop.time():
                self._timer = loop.call_at(due_s, self._cancel_overdue)
                break
            del self._due_s[future]
            self._overdue.add(future)
            future.cancel()
