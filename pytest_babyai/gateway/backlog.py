"""Keeps inferences from running far ahead of the store that they are written to."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.retries import Clock

_NUM_BETWEEN_MARKS: Final = 1024
_NUM_MARKS_TO_CHECK: Final = 2
_MAX_MARKS: Final = 4
_PAUSE_S: Final = 0.2
_GIVE_UP_S: Final = 5.0


class WriteBacklog:
    """Counts the inferences that are answered and not yet stored, and waits where they are many.

    An embedded gateway writes after it has answered, and tells nobody when a write fails. A model
    that is faster than the store would pile up inferences without end. So every so many of them
    one is marked, and once four marks are on their way the next inference waits for the first.

    A store that is gone holds nothing up.

    Args:
        store: Asked whether it has a marked inference.
        clock: Its ``monotonic_s`` and ``sleep`` are the time.
    """

    def __init__(self, store: StoreQueries, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._num_answered = 0
        self._marks: deque[str] = deque()
        self._checking: asyncio.Task[None] | None = None

    async def add(self, inference_id: str) -> None:
        """Counts an inference that was answered; returns once there are few enough.

        Args:
            inference_id: The gateway's id of the inference.
        """
        self._num_answered += 1
        if self._num_answered % _NUM_BETWEEN_MARKS == 0:
            self._marks.append(inference_id)
        if len(self._marks) >= _NUM_MARKS_TO_CHECK and self._checking is None:
            self._checking = asyncio.create_task(self._check())
        if len(self._marks) >= _MAX_MARKS and self._checking is not None:
            await asyncio.shield(self._checking)

    async def _check(self) -> None:
        """Asks for the marks until there are few."""
        last_stored_s = self._clock.monotonic_s()
        try:
            while len(self._marks) >= _NUM_MARKS_TO_CHECK:
                num_before = len(self._marks)
                self._forget(await self._store.stored(list(self._marks)))
                if len(self._marks) < num_before:
                    last_stored_s = self._clock.monotonic_s()
                elif self._clock.monotonic_s() > last_stored_s + _GIVE_UP_S:
                    self._marks.clear()
                await self._clock.sleep(_PAUSE_S)
        except InfrastructureError:
            self._marks.clear()
        finally:
            self._checking = None

    def _forget(self, stored: AbstractSet[str]) -> None:
        """Drops the stored marks and all before them: inferences are written in their order."""
        while not stored.isdisjoint(self._marks):
            self._marks.popleft()
