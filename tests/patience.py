"""Waiting for what happens elsewhere: as long as it takes, and not for ever."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0
"""Limit of waits for what has to happen: a machine may be slow, or stand still for a while."""


async def until(has_happened: Callable[[], object]) -> None:
    """Waits for what nobody tells of."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not has_happened():
        assert time.monotonic() < give_up_s, "it never happened"
        await asyncio.sleep(0.005)


async def until_answered(ask: Callable[[], Awaitable[object]]) -> None:
    """Asks until the answer is yes."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not await ask():
        assert time.monotonic() < give_up_s, "the answer stayed no"
        await asyncio.sleep(0.05)
