"""How many requests may be in flight: a fixed number, or one that follows what the provider takes.

An episode has one request in flight at a time and holds its slot for the request alone. While it
waits before another try, or executes an action, the slot is another episode's.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import InfrastructureError, RateLimitError
from pytest_babyai.playing.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.inference import Inference, InferenceClient, InferenceRequest

DEFAULT_START: Final = 8
DEFAULT_MAXIMUM: Final = 256
MAX_PAUSE_S: Final = 120.0
"""A provider that asks for a longer wait than this is not waited for: its quota is used up, and
whoever watches the errors has to hear of it."""

MAX_DECISIONS: Final = 400
"""Decisions that a `DecisionLog` keeps."""

_NUM_WAVES: Final = 10
_WAVE_S: Final = 0.1
"""After a pause the slots are granted in so many waves, so far apart."""
_BUSY: Final = 0.75
"""Share of the slots in use from which on an answer shows that the provider takes that many."""


class DecisionLog:
    """Keeps the first and the last decisions; equal ones in a row are one entry.

    Args:
        monotonic_s: Seconds that never run backwards.
        max_entries: Most entries that are kept, half of them from the beginning.
    """

    def __init__(self, monotonic_s: Callable[[], float], max_entries: int = MAX_DECISIONS) -> None:
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._max_first = max_entries // 2
        self._first: list[dict[str, Any]] = []
        self._last: deque[dict[str, Any]] = deque(maxlen=max_entries - self._max_first)
        self._num_omitted = 0

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The decisions in order, as JSON types.

        ``{"at_s": 3.2, "event": "cut", "limit": 12, "reason": "rate limit"}`` with seconds since
        the start and the limit from then on. An entry of several equal decisions has
        ``"until_s"`` and ``"count"`` too, and the last one's limit. ``{"event": "omitted",
        "count": 7}`` stands for what was left out.
        """
        omitted = [{"event": "omitted", "count": self._num_omitted}] if self._num_omitted else []
        return [dict(entry) for entry in (*self._first, *omitted, *self._last)]

    def add(self, event: str, limit: int, reason: str) -> None:
        """Notes a decision.

        Args:
            event: Its kind: start, grow, cut, hold or pause.
            limit: Requests that may be in flight from now on.
            reason: Why, in a few words.
        """
        at_s = round(self._monotonic_s() - self._started_s, 3)
        last = (self._last or self._first or [{}])[-1]
        if (last.get("event"), last.get("reason")) == (event, reason):
            last.update(until_s=at_s, limit=limit, count=last.get("count", 1) + 1)
            return
        entry = {"at_s": at_s, "event": event, "limit": limit, "reason": reason}
        if len(self._first) < self._max_first:
            self._first.append(entry)
            return
        self._num_omitted += len(self._last) == self._last.maxlen
        self._last.append(entry)


