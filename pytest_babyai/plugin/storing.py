"""What a session does with its store: evaluation runs, feedback, cached tokens."""

from __future__ import annotations

from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.gateway import feedback, workflow_evaluations
from pytest_babyai.gateway.client import CLOSE_TIMEOUT_S, open_gateway
from pytest_babyai.gateway.feedback import FeedbackQueue, feedback_of
from pytest_babyai.gateway.inference import RUN_TAG
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.stored_usage import Completed, StoredUsage
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
    known_evaluation_runs,
)
from pytest_babyai.journal.feedback_log import FeedbackLog
from pytest_babyai.loop_thread import LoopThread
from pytest_babyai.plugin.ending import Ending
from pytest_babyai.plugin.store_opening import open_store
from pytest_babyai.reporting.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.gateway.feedback import Acknowledgements
    from pytest_babyai.gateway.store_place import StorePlace
    from pytest_babyai.gateway.store_queries import GatewayStore
    from pytest_babyai.plugin.recording import EpisodeJournal
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.records import EpisodeOutcome

_NO_MODEL: Final = "http://127.0.0.1:9/v1"
"""Stands for the model server in a process that asks for no inference."""

ENTER_S: Final = 30.0
"""Longest time that the end of a run waits for what workers have reported to be entered."""


class StoredRun(NamedTuple):
    """What a store is told of.

    Attributes:
        selection: Settings of the session.
        run_id: Tag of everything stored.
        journal: Remembers evaluation runs and acknowledgements; None where there is none.
    """

    selection: Selection
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
        plays_a_part: Whether this is one of several processes: another one then tells the store
            what came of the episodes.
    """

    def __init__(
        self,
        gateway: Gateway,
        place: StorePlace,
        run: StoredRun,
        *,
        plays_a_part: bool = False,
    ) -> None:
        settings, journal = run.selection.settings, run.journal
        queries = place.queries()
        self.tags = {RUN_TAG: run.run_id}
        self._log = FeedbackLog(journal.log.directory) if journal else None
        self._evaluations: WorkflowEvaluations | None = None
        if not plays_a_part:
            self._evaluations = _evaluations(gateway, queries, run)
        self._usage = StoredUsage(queries) if queries else None
        self._feedback: FeedbackQueue | None = None
        if settings.record == "on" and not plays_a_part:
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

    async def enter(self, outcome: EpisodeOutcome, repeat: int) -> None:
        """Tells of an episode that another process has played."""
        if self._evaluations is not None:
            await self._evaluations.enter(outcome.episode_id, outcome.spec, repeat)
        self.tell(outcome)

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

    async def close(self, ending: Ending) -> None:
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
            yield f"feedback of {count_of(queue.num_sent, 'episode')} is in the store"
            if queue.num_failed or queue.problem:
                yield (
                    f"WARNING: {count_of(queue.num_failed, 'episode')} could not be recorded: "
                    f"{queue.problem}; send it later with: python -m pytest_babyai record {run_id}"
                )
        if self._evaluations is not None and self._evaluations.num_outside:
            episodes = count_of(self._evaluations.num_outside, "episode")
            yield f"WARNING: {episodes} belong to no workflow evaluation run: the store failed"


class ControllerLink:
    """Tells the store of episodes that worker processes play.

    Args:
        run: What it is told of.

    Raises:
        UsageError: The store cannot be had.
    """

    def __init__(self, run: StoredRun) -> None:
        with ExitStack() as stack:
            self._ending = Ending()
            place = open_store(run.selection, stack, self._ending)
            self._thread = LoopThread()
            stack.callback(self._thread.close)
            gateway = self._thread.run(_open_for_feedback(run.selection, place))
            stack.callback(
                lambda: self._thread.run(gateway.close(self._ending.at_most_s(CLOSE_TIMEOUT_S)))
            )
            self.link = StoreLink(gateway, place, run)
            self._stack = stack.pop_all()
        self._entering: list[Future[None]] = []

    def enter(self, outcome: EpisodeOutcome, repeat: int) -> None:
        """Tells of an episode, in the background."""
        self._entering.append(self._thread.submit(self.link.enter(outcome, repeat)))

    def close(self, *, is_interrupted: bool = False) -> None:
        """Sends what waits, and lets go of the store."""
        if is_interrupted:
            self._ending.hurry()
        wait(self._entering, self._ending.at_most_s(ENTER_S))
        self._thread.run(self.link.close(self._ending))
        self._stack.close()


async def _open_for_feedback(selection: Selection, place: StorePlace) -> Gateway:
    configuration = selection.played_configuration
    if configuration.offline_port is not None:
        configuration = configuration.with_api_base(_NO_MODEL)
    return await open_gateway(
        configuration,
        gateway_url=selection.settings.gateway_url,
        clickhouse_url=place.clickhouse_url,
    )


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
        run.selection.model_label,
        git.commit if git else None,
        function=run.selection.configuration.function.name,
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
