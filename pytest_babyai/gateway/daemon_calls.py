"""Calls that may hang, on threads that no end of a process waits for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


async def call_on_daemon(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function on a thread of its own.

    Unlike `asyncio.to_thread`, whose threads Python waits for before it exits.

    Returns:
        What the function returns.

    Raises:
        Exception: What the function raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def call() -> None:
        settle: Callable[[], None]
        try:
            settle = partial(future.set_result, function(*arguments))
        except Exception as error:  # noqa: BLE001 - told to who waits
            settle = partial(future.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            loop.call_soon_threadsafe(_unless_done, future, settle)

    threading.Thread(target=call, daemon=True).start()
    return await future


def _unless_done(future: asyncio.Future[Result], settle: Callable[[], None]) -> None:
    if not future.done():  # as it is once it was cancelled
        settle()
