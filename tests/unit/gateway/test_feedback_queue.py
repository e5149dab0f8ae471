"""Feedback is sent once, retried, confirmed, and never more than that."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, GatewayError, SettingsError
from pytest_babyai.gateway.feedback import (
    METRICS,
    EpisodeFeedback,
    FeedbackQueue,
    check_store_options,
    feedback_of,
)
from pytest_babyai.retries import Clock
from tests.unit.journal.journal_samples import failure, key, result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.records import Usage

Sent = tuple[str, str, float]
VALUES = {"episode_return": 0.9, "progression": 1.0}
FEEDBACK = EpisodeFeedback("e", VALUES, {"run": "r"})


class FakeStore:
    """A gateway and its store in one; drops or refuses as many values as it is told."""

    def __init__(self, *, num_refused: int = 0, num_dropped: int = 0) -> None:
        self.sent: list[Sent] = []
        self.tags: Mapping[str, str] = {}
        self.error: Exception = GatewayError("the store is gone")
        self.can_be_asked = True
        self.tells_acknowledged = False
        self.lately: set[str] = set()
        self.num_selects = 0
        self.known_episodes: set[str] | None = None
        self.asked_episodes: list[str] = []
        self._stored: dict[str, set[str]] = {}
        self._num_refused = num_refused
        self._num_dropped = num_dropped

    async def send_feedback(
        self, metric: str, value: float, episode_id: str, tags: Mapping[str, str]
    ) -> str:
        if self._num_refused > 0:
            self._num_refused -= 1
            raise self.error
        self.sent.append((episode_id, metric, value))
        self.tags = tags
        if self._num_dropped > 0:
            self._num_dropped -= 1
        else:
            self._stored.setdefault(episode_id, set()).add(metric)
            self.lately.add(f"{episode_id}-{metric}")
        return f"{episode_id}-{metric}"

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        if not self.can_be_asked:
            raise GatewayError("404", retryable=False)
        self.num_selects += 1
        return {each: frozenset(self._stored.get(each, ())) for each in episode_ids}

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:
        return self.lately.intersection(ids) if self.tells_acknowledged else set()

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        self.asked_episodes += episode_ids
        known = self.known_episodes
        return set(episode_ids) if known is None else known.intersection(episode_ids)

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        raise NotImplementedError

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        raise NotImplementedError


class FakeLog:
    def __init__(self, *acknowledged: tuple[str, str]) -> None:
        self.acknowledged = list(acknowledged)

    def missing(self, episode_id: str, metrics: Sequence[str]) -> list[str]:
        return [metric for metric in metrics if (episode_id, metric) not in self.acknowledged]

    async def acknowledge(self, episode_id: str, metrics: Sequence[str]) -> None:
        self.acknowledged += [(episode_id, metric) for metric in metrics]


async def send(
    store: FakeStore, log: FakeLog, *feedback: EpisodeFeedback, confirms: bool = True
) -> FeedbackQueue:
    clock = Clock(sleep=lambda _: asyncio.sleep(0))
    queue = FeedbackQueue(store, log, store=store if confirms else None, clock=clock)
    for each in feedback:
        queue.put(each)
    await queue.drain()
    return queue


@pytest.mark.asyncio
async def test_both_metrics_of_an_episode_are_sent_and_acknowledged() -> None:
    store, log = FakeStore(), FakeLog()

    queue = await send(store, log, FEEDBACK)

    assert store.sent == [("e", "episode_return", 0.9), ("e", "progression", 1.0)]
    assert store.tags == {"run": "r"}
    assert log.acknowledged == [("e", "episode_return"), ("e", "progression")]
    assert (queue.num_sent, queue.num_failed, queue.problem) == (1, 0, None)


@pytest.mark.asyncio
@pytest.mark.parametrize(("tells", "num_selects"), [(True, 0), (False, 1)])
async def test_a_store_that_tells_what_came_lately_is_not_read(
    *, tells: bool, num_selects: int
) -> None:
    store, log = FakeStore(), FakeLog()
    store.tells_acknowledged = tells

    await send(store, log, FEEDBACK)

    assert len(log.acknowledged) == 2
    assert store.num_selects == num_selects


@pytest.mark.asyncio
async def test_what_was_acknowledged_is_not_sent_again() -> None:
    store = FakeStore()
    log = FakeLog(("e", "progression"))
    store._stored["e"] = {"progression"}

    await send(store, log, FEEDBACK)

    assert store.sent == [("e", "episode_return", 0.9)]


@pytest.mark.asyncio
async def test_nothing_is_sent_of_an_episode_that_is_done_with() -> None:
    store, log = FakeStore(), FakeLog(("e", "progression"), ("e", "episode_return"))

    queue = await send(store, log, FEEDBACK)

    assert store.sent == []
    assert queue.num_failed == 0


@pytest.mark.asyncio
async def test_nothing_is_told_of_an_episode_that_the_store_does_not_have() -> None:
    store, log = FakeStore(), FakeLog()
    store.known_episodes = {"f"}

    queue = await send(store, log, FEEDBACK, dataclasses.replace(FEEDBACK, episode_id="f"))

    assert {episode_id for episode_id, _, _ in store.sent} == {"f"}
    assert (queue.num_sent, queue.num_failed) == (1, 1)
    assert queue.problem == "the store has nothing of episode e, which was played without it"


@pytest.mark.asyncio
async def test_an_episode_that_is_known_to_be_stored_is_not_asked_for() -> None:
    store, log = FakeStore(), FakeLog()
    stored = dataclasses.replace(FEEDBACK, episode_id="f", is_stored=True)

    await send(store, log, FEEDBACK, stored)

    assert store.asked_episodes == ["e"]


@pytest.mark.asyncio
async def test_a_refused_value_is_sent_again_and_the_other_is_not() -> None:
    store, log = FakeStore(num_refused=1), FakeLog()

    queue = await send(store, log, FEEDBACK)

    assert sorted(store.sent) == [("e", "episode_return", 0.9), ("e", "progression", 1.0)]
    assert queue.num_sent == 1


@pytest.mark.asyncio
async def test_what_the_store_did_not_keep_is_sent_again_and_nothing_else() -> None:
    store, log = FakeStore(num_dropped=1), FakeLog()

    queue = await send(store, log, FEEDBACK)

    assert [metric for _, metric, _ in store.sent] == [
        "episode_return",
        "progression",
        "episode_return",
    ]
    assert queue.num_sent == 1


@pytest.mark.asyncio
async def test_a_store_that_stays_away_leaves_feedback_unacknowledged() -> None:
    store, log = FakeStore(num_refused=10**6), FakeLog()

    queue = await send(store, log, FEEDBACK, dataclasses.replace(FEEDBACK, episode_id="f"))

    assert log.acknowledged == []
    assert (queue.num_sent, queue.num_failed) == (0, 2)
    assert queue.problem == "the store is gone"


@pytest.mark.asyncio
async def test_what_can_never_be_sent_is_tried_once() -> None:
    store, log = FakeStore(num_refused=10**6), FakeLog()
    store.error = ConfigurationError("no metric 'progression'")

    queue = await send(store, log, FEEDBACK)

    assert store._num_refused == 10**6 - 2, "two metrics"
    assert queue.problem == "no metric 'progression'"


@pytest.mark.asyncio
@pytest.mark.parametrize("confirms", [True, False])
async def test_a_gateway_that_cannot_be_asked_is_trusted(*, confirms: bool) -> None:
    store, log = FakeStore(num_dropped=2), FakeLog()
    store.can_be_asked = False

    queue = await send(store, log, FEEDBACK, confirms=confirms)

    assert len(store.sent) == 2
    assert queue.num_sent == 1


@pytest.mark.asyncio
async def test_a_store_that_hangs_does_not_hold_up_the_end() -> None:
    class HangingStore(FakeStore):
        async def send_feedback(self, *_: object) -> str:
            await asyncio.Event().wait()
            raise AssertionError

    store, log = HangingStore(), FakeLog()
    queue = FeedbackQueue(store, log, store=store)
    queue.put(FEEDBACK)

    await queue.drain(timeout_s=0.01)

    assert log.acknowledged == []
    assert queue.num_failed == 1
    assert queue.problem == "not all was sent within 0.01 s"


@pytest.mark.asyncio
async def test_many_episodes_are_all_sent() -> None:
    store, log = FakeStore(), FakeLog()
    many = [dataclasses.replace(FEEDBACK, episode_id=str(number)) for number in range(200)]

    queue = await send(store, log, *many)

    assert queue.num_sent == 200
    assert len(store.sent) == 400


def test_feedback_tells_return_and_progression_of_an_episode() -> None:
    feedback = feedback_of(result(key(), progression=1.0, episode_return=0.9), {"run": "r"})

    assert feedback is not None
    assert feedback.episode_id == result(key()).episode_id
    assert feedback.values == VALUES
    assert tuple(feedback.values) == METRICS
    assert feedback.tags == {
        "run": "r",
        "variant": "baseline",
        "task": "goto",
        "seed": "200",
        "split": "evaluation",
    }


def test_an_episode_that_failed_gets_no_feedback() -> None:
    assert feedback_of(failure(key())) is None


@pytest.mark.parametrize(
    ("record", "cache_mode", "option"),
    [(True, "off", "--babyai-record"), (False, "on", "--babyai-cache=on")],
)
def test_options_that_need_a_store_are_refused_without(
    cache_mode: str, option: str, *, record: bool
) -> None:
    with pytest.raises(SettingsError, match=f"{option} has no store .*--babyai-store"):
        check_store_options(record=record, cache_mode=cache_mode, has_store=False)


@pytest.mark.parametrize(
    ("record", "cache_mode", "has_store"), [(True, "on", True), (False, "off", False)]
)
def test_options_that_have_what_they_need_pass(
    cache_mode: str, *, record: bool, has_store: bool
) -> None:
    check_store_options(record=record, cache_mode=cache_mode, has_store=has_store)
