"""Feedback: what an episode came to, sent to the store without holding the run up."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from pytest_babyai.errors import BabyAIError, SettingsError, StoreError
from pytest_babyai.gateway.failures import unknown_episode
from pytest_babyai.gateway.inference import episode_tags
from pytest_babyai.gateway.outbox import GATHER_S, Outbox
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.records import EpisodeOutcome

METRICS: Final = ("episode_return", "progression")
"""Metrics of every finished episode; ``tensorzero.toml`` declares them."""

DRAIN_S: Final = 15.0
"""Longest time that the end of a run waits for feedback that is under way."""

WRITE_S: Final = 2.5
"""Time that a gateway takes to write what it has taken: it gathers for 1.5 s."""

_NUM_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class EpisodeFeedback:
    """What is told of one episode.

    Attributes:
        episode_id: The gateway's id of the episode.
        values: Value by metric.
        tags: Stored with each value.
        is_stored: Whether the episode's inferences went to this store. If not, it is asked for
            the episode first, and for feedback that it may have already.
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
        is_stored: Whether its inferences went to this store.
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

    def close(self) -> None:
        """Ends the remembering."""
        ...


class InMemory:
    """Acknowledgements of a run without a journal."""

    def __init__(self) -> None:
        self._acknowledged: set[tuple[str, str]] = set()

    def missing(self, episode_id: str, metrics: Sequence[str]) -> list[str]:
        """Returns the metrics that are still to be sent."""
        return [metric for metric in metrics if (episode_id, metric) not in self._acknowledged]

    async def acknowledge(self, episode_id: str, metrics: Sequence[str]) -> None:
        """Remembers metrics as sent."""
        self._acknowledged.update((episode_id, metric) for metric in metrics)

    def close(self) -> None:
        """Does nothing."""


class FeedbackQueue:
    """Sends feedback from the event loop that it is put on.

    What the store does not have in the end stays unacknowledged, to be sent some other day.

    Args:
        client: Takes the feedback. It answers before it has written a value, and says nothing of
            one that it could not write.
        acknowledgements: What need not be sent, and what has been.
        store: Asked for episodes that are not known to be stored, and for the values. None trusts
            the client.
        gather_s: Time between two rounds.
        write_s: Time that the client takes to write what it has taken.

    Attributes:
        num_sent: Episodes whose feedback is in the store.
        problem: Why some is not.
    """

    def __init__(
        self,
        client: FeedbackClient,
        acknowledgements: Acknowledgements,
        *,
        store: StoreQueries | None = None,
        gather_s: float = GATHER_S,
        write_s: float = WRITE_S,
    ) -> None:
        self.num_sent = 0
        self._num_put = 0
        self._problem: str | None = None
        self._client = client
        self._acknowledgements = acknowledgements
        self._store = store
        self._write_s = write_s
        self._outbox: Outbox[EpisodeFeedback] = Outbox(self._deliver, gather_s=gather_s)
        self._tried: set[str] = set()
        self._taken: dict[str, EpisodeFeedback] = {}
        self._clients = asyncio.Semaphore(_NUM_AT_ONCE)

    @property
    def num_failed(self) -> int:
        """Episodes whose feedback is not known to be in the store."""
        return self._num_put - self.num_sent

    @property
    def problem(self) -> str | None:
        """Why some is not; None where all is."""
        return (self._problem or self._outbox.problem) if self.num_failed else None

    def put(self, feedback: EpisodeFeedback) -> None:
        """Queues feedback; has to be called on the event loop."""
        self._num_put += 1
        self._outbox.put(feedback)

    async def drain(self, timeout_s: float = DRAIN_S) -> None:
        """Hands all that waits to the client, in ``timeout_s`` at most; `confirm` comes after."""
        await self._outbox.drain(timeout_s)

    async def confirm(self, timeout_s: float = DRAIN_S) -> None:
        """Asks the store for what the client has taken, once that has written it.

        Args:
            timeout_s: Longest time to wait for it.
        """
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._confirm(), timeout_s)
        if self.num_failed and not self.problem:
            self._problem = "the store has not got what the gateway has taken"

    async def _confirm(self) -> None:
        wait_s = 0.0
        while self._taken:
            await asyncio.sleep(wait_s)
            try:
                await self._acknowledge_stored(list(self._taken.values()))
            except BabyAIError as error:
                self._problem = str(error)
            wait_s = min(2 * wait_s + 0.05, 1.0)

    async def _deliver(self, batch: Sequence[EpisodeFeedback]) -> Sequence[EpisodeFeedback]:
        """Sends what the store has not got, and returns what it still has not got then."""
        in_doubt = [each for each in batch if each.episode_id in self._tried or not each.is_stored]
        stored = await self._acknowledge_stored(in_doubt)
        batch = [each for each in batch if each.episode_id not in stored]
        unknown = await self._unknown([each for each in batch if not each.is_stored])
        sending = [each for each in batch if each.episode_id not in unknown]
        await asyncio.gather(*map(self._send, sending))
        if not await self._outbox.pause(self._write_s):
            return [each for each in batch if each.episode_id not in self._taken]
        stored = await self._acknowledge_stored(sending)
        return [each for each in batch if each.episode_id not in stored]

    async def _unknown(self, batch: Sequence[EpisodeFeedback]) -> set[str]:
        if self._store is None or not batch:
            return set()
        asked = {each.episode_id for each in batch}
        unknown = asked - await self._store.episodes(sorted(asked))
        if unknown:
            self._problem = str(unknown_episode(min(unknown)))
        return unknown

    async def _send(self, feedback: EpisodeFeedback) -> None:
        self._tried.add(feedback.episode_id)
        try:
            async with self._clients:
                for metric in self._missing(feedback):
                    await self._client.send_feedback(
                        metric, feedback.values[metric], feedback.episode_id, feedback.tags
                    )
        except BabyAIError as error:
            self._problem = str(error)
        else:
            self._taken[feedback.episode_id] = feedback

    async def _acknowledge_stored(self, batch: Sequence[EpisodeFeedback]) -> set[str]:
        """Returns the episodes whose feedback the store has, or had, and remembers that."""
        if not batch:
            return set()
        found = await self._found([each.episode_id for each in batch if self._missing(each)])
        for each in batch:
            here = found.get(each.episode_id, frozenset())
            if stored := [metric for metric in self._missing(each) if metric in here]:
                await self._acknowledgements.acknowledge(each.episode_id, stored)
        done = {each.episode_id for each in batch if not self._missing(each)}
        for episode_id in done:
            self._taken.pop(episode_id, None)
        self.num_sent += len(done)
        return done

    async def _found(self, episode_ids: Sequence[str]) -> Mapping[str, AbstractSet[str]]:
        trusted = {key: each.values.keys() for key, each in self._taken.items()}
        if self._store is None or not episode_ids:
            return trusted
        try:
            return await self._store.metrics(episode_ids)
        except StoreError as error:
            if error.retryable:
                raise
            return trusted  # a gateway that cannot be asked is trusted

    def _missing(self, feedback: EpisodeFeedback) -> list[str]:
        return list(self._acknowledgements.missing(feedback.episode_id, list(feedback.values)))
