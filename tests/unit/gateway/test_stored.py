"""A run and its store: cached tokens are found, and what the store lacks is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_babyai.errors import StoreError
from pytest_babyai.gateway import stored
from pytest_babyai.gateway.stored import StoredRun, StoreLink, StorePlace, missing_line
from pytest_babyai.records import EpisodeResult, Usage
from tests.unit.journal.journal_samples import key, result, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.gateway.client import Gateway

pytestmark = pytest.mark.asyncio

CACHED = step(inference_id="c", cached=True, usage=Usage(None, None, 0.0))
ASKED = step(inference_id="a", usage=Usage(100, 10, 0.5))


class FakeGateway:
    def __init__(self) -> None:
        self.is_closed = False

    async def close(self, timeout_s: float) -> None:
        assert timeout_s > 0
        self.is_closed = True


class FakeStore:
    """Has the inferences that it is told, once a gateway has written them."""

    def __init__(self, *has: str, gateway: FakeGateway | None = None) -> None:
        self.has = set(has)
        self.error: StoreError | None = None
        self.num_asked = 0
        self._gateway = gateway

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        return set(await self.usages(inference_ids))

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        self.num_asked += 1
        if self.error is not None:
            raise self.error
        is_written = self._gateway is None or self._gateway.is_closed
        here = self.has.intersection(inference_ids) if is_written else ()
        return dict.fromkeys(here, Usage(700, 9))

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        raise NotImplementedError

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        raise NotImplementedError


class Patience:
    def at_most_s(self, patient_s: float) -> float:
        return min(patient_s, 0.2)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_LOOK_S", 0.01)
    monkeypatch.setattr(stored, "_GIVE_UP_S", 0.05)


def link_to(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> tuple[StoreLink, FakeGateway]:
    monkeypatch.setattr(StorePlace, "queries", lambda _: store)
    gateway = store._gateway or FakeGateway()
    link = StoreLink(cast("Gateway", gateway), StorePlace("http://store/"), StoredRun("r", "m"))
    cast("Any", link)._account._counts_all = True
    return link, gateway


def played(*steps: object) -> EpisodeResult:
    return result(key(), steps=steps, num_cached=1)


async def test_a_cached_step_gets_the_tokens_that_it_once_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, _ = link_to(FakeStore("a", "c"), monkeypatch)
    completed = await link.complete(played(ASKED, CACHED))
    assert completed.outcome.steps[1].usage == Usage(700, 9, 0.0)
    assert completed.outcome.usage == Usage(800, 19, 0.5)
    assert completed.is_stored


@pytest.mark.parametrize("error", [None, StoreError("gone")])
async def test_tokens_that_the_store_does_not_tell_stay_unknown(
    monkeypatch: pytest.MonkeyPatch, error: StoreError | None
) -> None:
    store = FakeStore()
    store.error = error
    link, _ = link_to(store, monkeypatch)
    completed = await link.complete(played(ASKED, CACHED))
    assert completed.outcome.steps[1].usage == Usage(None, None, 0.0)
    assert completed.outcome.usage == Usage(None, None, 0.5)


async def test_an_episode_without_cached_steps_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FakeStore()
    link, _ = link_to(store, monkeypatch)
    outcome = played(ASKED)
    assert (await link.complete(outcome)).outcome is outcome
    assert store.num_asked == 0


async def test_what_the_gateway_writes_at_its_end_is_not_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gateway = FakeGateway()
    link, _ = link_to(FakeStore("a", "c", gateway=gateway), monkeypatch)
    await link.complete(played(ASKED))
    await link.close(Patience())
    assert gateway.is_closed
    assert (link.num_missing, link.num_inferences, list(link.lines("r"))) == (0, 1, [])


async def test_what_the_store_lacks_is_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [step(inference_id=str(number)) for number in range(5)]
    link, _ = link_to(FakeStore("0", "3"), monkeypatch)
    await link.complete(played(*steps))
    await link.close(Patience())
    assert link.num_missing == 3
    assert list(link.lines("r")) == [f"WARNING: {missing_line(3, 5)}"]
    assert "lacks 3 of 5 inferences" in missing_line(3, 5)


async def test_a_store_that_cannot_be_asked_lacks_all(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore("a")
    store.error = StoreError("gone")
    link, _ = link_to(store, monkeypatch)
    await link.complete(played(ASKED))
    await link.close(Patience())
    assert link.num_missing == 1


async def test_a_gateway_that_cannot_tell_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    store = FakeStore()
    store.error = StoreError("404", retryable=False)
    link, _ = link_to(store, monkeypatch)
    await link.complete(played(ASKED))
    await link.close(Patience())
    assert link.num_missing == 0
