"""Many lookups by few queries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

Value = TypeVar("Value")


class GroupedLookup(Generic[Value]):
    """Answers lookups that arrive while a query is under way by the next one, all together.

    Args:
        query: Finds values by key; keys that it does not find are left out.
    """

    def __init__(self, query: Callable[[Sequence[str]], Awaitable[Mapping[str, Value]]]) -> None:
        self._query = query
        self._waiting: list[tuple[Sequence[str], asyncio.Future[dict[str, Value]]]] = []
        self._serving: asyncio.Task[None] | None = None

    async def find(self, keys: Sequence[str]) -> dict[str, Value]:
        """Returns what is found of ``keys``.

        Raises:
            Exception: What the query raised.
        """
        waiter: asyncio.Future[dict[str, Value]] = asyncio.get_running_loop().create_future()
        self._waiting.append((keys, waiter))
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        return await waiter

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._answer(batch)
        finally:
            self._serving = None

    async def _answer(
        self, batch: Sequence[tuple[Sequence[str], asyncio.Future[dict[str, Value]]]]
    ) -> None:
        error: Exception | None = None
        found: Mapping[str, Value] = {}
        try:
            found = await self._query(list(dict.fromkeys(key for keys, _ in batch for key in keys)))
        except Exception as raised:  # noqa: BLE001 - told to everyone who waits
            error = raised
        for keys, waiter in batch:
            if waiter.done():  # cancelled meanwhile
                continue
            if error is None:
                waiter.set_result({key: found[key] for key in keys if key in found})
            else:
                waiter.set_exception(error)


def of_known(
    query: Callable[[Sequence[str]], Awaitable[set[str]]],
) -> Callable[[Sequence[str]], Awaitable[dict[str, bool]]]:
    """Makes a query for those that are known one that finds True for each of them."""

    async def find(keys: Sequence[str]) -> dict[str, bool]:
        return dict.fromkeys(await query(keys), True)

    return find
