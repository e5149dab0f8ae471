"""Look-ahead: plays episodes concurrently in the background while their items are run one by one.

The episodes live on an event loop of their own in a daemon thread, so that neither a synchronous
test nor the loop scope of an asynchronous one holds them up.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pytest_babyai.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable

    from pytest_babyai.records import EpisodeOutcome

Key = TypeVar("Key")
Result = TypeVar("Result")


class LoopThread:
    """An asyncio event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="babyai-episodes", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine on the loop and waits for it; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, timeout_s: float = 5.0) -> None:
        """Cancels what still runs, waits for it up to ``timeout_s``, and ends the thread."""
        if self.loop.is_closed():
            return
        future = asyncio.run_coroutine_threadsafe(_cancel_others(timeout_s), self.loop)
        future.result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self.loop.close()


async def _cancel_others(timeout_s: float) -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)
    await asyncio.get_running_loop().shutdown_asyncgens()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scheduler has come, in episodes."""

    num_submitted: int
    num_running: int
    num_finished: int


class Scheduler(Generic[Key]):
    """Plays submitted episodes on a `LoopThread`, at most ``concurrency`` at a time.

    An episode has one request in flight at a time, so the bound on episodes is the bound on
    requests. No key is played twice.

    Args:
        thread: Where the episodes run.
        play: Plays the episode of a key. A `UsageError` from it concerns the whole run: what has
            not started yet ends with the same error.
        concurrency: Episodes at a time, at least 1.
    """

    def __init__(
        self,
        thread: LoopThread,
        play: Callable[[Key], Awaitable[EpisodeOutcome]],
        *,
        concurrency: int,
    ) -> None:
        self._thread = thread
        self._play = play
        self._concurrency = concurrency
        self._futures: dict[Key, Future[EpisodeOutcome]] = {}
        self._waiting: deque[Key] = deque()
        self._running: set[asyncio.Task[None]] = set()
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
        num_submitted, num_running = len(self._futures), len(self._running)
        num_finished = num_submitted - num_running - len(self._waiting)
        return Progress(num_submitted, num_running, max(0, num_finished))

    def cancel(self) -> None:
        """Cancels what waits and what runs; futures end as cancelled."""
        self._thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        self._waiting.clear()
        for task in self._running:
            task.cancel()
        for future in self._futures.values():
            future.cancel()

    def _enqueue(self, keys: Collection[Key]) -> None:
        self._waiting.extend(keys)
        while self._waiting and len(self._running) < self._concurrency:
            task = self._thread.loop.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        while self._waiting:
            key = self._waiting.popleft()
            future = self._futures[key]
            try:
                outcome = await self._play(key)
            except asyncio.CancelledError:
                future.cancel()
                raise
            except UsageError as error:
                self._fail(key, error)
            except Exception as error:  # noqa: BLE001 - reported by whoever awaits the future
                _settle(future, error=error)
            else:
                _settle(future, outcome)
            self._finished.put(key)

    def _fail(self, key: Key, error: UsageError) -> None:
        ended = [key, *self._waiting]
        self._waiting.clear()
        for each in ended:
            _settle(self._futures[each], error=error)
        for each in ended[1:]:
            self._finished.put(each)


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
