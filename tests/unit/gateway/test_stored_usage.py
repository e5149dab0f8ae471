"""Cached steps get the tokens that the store knows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import GatewayError
from pytest_babyai.gateway.stored_usage import Completed, StoredUsage
from pytest_babyai.records import EpisodeResult, Usage, total_usage
from tests.unit.journal.journal_samples import key, result, step

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.asyncio

CACHED = step(inference_id="c", cached=True, usage=Usage(None, None, 0.0))
ASKED = step(inference_id="a", usage=Usage(100, 10, 0.5))


class FakeStore:
    """Knows the tokens of "c" from the n-th query on."""

    def __init__(self, known_at: int | None = 1) -> None:
        self.queries: list[Sequence[str]] = []
        self._known_at = known_at

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:
        raise NotImplementedError

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        return set(await self.usages(inference_ids))

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        self.queries.append(inference_ids)
        if self._known_at is None or len(self.queries) < self._known_at:
            return {}
        return {"c": Usage(700, 9)}

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        raise NotImplementedError

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        raise NotImplementedError


class BrokenStore(FakeStore):
    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        self.queries.append(inference_ids)
        raise GatewayError("the store is gone")


def played(*steps: object) -> EpisodeResult:
    return result(key(), steps=steps, num_cached=1)


async def completed(store: FakeStore, outcome: EpisodeResult) -> Completed[EpisodeResult]:
    return await StoredUsage(store, sleep=lambda _: asyncio.sleep(0)).complete(outcome)


async def complete(store: FakeStore, outcome: EpisodeResult) -> EpisodeResult:
    return (await completed(store, outcome)).outcome


async def test_a_cached_step_counts_its_tokens_and_no_cost() -> None:
    completed = await complete(FakeStore(), played(ASKED, CACHED))

    assert [step.usage for step in completed.steps] == [Usage(100, 10, 0.5), Usage(700, 9, 0.0)]
    assert completed.usage == Usage(800, 19, 0.5)


async def test_tokens_are_waited_for() -> None:
    store = FakeStore(known_at=3)

    completed = await complete(store, played(CACHED))

    assert completed.usage == Usage(700, 9, 0.0)
    assert len(store.queries) == 3


@pytest.mark.parametrize("store", [FakeStore(known_at=None), BrokenStore()], ids=["not", "gone"])
async def test_tokens_that_cannot_be_had_are_unknown_and_not_zero(store: FakeStore) -> None:
    completed = await complete(store, played(ASKED, CACHED))

    assert completed.usage == Usage(None, None, 0.5)


async def test_a_store_that_is_gone_is_asked_once() -> None:
    store = BrokenStore()

    await complete(store, played(CACHED))

    assert len(store.queries) == 1


async def test_an_episode_is_over_once_its_last_inference_is_stored() -> None:
    store = FakeStore(known_at=3)
    outcome = played(ASKED, step(inference_id="c"))

    assert await completed(store, outcome) == Completed(outcome, is_stored=True)
    assert store.queries == [["c"]] * 3


@pytest.mark.parametrize("store", [FakeStore(known_at=None), BrokenStore()], ids=["not", "gone"])
async def test_a_store_without_the_inference_takes_nothing_from_an_episode(
    store: FakeStore,
) -> None:
    outcome = played(ASKED)

    assert await completed(store, outcome) == Completed(outcome, is_stored=False)


async def test_an_episode_without_answers_asks_nothing() -> None:
    store = FakeStore()

    outcome = played(step(inference_id=None))

    assert await completed(store, outcome) == Completed(outcome, is_stored=False)
    assert store.queries == []


async def test_the_total_is_the_sum_over_the_steps() -> None:
    completed = await complete(FakeStore(), played(ASKED, CACHED, ASKED))

    assert completed.usage == total_usage(step.usage for step in completed.steps)
