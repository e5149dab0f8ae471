"""Feedback is sent once, tried again, confirmed, and never more than that."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, SettingsError, StoreError
from pytest_babyai.gateway.feedback import (
    METRICS,
    EpisodeFeedback,
    FeedbackQueue,
    InMemory,
    check_store_options,
    feedback_of,
)
from tests.patience import until
from tests.unit.journal.journal_samples import failure, key, result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.records import Usage

VALUES = {"episode_return": 0.9, "progression": 1.0}
FEEDBACK = EpisodeFeedback("e", VALUES, {"run": "r"}, is_stored=True)
BOTH = [("e", "episode_return"), ("e", "progression")]


class FakeStore:
    """A gateway and its store in one; drops or refuses as many values as it is told."""

    def __init__(self, *, num_refused: int = 0, num_dropped: int = 0) -> None:
        self.sent: list[tuple[str, str]] = []
        self.tags: Mapping[str, str] = {}
        self.error: Exception = StoreError("the store is gone")
        self.ask_error: StoreError | None = None
        self.known_episodes: set[str] | None = None
        self.has: dict[str, set[str]] = {}
        self._num_refused = num_refused
        self._num_dropped = num_dropped

    async def send_feedback(
        self, metric: str, value: float, episode_id: str, tags: Mapping[str, str]
    ) -> str:
        assert value == VALUES[metric]
        if self._num_refused > 0:
            self._num_refused -= 1
            raise self.error
        self.sent.append((episode_id, metric))
        self.tags = tags
        if self._num_dropped > 0:
            self._num_dropped -= 1
        else:
            self.has.setdefault(episode_id, set()).add(metric)
        return "id"

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        if self.ask_error is not None:
            raise self.ask_error
        return {each: frozenset(self.has.get(each, ())) for each in episode_ids}

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        known = self.known_episodes
        return set(episode_ids) if known is None else known.intersection(episode_ids)

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        raise NotImplementedError

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        raise NotImplementedError


async def at_the_end(
    store: FakeStore, log: InMemory, *feedback: EpisodeFeedback, confirms: bool = True
) -> FeedbackQueue:
    """What comes of feedback that is put right before the end of a run."""
    queue = FeedbackQueue(store, log, store=store if confirms else None)
    for each in feedback:
        queue.put(each)
    await queue.drain()
    await queue.confirm(0.1)
    return queue


async def while_playing(
    store: FakeStore, log: InMemory, *feedback: EpisodeFeedback
) -> FeedbackQueue:
    """What comes of it while the run goes on."""
    queue = FeedbackQueue(store, log, store=store, gather_s=0.01, write_s=0.01)
    for each in feedback:
        queue.put(each)
    await until(lambda: queue.num_failed == 0)
    return queue


@pytest.mark.asyncio
@pytest.mark.parametrize("confirms", [True, False])
async def test_both_metrics_of_an_episode_are_sent_and_acknowledged(*, confirms: bool) -> None:
    store, log = FakeStore(), InMemory()
    queue = await at_the_end(store, log, FEEDBACK, confirms=confirms)
    assert (store.sent, log.missing("e", METRICS), store.tags) == (BOTH, [], {"run": "r"})
    assert (queue.num_sent, queue.num_failed, queue.problem) == (1, 0, None)


@pytest.mark.asyncio
async def test_what_is_acknowledged_is_not_sent() -> None:
    store, log = FakeStore(), InMemory()
    await log.acknowledge("e", ["progression"])
    await at_the_end(store, log, FEEDBACK)
    assert store.sent == [("e", "episode_return")]


@pytest.mark.asyncio
@pytest.mark.parametrize("store", [FakeStore(num_refused=2), FakeStore(num_dropped=1)])
async def test_what_a_store_refuses_or_loses_is_sent_again_and_the_rest_is_not(
    store: FakeStore,
) -> None:
    queue = await while_playing(store, InMemory(), FEEDBACK)
    assert store.has == {"e": set(METRICS)}
    assert queue.num_sent == 1
    assert store.sent.count(("e", "progression")) == 1


@pytest.mark.asyncio
async def test_what_the_store_has_already_is_acknowledged_and_not_sent_twice() -> None:
    store, log = FakeStore(), InMemory()
    store.has["e"] = set(METRICS)
    queue = await at_the_end(store, log, dataclasses.replace(FEEDBACK, is_stored=False))
    assert (store.sent, log.missing("e", METRICS), queue.num_sent) == ([], [], 1)


@pytest.mark.asyncio
async def test_of_an_episode_that_the_store_does_not_have_nothing_is_sent() -> None:
    store = FakeStore()
    store.known_episodes = set()
    queue = await at_the_end(store, InMemory(), dataclasses.replace(FEEDBACK, is_stored=False))
    assert (store.sent, queue.num_failed) == ([], 1)
    assert queue.problem == "the store has nothing of episode e, which was played without it"


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [StoreError("gone"), ConfigurationError("no such metric")])
async def test_what_cannot_be_sent_is_counted_and_told(error: Exception) -> None:
    store = FakeStore(num_refused=100)
    store.error = error
    queue = await at_the_end(store, InMemory(), FEEDBACK)
    assert (queue.num_sent, queue.num_failed, queue.problem) == (0, 1, str(error))


@pytest.mark.asyncio
async def test_what_the_store_does_not_show_is_not_acknowledged() -> None:
    store, log = FakeStore(num_dropped=2), InMemory()
    queue = await at_the_end(store, log, FEEDBACK)
    assert log.missing("e", METRICS) == list(METRICS)
    assert queue.problem == "the store has not got what the gateway has taken"


@pytest.mark.asyncio
@pytest.mark.parametrize(("retryable", "num_sent"), [(False, 1), (True, 0)])
async def test_a_gateway_that_cannot_be_asked_is_trusted(*, retryable: bool, num_sent: int) -> None:
    store = FakeStore()
    store.ask_error = StoreError("404", retryable=retryable)
    assert (await at_the_end(store, InMemory(), FEEDBACK)).num_sent == num_sent


def test_feedback_carries_the_tags_of_run_and_episode() -> None:
    outcome = result(key(200))
    feedback = feedback_of(outcome, {"run": "r"})
    assert feedback is not None
    assert feedback.values == {
        "episode_return": outcome.episode_return,
        "progression": outcome.progression,
    }
    assert feedback.tags["run"] == "r"
    assert feedback.tags["seed"] == "200"


def test_a_failure_has_no_feedback() -> None:
    assert feedback_of(failure(key(200))) is None


@pytest.mark.parametrize(
    ("record", "cache_mode", "named"),
    [(True, "off", "--babyai-record"), (False, "on", "--babyai-cache=on")],
)
def test_without_a_store_there_is_nothing_to_record_to(
    *, record: bool, cache_mode: str, named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        check_store_options(record=record, cache_mode=cache_mode, has_store=False)
    check_store_options(record=record, cache_mode=cache_mode, has_store=True)
