"""An event loop whose time passes at once: sleeping costs nothing, and every run is the same."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")


class _JumpingSelector(selectors.DefaultSelector):
    """Jumps to the next timer instead of waiting for it."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing would ever happen"
        self.now_s += max(timeout, 0.0)
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return float(self._jumping.now_s)


def run_virtually(main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Runs a coroutine function on a loop of virtual time; deadlocks raise."""
    loop = VirtualTimeLoop()
    try:
        return loop.run_until_complete(main())
    finally:
        _cancel_rest(loop)
        loop.close()


def _cancel_rest(loop: asyncio.AbstractEventLoop) -> None:
    rest = asyncio.all_tasks(loop)
    for task in rest:
        task.cancel()
    if rest:
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))


def loop_time_s() -> float:
    """Seconds of the running loop."""
    return asyncio.get_running_loop().time()