class Slots:
    """Takes and gives slots, first come, first served, and none during a pause.

    Attributes:
        limit: Slots in all; to be changed by `resize`.
        num_in_flight: Slots taken; above ``limit`` for a while after it has shrunk.
        ticket: What a slot that is taken now is marked with.
    """

    def __init__(self, limit: int, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.num_in_flight = 0
        self.ticket = 0
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._opens_at_s = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._monotonic_s = monotonic_s

    @property
    def has_waiting(self) -> bool:
        """Whether somebody waits for a slot."""
        return bool(self._waiting)

    def try_acquire(self) -> int | None:
        """Takes a slot if one is free and nobody waits for it."""
        if self.num_in_flight >= self.limit or self._waiting or self._timer is not None:
            return None
        self.num_in_flight += 1
        return self.ticket

    async def acquire(self) -> int:
        """Waits for a slot."""
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._grant()
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # the slot had just been granted
                self.give_back()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def give_back(self) -> None:
        """Frees a slot, for whoever has waited longest."""
        self.num_in_flight -= 1
        if self._waiting:
            self._grant()

    def resize(self, limit: int) -> None:
        """Changes the number of slots; those in use beyond it stay until they are given back."""
        self.limit = limit
        self._grant()

    def pause(self, wait_s: float) -> bool:
        """Grants no slot for so many seconds; returns whether that prolongs the pause."""
        opens_at_s = self._monotonic_s() + wait_s
        if opens_at_s <= self._opens_at_s:
            return False
        self._opens_at_s = opens_at_s
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._open)
        return True

    def _open(self) -> None:
        wait_s = self._opens_at_s - self._monotonic_s()
        if wait_s <= 0:  # else it was prolonged, or the loop's clock runs a little ahead
            # All at once would be a burst, and be refused again.
            self._grant_at_most(max(1, self.limit // _NUM_WAVES))
            wait_s = _WAVE_S if self._waiting and self.num_in_flight < self.limit else 0.0
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(wait_s, self._open) if wait_s > 0 else None

    def _grant(self) -> None:
        if self._timer is None:
            self._grant_at_most(self.limit)

    def _grant_at_most(self, num_slots: int) -> None:
        num_free = min(self.limit - self.num_in_flight, num_slots)
        while self._waiting and num_free > 0:
            waiter = self._waiting.popleft()
            if not waiter.cancelled():
                num_free -= 1
                self.num_in_flight += 1
                waiter.set_result(self.ticket)


class AdaptiveLimit:
    """Finds out how many requests the provider takes at once.

    How the limit grows and is cut is told in `Pace`. A wait that the provider asks for is kept by
    all requests, not only by the refused one. A provider that keeps refusing without naming a wait
    is left alone for a second, then two, then four and so on: few requests use up their tries on
    it, the others wait in the queue. All variants share one limit.

    Args:
        start: Requests in flight at first, at least 1.
        maximum: Most requests ever in flight.
        monotonic_s: Seconds that never run backwards.
    """

    def __init__(
        self,
        start: int = DEFAULT_START,
        maximum: int = DEFAULT_MAXIMUM,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        start = min(start, maximum)
        self._slots = Slots(start, monotonic_s)
        self._pace = Pace(start, maximum)
        self._log = DecisionLog(monotonic_s)
        self._callbacks: list[Callable[[], None]] = []
        self._log.add("start", start, f"grows up to {maximum}")

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._slots.limit

    @property
    def num_in_flight(self) -> int:
        """Requests in flight."""
        return self._slots.num_in_flight

    @property
    def history(self) -> list[dict[str, Any]]:
        """What was decided when and why; see `DecisionLog.entries`."""
        return self._log.entries

    def try_acquire(self) -> int | None:
        """Takes a slot if one is free."""
        return self._slots.try_acquire()

    async def acquire(self) -> int:
        """Waits for a slot."""
        return await self._slots.acquire()

    def release(self, ticket: int, error: BaseException | None = None) -> None:
        """Gives a slot back and learns from what came of its request."""
        if error is None:
            self._learn_from_answer(ticket)
        elif isinstance(error, RateLimitError) and error.retryable:
            self._learn_from_refusal(ticket, error)
        elif isinstance(error, InfrastructureError) and error.retryable:
            self._learn_from_failure(ticket, error)
        self._slots.give_back()

    def on_growth(self, callback: Callable[[], None]) -> None:
        """Has ``callback`` called whenever the limit has grown."""
        self._callbacks.append(callback)

    def _learn_from_answer(self, ticket: int) -> None:
        slots = self._slots
        busy = slots.num_in_flight >= _BUSY * slots.limit or slots.has_waiting
        if not self._pace.answered(ticket, busy=busy):
            return
        slots.resize(self._pace.limit)
        self._log.add("grow", slots.limit, "answers come in")
        for callback in self._callbacks:
            callback()

    def _learn_from_refusal(self, ticket: int, error: RateLimitError) -> None:
        if self._pace.refused(ticket):
            self._slots.ticket = self._pace.num_cuts
            self._slots.resize(self._pace.limit)
            self._log.add("cut", self._slots.limit, error.kind)
            if error.retry_after_s is None:
                wait_s = self._pace.patience_s
                self._pause(wait_s, f"{error.kind} again, nothing answered since the last cut")
        self._keep_requested_wait(error)

    def _learn_from_failure(self, ticket: int, error: InfrastructureError) -> None:
        if self._pace.failed(ticket):
            self._log.add("hold", self._slots.limit, f"{error.kind} failure")
        self._keep_requested_wait(error)

    def _keep_requested_wait(self, error: InfrastructureError) -> None:
        wait_s = error.retry_after_s
        if wait_s is not None and wait_s <= MAX_PAUSE_S:
            self._pause(wait_s, f"{error.kind}: the provider asks to wait")

    def _pause(self, wait_s: float, reason: str) -> None:
        if wait_s > 0 and self._slots.pause(wait_s):
            self._log.add("pause", self._slots.limit, f"{reason}, {wait_s:g} s")


class ObservedClient:
    """An `InferenceClient` that waits for a slot before each request.

    A slot is held from the sending of a request to its answer or failure, and never while an
    episode waits before another try: the tries of a request are requests of their own here.

    Args:
        client: Answers the requests.
        limiter: Bounds how many are in flight.
    """

    def __init__(self, client: InferenceClient, limiter: AdaptiveLimit) -> None:
        self._client = client
        self._limiter = limiter

    async def infer(self, request: InferenceRequest, /) -> Inference:
        """Asks the client once there is a slot; see `InferenceClient.infer`."""
        limiter = self._limiter
        ticket = limiter.try_acquire()
        if ticket is None:
            ticket = await limiter.acquire()
        try:
            inference = await self._client.infer(request)
        except BaseException as error:
            limiter.release(ticket, error)
            raise
        limiter.release(ticket)
        return inference
