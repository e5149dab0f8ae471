"""An event loop in a thread of its own.

Neither a synchronous test nor the loop scope of an asynchronous one holds up what runs on it.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

Result = TypeVar("Result")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Returns uvloop's event loop where there is one: answers wake it from other threads often."""
    try:
        import uvloop
    except ImportError:  # Windows has none
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class LoopThread:
    """An asyncio event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="babyai-episodes", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout_s: float | None = None) -> Result:
        """Runs a coroutine on the loop and waits for it; an interrupt cancels it.

        Raises:
            TimeoutError: It took longer than ``timeout_s``, as where an environment blocks the
                loop.
        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise TimeoutError(f"the event loop did not answer within {timeout_s} s") from None
        except BaseException:
            future.cancel()
            raise

    def close(self, timeout_s: float = 1.5) -> None:
        """Cancels what still runs, and ends the thread; one that is blocked is left behind.

        Args:
            timeout_s: How long to wait for what was cancelled, in seconds.
        """
        if self.loop.is_closed():
            return
        with suppress(TimeoutError):
            self.run(_cancel_others(timeout_s), 2 * timeout_s)
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
