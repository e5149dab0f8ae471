"""Lookups that share queries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.gateway.lookups import GroupedLookup

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.asyncio


class Upper:
    """Finds everything in upper case but "x", once it is let go."""

    def __init__(self) -> None:
        self.queries: list[Sequence[str]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()

    async def __call__(self, keys: Sequence[str]) -> dict[str, str]:
        self.queries.append(keys)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {key: key.upper() for key in keys if key != "x"}


async def test_lookups_during_a_query_share_the_next_one() -> None:
    query = Upper()
    lookup = GroupedLookup(query)
    tasks = [asyncio.create_task(lookup.find([key])) for key in "abca"]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(lookup.find(["d", "x"])))
    await asyncio.sleep(0)
    query.gate.set()

    found = await asyncio.gather(*tasks)

    assert found == [{"a": "A"}, {"b": "B"}, {"c": "C"}, {"a": "A"}, {"d": "D"}]
    assert query.queries == [["a", "b", "c"], ["d", "x"]]


async def test_everyone_who_waits_is_told_of_a_failure() -> None:
    query = Upper()
    query.gate.set()
    query.error = OSError("gone")
    lookup = GroupedLookup(query)

    told = await asyncio.gather(lookup.find(["a"]), lookup.find(["b"]), return_exceptions=True)

    assert list(told) == [query.error, query.error]


async def test_a_lookup_after_a_failure_asks_anew() -> None:
    query = Upper()
    query.gate.set()
    query.error = OSError("gone")
    lookup = GroupedLookup(query)
    with pytest.raises(OSError, match="gone"):
        await lookup.find(["a"])
    query.error = None

    assert await lookup.find(["a"]) == {"a": "A"}


async def test_a_lookup_may_be_given_up() -> None:
    query = Upper()
    lookup = GroupedLookup(query)
    impatient = asyncio.create_task(lookup.find(["a"]))
    patient = asyncio.create_task(lookup.find(["b"]))
    await asyncio.sleep(0)
    impatient.cancel()
    query.gate.set()

    assert await patient == {"b": "B"}
    assert impatient.cancelled()
