"""Look-ahead: plays episodes concurrently in the background while their items are run one by one.

The episodes live on an event loop of their own, so that no test holds them up.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_babyai.errors import NotStartedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator

    from pytest_babyai.playing.limiter import AdaptiveLimit
    from pytest_babyai.playing.loop_thread import LoopThread
    from pytest_babyai.records import EpisodeOutcome

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scheduler has come, in episodes."""

    num_submitted: int
    num_running: int
    num_finished: int
    num_not_started: int = 0


class _Admission:
    """Whether an episode may start."""

    def __init__(
        self, concurrency: int | AdaptiveLimit, stop_reason: Callable[[], str | None] | None
    ) -> None:
        self.refusal: str | None = None
        self.num_refused = 0
        self._concurrency = concurrency
        self._stop_reason = stop_reason

    @property
    def limit(self) -> int:
        """Episodes that may run at a time."""
        return self._concurrency if isinstance(self._concurrency, int) else self._concurrency.limit

    def on_growth(self, callback: Callable[[], None]) -> None:
        """Has ``callback`` called whenever more may run than before."""
        if not isinstance(self._concurrency, int):
            self._concurrency.on_growth(callback)

    def ask(self) -> bool:
        """Whether anything may still start; once refused, always refused."""
        if self.refusal is None and self._stop_reason is not None:
            self.refusal = self._stop_reason()
        return self.refusal is None


