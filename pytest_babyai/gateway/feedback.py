"""Feedback: what an episode came to, sent to the store without holding the run up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pytest_babyai.errors import BabyAIError, GatewayError, SettingsError
from pytest_babyai.gateway.inference import episode_tags
from pytest_babyai.gateway.lookups import GroupedLookup, of_known
from pytest_babyai.gateway.store_failures import unknown_episode
from pytest_babyai.records import EpisodeResult
from pytest_babyai.retries import Clock, RetryPolicy, with_retries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.records import EpisodeOutcome

METRICS: Final = ("episode_return", "progression")
"""Metrics of every finished episode; ``tensorzero.toml`` declares them."""

DRAIN_S: Final = 15.0
"""Longest time that the end of a run waits for feedback that is under way."""

_NUM_WORKERS: Final = 64
_GATHER_S: Final = 3.0
"""Whoever looks something up makes the store write first: so feedback goes in groups."""

_RETRIES: Final = RetryPolicy(max_attempts=4, initial_backoff_s=0.5, max_backoff_s=4.0)
_HURRIED: Final = RetryPolicy(max_attempts=2, initial_backoff_s=0.5)
"""At the end of a run: a store that is gone must not hold it up."""
_CONFIRM_WAITS_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Waits before the store is asked whether it has what the gateway has taken."""


@dataclass(frozen=True, slots=True)
class EpisodeFeedback:
    """What is told of one episode.

    Attributes:
        episode_id: The gateway's id of the episode.
        values: Value by metric.
        tags: Stored with each value.
        is_stored: Whether the store is known to have the episode's inferences. Of an episode that
            it does not have nothing is told.
    """

    episode_id: str
    values: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)
    is_stored: bool = False


def feedback_of(
    outcome: EpisodeOutcome, tags: Mapping[str, str] | None = None, *, is_stored: bool = False
) -> EpisodeFeedback | None:
    """Returns the feedback on an episode; None where the infrastructure kept it from its end.

    Args:
        outcome: What came of it.
        tags: Stored next to `episode_tags`.
        is_stored: Whether the store is known to have the episode's inferences.
    """
    if not isinstance(outcome, EpisodeResult):
        return None
    values = {metric: float(getattr(outcome, metric)) for metric in METRICS}
    told = {**(tags or {}), **episode_tags(outcome.spec)}
    return EpisodeFeedback(outcome.episode_id, values, told, is_stored)


def check_store_options(*, record: bool, cache_mode: str, has_store: bool) -> None:
    """Refuses options that are worth nothing without a store.

    Raises:
        SettingsError: There is no store.
    """
    if has_store:
        return
    remedy = "add --babyai-store, or give --babyai-clickhouse-url or --babyai-gateway-url"
    if record:
        raise SettingsError(f"--babyai-record has no store to record to; {remedy}")
    if cache_mode != "off":
        raise SettingsError(
            f"--babyai-cache={cache_mode} has no store to keep answers in; {remedy}"
        )


class FeedbackClient(Protocol):
    """Takes feedback; a `Gateway` for one."""

    async def send_feedback(
        self, metric: str, value: float, episode_id: str, tags: Mapping[str, str]
    ) -> str:
        """Hands over a value.

        Returns:
            Its id.

        Raises:
            InfrastructureError: It was not taken.
            UsageError: It will never be.
        """
        ...


class Acknowledgements(Protocol):
    """Remembers what the store has; a `journal.FeedbackLog` for one."""

    def missing(self, episode_id: str, metrics: Sequence[str]) -> Sequence[str]:
        """Returns the metrics that are still to be sent."""
        ...

    async def acknowledge(self, episode_id: str, metrics: Sequence[str]) -> None:
        """Remembers metrics as sent; returns once that is durable.

        Raises:
            JournalError: It is not.
        """
        ...


