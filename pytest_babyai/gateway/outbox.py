"""An outbox: sends what waits together, asks the store once, and keeps what that has not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pytest_babyai.errors import BabyAIError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Item = TypeVar("Item")

GATHER_S: Final = 3.0
"""Time between two rounds: a store is asked once for all that came meanwhile."""

_HURRIED_ROUNDS: Final = 2
_HURRIED_PAUSE_S: Final = 0.5
"""At the end of a run: a store that is gone must not hold it up."""


class Outbox(Generic[Item]):
    """Delivers items in rounds, on the event loop that they are put on.

    Args:
        deliver: Sends items; returns those that have to be sent once more. What it raises of this
            project's own keeps all of them.
        gather_s: Time between two rounds.

    Attributes:
        problem: Why the last round that failed did.
    """

    def __init__(
        self,
        deliver: Callable[[Sequence[Item]], Awaitable[Sequence[Item]]],
        *,
        gather_s: float = GATHER_S,
    ) -> None:
        self.problem: str | None = None
        self._deliver = deliver
        self._gather_s = gather_s
        self._waiting: list[Item] = []
        self._hurried = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Items that have not been delivered."""
        return len(self._waiting)

    def put(self, item: Item) -> None:
        """Queues an item; has to be called on the event loop."""
        self._waiting.append(item)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def pause(self, wait_s: float) -> bool:
        """Waits; returns at once with False where the end of the run has begun."""
        if self._hurried.is_set():
            return False
        try:
            await asyncio.wait_for(self._hurried.wait(), wait_s)
        except asyncio.TimeoutError:
            return True
        return False

    async def drain(self, timeout_s: float) -> None:
        """Delivers what waits; what has not been delivered after ``timeout_s`` stays."""
        self._hurried.set()
        running = self._running
        if running is not None:
            await asyncio.wait([running], timeout=timeout_s)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def take_all(self) -> list[Item]:
        """Ends the delivery; returns what has not been delivered."""
        if self._running is not None:
            self._running.cancel()
        taken, self._waiting = self._waiting, []
        return taken

    async def _run(self) -> None:
        num_rounds = 0
        try:
            while self._waiting and num_rounds < _HURRIED_ROUNDS:
                if not await self.pause(self._gather_s):
                    await asyncio.sleep(_HURRIED_PAUSE_S if num_rounds else 0)
                    num_rounds += 1
                await self._round()
        finally:
            self._running = None

    async def _round(self) -> None:
        batch = list(self._waiting)
        try:
            left = list(await self._deliver(batch))
        except BabyAIError as error:
            self.problem = str(error)
            left = batch
        self._waiting[: len(batch)] = left