class Scheduler(Generic[Key]):
    """Plays submitted episodes on a `LoopThread`, at most ``concurrency`` at a time.

    An episode has one request in flight at a time, so the bound on episodes is a bound on
    requests. No key is played twice. Episodes start in the order in which they were submitted.

    Args:
        thread: Where the episodes run.
        play: Plays the episode of a key. A `UsageError` from it concerns the whole run: what has
            not started yet ends with the same error.
        concurrency: Episodes at a time, at least 1; or the limiter of the requests, whose limit
            is followed. Where it shrinks, what runs goes on, and the limiter holds it back.
        stop_reason: Asked before each start. Once it gives a reason, the run is drained.
        refusal_of: Asked before each start about the episode; a reason leaves it out, and the run
            goes on.
        finish: What is still done with the outcome of an episode, before it is anybody's; the
            next episode plays meanwhile.
    """

    def __init__(  # noqa: PLR0913 - what it asks has no other place to be together
        self,
        thread: LoopThread,
        play: Callable[[Key], Awaitable[EpisodeOutcome]],
        *,
        concurrency: int | AdaptiveLimit,
        stop_reason: Callable[[], str | None] | None = None,
        refusal_of: Callable[[Key], str | None] | None = None,
        finish: Callable[[Key, EpisodeOutcome], Awaitable[EpisodeOutcome]] | None = None,
    ) -> None:
        self._thread = thread
        self._play = play
        self._finish = finish
        self._admission = _Admission(concurrency, stop_reason)
        self._admission.on_growth(self._start)
        self._refusal_of = refusal_of
        self._futures: dict[Key, Future[EpisodeOutcome]] = {}
        self._waiting: deque[Key] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._finished: queue.SimpleQueue[Key] = queue.SimpleQueue()

    def submit(self, keys: Iterable[Key]) -> None:
        """Queues the keys that are new, in order."""
        new = [key for key in dict.fromkeys(keys) if key not in self._futures]
        self._futures.update((key, Future()) for key in new)
        self._thread.loop.call_soon_threadsafe(self._enqueue, new)

    def future(self, key: Key) -> Future[EpisodeOutcome]:
        """Returns the future of a key's outcome, and submits the key if nobody has."""
        if key not in self._futures:
            self.submit([key])
        return self._futures[key]

    def is_pending(self, key: Key) -> bool:
        """Whether a key has been submitted and has not ended."""
        future = self._futures.get(key)
        return future is not None and not future.done()

    def replace(self, key: Key, outcome: EpisodeOutcome) -> None:
        """Keeps another outcome for a finished key, such as one without its trajectory."""
        future: Future[EpisodeOutcome] = Future()
        future.set_result(outcome)
        self._futures[key] = future

    def play_again(self, key: Key) -> None:
        """Queues a finished key once more."""
        future: Future[EpisodeOutcome] = Future()
        self._futures[key] = future
        self._thread.loop.call_soon_threadsafe(self._enqueue, [key])

    def next_finished(self, timeout_s: float) -> Key | None:
        """Returns a key that has ended and was not returned before, None if none does in time."""
        try:
            return self._finished.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def outcomes(self) -> dict[Key, EpisodeOutcome]:
        """Returns what has finished so far."""
        done = {key: future for key, future in self._futures.items() if future.done()}
        return {
            key: future.result()
            for key, future in done.items()
            if not future.cancelled() and future.exception() is None
        }

    def progress(self) -> Progress:
        """Counts the episodes."""
        num_submitted, num_running = len(self._futures), len(self._running) + len(self._finishing)
        num_not_started = self._admission.num_refused
        num_finished = num_submitted - num_running - num_not_started - len(self._waiting)
        return Progress(num_submitted, num_running, max(0, num_finished), num_not_started)

    @property
    def refusal(self) -> str | None:
        """Why episodes were not started, None if none was refused."""
        return self._admission.refusal if self._admission.num_refused else None

    def drain(self, reason: str) -> None:
        """Starts nothing more; what runs is let finish.

        What waits, and what is submitted from now on, ends with a `NotStartedError`.

        Args:
            reason: One line for whoever asks for such an episode. The first reason stays.
        """
        self._thread.loop.call_soon_threadsafe(self._drain, reason)

    def _drain(self, reason: str) -> None:
        self._admission.refusal = self._admission.refusal or reason
        self._may_start()  # refuses what waits

    def cancel(self) -> None:
        """Cancels what waits and what runs; futures end as cancelled."""
        self._thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._waiting.clear()
        for task in (*self._running, *self._finishing):
            task.cancel()
        for future in self._futures.values():
            future.cancel()

    def _enqueue(self, keys: Collection[Key]) -> None:
        self._waiting.extend(keys)
        self._start()

    def _start(self) -> None:
        while len(self._running) < self._admission.limit and self._may_start():
            task = self._thread.loop.create_task(self._work(self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():  # the limit may have grown since the task found it too low
            self._start()

    def _may_start(self) -> bool:
        """Whether an episode waits that may start; those that may not are ended."""
        self._leave_out()
        if not self._waiting:
            return False
        if self._admission.ask():
            return True
        self._admission.num_refused += len(self._waiting)
        self._end_waiting(NotStartedError(self._admission.refusal))
        return False

    def _leave_out(self) -> None:
        while self._refusal_of and self._waiting and (reason := self._refusal_of(self._waiting[0])):
            key = self._waiting.popleft()
            self._admission.num_refused += 1
            _settle(self._futures[key], error=NotStartedError(reason))
            self._finished.put(key)

    async def _work(self, key: Key) -> None:
        await self._play_one(key)
        # Above the limit only after it has shrunk: then the others are enough.
        while len(self._running) <= self._admission.limit and self._may_start():
            await self._play_one(self._waiting.popleft())

    async def _play_one(self, key: Key) -> None:
        with self._failures_of(key):
            outcome = await self._play(key)
            if self._finish is None:
                self._end(key, outcome)
                return
            task = self._thread.loop.create_task(self._finish_one(key, self._finish(key, outcome)))
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)

    async def _finish_one(self, key: Key, finishing: Awaitable[EpisodeOutcome]) -> None:
        with self._failures_of(key):
            self._end(key, await finishing)

    @contextmanager
    def _failures_of(self, key: Key) -> Iterator[None]:
        """Ends a key whose episode fails."""
        future = self._futures[key]
        try:
            yield
        except asyncio.CancelledError:
            future.cancel()
            raise
        except UsageError as error:
            _settle(future, error=error)
            self._end_waiting(error)
        except Exception as error:  # noqa: BLE001 - reported by whoever awaits the future
            _settle(future, error=error)
        else:
            return
        self._finished.put(key)

    def _end(self, key: Key, outcome: EpisodeOutcome) -> None:
        _settle(self._futures[key], outcome)
        self._finished.put(key)

    def _end_waiting(self, error: Exception) -> None:
        ended = list(self._waiting)
        self._waiting.clear()
        for key in ended:
            _settle(self._futures[key], error=error)
            self._finished.put(key)


def _settle(
    future: Future[EpisodeOutcome],
    outcome: EpisodeOutcome | None = None,
    *,
    error: Exception | None = None,
) -> None:
    # A future that its waiter cancelled takes no result any more.
    if not future.set_running_or_notify_cancel():
        return
    if outcome is not None:
        future.set_result(outcome)
    else:
        future.set_exception(error)
