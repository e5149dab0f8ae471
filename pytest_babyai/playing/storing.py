"""What a run does with its store: evaluation runs, feedback, cached tokens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.errors import SettingsError
from pytest_babyai.gateway import feedback, workflow_evaluations
from pytest_babyai.gateway.feedback import FeedbackQueue, check_store_options, feedback_of
from pytest_babyai.gateway.inference import RUN_TAG
from pytest_babyai.gateway.store_place import NO_STORE, StorePlace
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.stored_usage import Completed, StoredUsage
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
    known_evaluation_runs,
)
from pytest_babyai.journal.feedback_log import FeedbackLog
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.gateway.feedback import Acknowledgements
    from pytest_babyai.gateway.store import EmbeddedStore
    from pytest_babyai.gateway.store_queries import GatewayStore
    from pytest_babyai.playing.recording import EpisodeJournal
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.playing.shutdown import Shutdown
    from pytest_babyai.records import EpisodeOutcome, PlannedEpisode
    from pytest_babyai.settings.model import Settings


class StoredRun(NamedTuple):
    """What a store is told of.

    Attributes:
        run: What is played.
        run_id: Tag of everything stored.
        journal: Remembers evaluation runs and acknowledgements; None where there is none.
    """

    run: RunSpec
    run_id: str
    journal: EpisodeJournal | None


class InMemory:
    """Acknowledgements of a session without a journal."""

    def __init__(self) -> None:
        self._acknowledged: set[tuple[str, str]] = set()

    def missing(self, episode_id: str, metrics: Sequence[str]) -> list[str]:
        """Returns the metrics that are still to be sent."""
        return [metric for metric in metrics if (episode_id, metric) not in self._acknowledged]

    async def acknowledge(self, episode_id: str, metrics: Sequence[str]) -> None:
        """Remembers metrics as sent."""
        self._acknowledged.update((episode_id, metric) for metric in metrics)


class StoreLink:
    """Joins episodes and store.

    Args:
        gateway: The gateway of the run.
        place: Where its store is.
        run: What it is told of.
    """

    def __init__(
        self,
        gateway: Gateway,
        place: StorePlace,
        run: StoredRun,
    ) -> None:
        settings, journal = run.run.settings, run.journal
        queries = place.queries()
        self.tags = {RUN_TAG: run.run_id}
        self._log = FeedbackLog(journal.log.directory) if journal else None
        self._evaluations = _evaluations(gateway, queries, run)
        self._usage = StoredUsage(queries) if queries else None
        self._feedback: FeedbackQueue | None = None
        if settings.record == "on":
            acknowledgements: Acknowledgements = self._log or InMemory()
            self._feedback = FeedbackQueue(gateway, acknowledgements, store=queries)

    async def episode_id(self, episode: PlannedEpisode) -> str | None:
        """Returns the id of an episode that the store is to know, None for any."""
        if self._evaluations is None:
            return None
        return await self._evaluations.episode_id(episode.spec, episode.repeat)

    async def complete(self, outcome: EpisodeOutcome) -> Completed[EpisodeOutcome]:
        """Returns an outcome once the store has its inferences, with the tokens of cached ones."""
        if self._usage is None:
            return Completed(outcome, is_stored=False)
        return await self._usage.complete(outcome)

    def tell(self, outcome: EpisodeOutcome, *, is_stored: bool = False) -> None:
        """Queues what an episode came to, once it is over; to be called on the event loop.

        Args:
            outcome: What it came to.
            is_stored: Whether the store is known to have its inferences.
        """
        if self._feedback is None:
            return
        told = feedback_of(outcome, self.tags, is_stored=is_stored)
        if told is not None:
            self._feedback.put(told)

    async def close(self, ending: Shutdown) -> None:
        """Sends what waits, for some seconds at most."""
        if self._feedback is not None:
            await self._feedback.drain(ending.at_most_s(feedback.DRAIN_S))
        if self._evaluations is not None:
            await self._evaluations.drain(ending.at_most_s(workflow_evaluations.DRAIN_S))
        if self._log is not None:
            self._log.close()

    def lines(self, run_id: str) -> Iterator[str]:
        """Yields what a user has to know about the store."""
        queue = self._feedback
        if queue is not None:
            yield f"feedback of {_episodes(queue.num_sent)} is in the store"
            if queue.num_failed or queue.problem:
                yield (
                    f"WARNING: {_episodes(queue.num_failed)} could not be recorded: "
                    f"{queue.problem}; send it later with: python -m pytest_babyai record {run_id}"
                )
        if self._evaluations is not None and self._evaluations.num_outside:
            episodes = _episodes(self._evaluations.num_outside)
            yield f"WARNING: {episodes} belong to no workflow evaluation run: the store failed"


def _evaluations(
    gateway: Gateway,
    queries: ClickHouseStore | GatewayStore | None,
    run: StoredRun,
) -> WorkflowEvaluations | None:
    if queries is None:
        return None
    journal = run.journal
    manifest = journal.log.manifest if journal else None
    git = manifest.session.git if manifest else None
    labels = EvaluationLabels(
        run.run_id,
        run.run.model_label,
        git.commit if git else None,
        function=run.run.configuration.function.name,
    )
    return WorkflowEvaluations(
        gateway,
        labels,
        store=queries if isinstance(queries, ClickHouseStore) else None,
        known_runs=known_evaluation_runs(each.notes for each in manifest.sessions)
        if manifest
        else {},
        on_new_runs=(lambda runs: journal.add_notes({NOTES_KEY: dict(runs)})) if journal else None,
    )


def _episodes(number: int) -> str:
    return "1 episode" if number == 1 else f"{number:,} episodes"


def check_store(settings: Settings) -> None:
    """Refuses options that exclude each other or need a store.

    Raises:
        SettingsError: The line names them.
    """
    if settings.store is not None and settings.clickhouse_url is not None:
        raise SettingsError("--babyai-store and --babyai-clickhouse-url exclude each other")
    for option in ("store", "clickhouse_url"):
        if settings.gateway_url is not None and getattr(settings, option) is not None:
            flag = option.replace("_", "-")
            raise SettingsError(
                f"--babyai-{flag} is for the embedded gateway; the one at "
                f"{settings.gateway_url} has a store of its own"
            )
    has_store = bool(settings.store or clickhouse_url(settings) or settings.gateway_url)
    check_store_options(
        record=settings.record == "on", cache_mode=settings.cache, has_store=has_store
    )


def open_store(run: RunSpec, stack: ExitStack, shutdown: Shutdown) -> StorePlace:
    """Starts or joins the embedded store, where there is one.

    Args:
        run: What is played.
        stack: Ends it.
        shutdown: How long that may take.

    Raises:
        SettingsError: As `check_store`.
        ServerStartError: The embedded store did not start.
    """
    settings = run.settings
    check_store(settings)
    if run.store_dir is not None:
        from pytest_babyai.gateway.store import EmbeddedStore

        store = EmbeddedStore(run.store_dir)
        store.start()
        stack.callback(lambda: _leave(store, shutdown))
        return StorePlace(clickhouse_url=store.url)
    if settings.gateway_url is not None:
        is_asked = settings.record == "on" or settings.cache in {"on", "read_only"}
        return StorePlace(gateway_url=settings.gateway_url) if is_asked else NO_STORE
    return StorePlace(clickhouse_url=clickhouse_url(settings))


def _leave(store: EmbeddedStore, shutdown: Shutdown) -> None:
    from pytest_babyai.gateway.store import STOP_TIMEOUT_S

    store.stop(shutdown.at_most_s(STOP_TIMEOUT_S), kill=not shutdown.is_hurried)


def clickhouse_url(settings: Settings) -> str | None:
    """Returns the database that is named by an option or the environment."""
    if settings.gateway_url is not None:
        return None
    return settings.clickhouse_url or os.environ.get(CLICKHOUSE_VARIABLE) or None