class FeedbackQueue:
    """Sends feedback from the event loop that it is put on.

    What cannot be sent after some tries stays unacknowledged, to be sent some other day.

    Args:
        client: Takes the feedback.
        acknowledgements: What need not be sent, and what has been.
        store: Asked for episodes that are not known to be stored, and whether a value has
            arrived, as a gateway answers before it has written one, and tells nobody that it could
            not. None trusts the answer.
        clock: Its ``sleep`` and ``jitter`` make the waits.

    Attributes:
        num_sent: Episodes whose feedback is in the store.
        num_failed: Episodes whose feedback was given up.
        problem: Why the last of these was.
    """

    def __init__(
        self,
        client: FeedbackClient,
        acknowledgements: Acknowledgements,
        *,
        store: StoreQueries | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.num_sent = 0
        self.num_failed = 0
        self.problem: str | None = None
        self._num_put = 0
        self._clock = clock or Clock()
        self._delivery = _Delivery(client, acknowledgements, store, self._clock)
        self._held: list[EpisodeFeedback] = []
        self._releasing: asyncio.Task[None] | None = None
        self._queue: asyncio.Queue[EpisodeFeedback] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []

    def put(self, feedback: EpisodeFeedback) -> None:
        """Queues feedback; has to be called on the event loop."""
        self._num_put += 1
        self._held.append(feedback)
        if self._releasing is None:
            self._releasing = asyncio.create_task(self._release_later())

    async def _release_later(self) -> None:
        await self._clock.sleep(_GATHER_S)
        self._release()

    def _release(self) -> None:
        held, self._held, self._releasing = self._held, [], None
        for feedback in held:
            self._queue.put_nowait(feedback)
            if len(self._workers) < _NUM_WORKERS:
                self._workers.append(asyncio.create_task(self._work()))

    async def drain(self, timeout_s: float = DRAIN_S) -> None:
        """Ends the sending; what has not been sent by then is no longer.

        Args:
            timeout_s: Longest time to wait for it, in seconds.
        """
        self._delivery.retries = _HURRIED
        if self._releasing is not None:
            self._releasing.cancel()
        self._release()
        try:
            await asyncio.wait_for(self._queue.join(), timeout_s)
        except asyncio.TimeoutError:
            self.num_failed = self._num_put - self.num_sent
            self.problem = self.problem or f"not all was sent within {timeout_s:.2g} s"
        finally:
            for worker in self._workers:
                worker.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
            self._workers.clear()

    async def _work(self) -> None:
        while True:
            feedback = await self._queue.get()
            try:
                await self._delivery.deliver(feedback)
            except BabyAIError as error:
                self.num_failed += 1
                self.problem = str(error)
            else:
                self.num_sent += 1
            finally:
                self._queue.task_done()


class _Delivery:
    """Brings the feedback on one episode into the store."""

    def __init__(
        self,
        client: FeedbackClient,
        acknowledgements: Acknowledgements,
        store: StoreQueries | None,
        clock: Clock,
    ) -> None:
        self.retries = _RETRIES
        self._client = client
        self._acknowledgements = acknowledgements
        self._metrics = GroupedLookup(store.metrics) if store else None
        self._lately = GroupedLookup(of_known(store.acknowledged)) if store else None
        self._episodes = GroupedLookup(of_known(store.episodes)) if store else None
        self._clock = clock

    async def deliver(self, feedback: EpisodeFeedback) -> None:
        missing = list(self._acknowledgements.missing(feedback.episode_id, list(feedback.values)))
        if not missing:
            return
        sent: dict[str, str] = {}
        await with_retries(
            lambda: self._send(feedback, missing, sent),
            self.retries,
            self._clock,
            on_retry=lambda: None,
        )
        await self._acknowledgements.acknowledge(feedback.episode_id, missing)

    async def _send(
        self, feedback: EpisodeFeedback, missing: Sequence[str], sent: dict[str, str]
    ) -> None:
        """Sends what is not ``sent``, and keeps that, ids by metric, true whatever happens."""
        await self._check(feedback)
        sending = [
            self._send_one(feedback, metric, sent) for metric in missing if metric not in sent
        ]
        for failure in await asyncio.gather(*sending, return_exceptions=True):
            if failure is not None:
                raise failure
        lost = await self._lost(feedback.episode_id, sent)
        if lost:
            for metric in lost:
                del sent[metric]
            raise GatewayError(f"the store has not kept {', '.join(sorted(lost))}")

    async def _check(self, feedback: EpisodeFeedback) -> None:
        if feedback.is_stored or self._episodes is None:
            return
        if not await self._episodes.find([feedback.episode_id]):
            raise unknown_episode(feedback.episode_id)

    async def _send_one(self, feedback: EpisodeFeedback, metric: str, sent: dict[str, str]) -> None:
        value, episode_id = feedback.values[metric], feedback.episode_id
        sent[metric] = await self._client.send_feedback(metric, value, episode_id, feedback.tags)

    async def _lost(self, episode_id: str, sent: Mapping[str, str]) -> set[str]:
        """Returns what the store does not have, although the gateway has taken it."""
        if self._metrics is None or self._lately is None:
            return set()
        lost = dict(sent)
        for wait_s in _CONFIRM_WAITS_S:
            await self._clock.sleep(wait_s)
            try:
                came = await self._lately.find(list(lost.values()))
                lost = {metric: sent_id for metric, sent_id in lost.items() if sent_id not in came}
                found = await self._metrics.find([episode_id]) if lost else {}
            except GatewayError as error:
                if error.retryable:
                    raise
                return set()  # a gateway that cannot be asked is trusted
            for metric in found.get(episode_id, frozenset()):
                lost.pop(metric, None)
            if not lost:
                break
        return set(lost)
