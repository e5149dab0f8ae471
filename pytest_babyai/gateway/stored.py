"""What a run does with its store: tags, evaluation runs, feedback, cached tokens, an account of it.

The journal never waits for the store. A gateway writes inferences some time after it has answered
them, in batches, and says nothing of a batch that was lost; so at the end the store is asked which
of the inferences it has.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from pytest_babyai.errors import InfrastructureError, SettingsError, StoreError
from pytest_babyai.gateway import workflow_evaluations
from pytest_babyai.gateway.client import CLOSE_TIMEOUT_S
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.credentials import public_url
from pytest_babyai.gateway.feedback import (
    DRAIN_S,
    FeedbackQueue,
    InMemory,
    check_store_options,
    feedback_of,
)
from pytest_babyai.gateway.inference import RUN_TAG
from pytest_babyai.gateway.outbox import Outbox
from pytest_babyai.gateway.store_queries import ClickHouseStore, GatewayStore
from pytest_babyai.gateway.wire import CACHED_USAGE
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
    known_evaluation_runs,
)
from pytest_babyai.records import EpisodeOutcome, Usage, total_usage
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.gateway.feedback import Acknowledgements
    from pytest_babyai.gateway.store_queries import StoreQueries
    from pytest_babyai.records import EpisodeSpec, Step
    from pytest_babyai.settings.model import Settings
    from pytest_babyai.store.embedded import EmbeddedStore

Outcome = TypeVar("Outcome", bound=EpisodeOutcome)

CONFIRM_S: Final = 5.0
"""Longest time that the end of a run waits for what a gateway has not written yet."""

_LOOK_S: Final = 0.5
_GIVE_UP_S: Final = 8.0
"""How often the tokens of cached answers are looked for, and for how long."""
_ACCOUNT_S: Final = 5.0
_MAX_LOOKS: Final = 3


class StorePlace(NamedTuple):
    """Where a store is.

    Attributes:
        clickhouse_url: The database, None where a running gateway has it, or nobody.
        gateway_url: A running gateway that has to have a store, as something is asked of it.
        embedded: The embedded store that was started or joined for it.
    """

    clickhouse_url: str | None = None
    gateway_url: str | None = None
    embedded: EmbeddedStore | None = None

    def queries(self) -> ClickHouseStore | GatewayStore | None:
        """Returns what the store is asked through, None without one."""
        if self.clickhouse_url is not None:
            return ClickHouseStore(self.clickhouse_url)
        if self.gateway_url is not None:
            return GatewayStore(self.gateway_url, os.environ.get("TENSORZERO_API_KEY"))
        return None

    def leave(self, timeout_s: float, *, kill: bool = True) -> None:
        """Leaves the embedded store, if there is one; see `EmbeddedStore.stop`."""
        if self.embedded is not None:
            self.embedded.stop(timeout_s, kill=kill)


NO_STORE: Final = StorePlace()


def clickhouse_url_of(settings: Settings) -> str | None:
    """Returns the database that an option or the environment names."""
    if settings.gateway_url is not None:
        return None
    return settings.clickhouse_url or os.environ.get(CLICKHOUSE_VARIABLE) or None


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
                f"{public_url(settings.gateway_url)} has a store of its own"
            )
    has_store = bool(settings.store or clickhouse_url_of(settings) or settings.gateway_url)
    check_store_options(
        record=settings.record == "on", cache_mode=settings.cache, has_store=has_store
    )


def open_store(
    settings: Settings,
    directory: Path | None,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
) -> StorePlace:
    """Finds the store of a run; starts or joins the embedded one, to be left by `StorePlace.leave`.

    Args:
        settings: Of the run.
        directory: Where the embedded store lies; None for none.
        on_progress: Told in one line what takes some time.

    Raises:
        SettingsError: As `check_store`.
        ServerStartError: The embedded store did not start.
    """
    check_store(settings)
    if directory is not None:
        from pytest_babyai.store.embedded import EmbeddedStore

        store = EmbeddedStore(directory)
        if store.is_new:
            on_progress(f"creating the store {directory}; that takes some seconds, once")
        store.start()
        return StorePlace(clickhouse_url=store.url, embedded=store)
    if settings.gateway_url is not None:
        is_asked = settings.record == "on" or settings.cache in {"on", "read_only"}
        return StorePlace(gateway_url=settings.gateway_url) if is_asked else NO_STORE
    return StorePlace(clickhouse_url=clickhouse_url_of(settings))


class StoredRun(NamedTuple):
    """What a store is told of a run.

    Attributes:
        run_id: Tag of everything stored.
        model_label: The model, as summaries name it.
        function: The TensorZero function that chooses an action.
        record: Whether to send feedback.
        git_commit: Commit of the working directory.
        acknowledgements: Which feedback the store has; None remembers it for this run alone.
        notes: Notes of the run's sessions, which name the evaluation runs of earlier ones.
        add_notes: Keeps notes of this one.
    """

    run_id: str
    model_label: str
    function: str = ACT_FUNCTION
    record: bool = False
    git_commit: str | None = None
    acknowledgements: Acknowledgements | None = None
    notes: Iterable[Mapping[str, Any]] = ()
    add_notes: Callable[[Mapping[str, Any]], None] = lambda _: None


class Patience(Protocol):
    """How long the end of a run may take."""

    def at_most_s(self, patient_s: float) -> float:
        """Returns for how many seconds something may be waited for; less if a user waits."""
        ...


@dataclasses.dataclass(frozen=True)
class Completed(Generic[Outcome]):
    """An episode, as it is known now.

    Attributes:
        outcome: With all tokens that are known.
        is_stored: Whether its inferences went to the store.
    """

    outcome: Outcome
    is_stored: bool


class StoreLink:
    """Joins the episodes of a run and its store; all on one event loop.

    Args:
        gateway: The gateway of the run.
        place: Where its store is.
        run: What it is told of.

    Attributes:
        tags: Tags of every inference of the run.
        num_missing: After `close`: inferences of finished episodes that the store does not have, or
            could not be asked for.
    """

    def __init__(self, gateway: Gateway, place: StorePlace, run: StoredRun) -> None:
        queries = place.queries()
        self.tags = {RUN_TAG: run.run_id}
        self.num_missing = 0
        self._gateway = gateway
        self._embedded = place.embedded
        self._acknowledgements: Acknowledgements = run.acknowledgements or InMemory()
        self._evaluations = _evaluations(gateway, queries, run) if queries else None
        self._usage = _UsageLookup(queries) if queries else None
        self._account = _Account(queries) if queries else None
        self._feedback: FeedbackQueue | None = None
        if run.record:
            self._feedback = FeedbackQueue(gateway, self._acknowledgements, store=queries)

    @property
    def num_inferences(self) -> int:
        """Inferences of finished episodes, which the store should have."""
        return self._account.num_inferences if self._account else 0

    async def episode_id(self, spec: EpisodeSpec, repeat: int = 0) -> str | None:
        """Returns the id of an episode that the store is to know, None for any."""
        if self._evaluations is None:
            return None
        return await self._evaluations.episode_id(spec, repeat)

    async def complete(self, outcome: Outcome) -> Completed[Outcome]:
        """Takes a finished episode into account, and finds the tokens of its cached answers.

        Returns at once where no answer was cached. Costs of cached steps are 0; tokens that the
        store does not tell stay unknown, and are never taken for 0.
        """
        if self._account is None or self._usage is None:
            return Completed(outcome, is_stored=False)
        self._account.add(outcome)
        cached = {step.inference_id for step in outcome.steps if step.cached and step.inference_id}
        if not cached:
            return Completed(outcome, is_stored=True)
        found = await self._usage.find(cached)
        steps = tuple(_with_tokens(step, found) for step in outcome.steps)
        usage = total_usage(step.usage for step in steps)
        completed = dataclasses.replace(outcome, steps=steps, usage=usage)
        return Completed(completed, is_stored=True)

    def tell(self, outcome: EpisodeOutcome, *, is_stored: bool = False) -> None:
        """Queues what an episode came to, once it is over; to be called on the event loop.

        Args:
            outcome: What it came to.
            is_stored: Whether its inferences went to this store.
        """
        if self._feedback is None:
            return
        feedback = feedback_of(outcome, self.tags, is_stored=is_stored)
        if feedback is not None:
            self._feedback.put(feedback)

    async def close(self, patience: Patience) -> None:
        """Sends what waits, closes the gateway, which writes, and takes stock of the store."""
        if self._feedback is not None:
            await self._feedback.drain(patience.at_most_s(DRAIN_S))
        if self._evaluations is not None:
            await self._evaluations.drain(patience.at_most_s(workflow_evaluations.DRAIN_S))
        await self._gateway.close(patience.at_most_s(CLOSE_TIMEOUT_S))
        if self._feedback is not None:
            await self._feedback.confirm(patience.at_most_s(CONFIRM_S))
        if self._account is not None:
            self.num_missing = await self._account.count_missing(patience.at_most_s(CONFIRM_S))
        self._acknowledgements.close()

    def lines(self, run_id: str) -> Iterator[str]:
        """Yields what a user has to know about the store."""
        for death in self._embedded.deaths if self._embedded else ():
            yield f"WARNING: {death}"
        if self.num_missing:
            yield f"WARNING: {missing_line(self.num_missing, self.num_inferences)}"
        queue = self._feedback
        if queue is not None:
            yield f"feedback of {_episodes(queue.num_sent)} is in the store"
            if queue.num_failed:
                yield (
                    f"WARNING: {_episodes(queue.num_failed)} could not be recorded: "
                    f"{queue.problem}; send it later with: python -m pytest_babyai record {run_id}"
                )
        if self._evaluations is not None and self._evaluations.num_outside:
            episodes = _episodes(self._evaluations.num_outside)
            problem = self._evaluations.problem or "the store failed"
            yield f"WARNING: {episodes} belong to no workflow evaluation run: {problem}"


def missing_line(num_missing: int, num_inferences: int) -> str:
    """Tells what a store lacks, and what to do."""
    return (
        f"the store lacks {num_missing:,} of {num_inferences:,} inferences; the journal has their "
        "answers, so make datasets of the run, not of the store, or play it once more"
    )


def _evaluations(gateway: Gateway, queries: StoreQueries, run: StoredRun) -> WorkflowEvaluations:
    return WorkflowEvaluations(
        gateway,
        EvaluationLabels(run.run_id, run.model_label, run.git_commit, function=run.function),
        store=queries if isinstance(queries, ClickHouseStore) else None,
        known_runs=known_evaluation_runs(run.notes),
        on_new_runs=lambda runs: run.add_notes({NOTES_KEY: dict(runs)}),
    )


class _UsageLookup:
    """Finds the tokens of inferences that the gateway has yet to write, many by one query."""

    def __init__(self, store: StoreQueries) -> None:
        self._store = store
        self._waiting: dict[asyncio.Future[dict[str, Usage]], tuple[frozenset[str], float]] = {}
        self._found: dict[str, Usage] = {}
        self._looking: asyncio.Task[None] | None = None

    async def find(self, inference_ids: Collection[str]) -> dict[str, Usage]:
        """Returns the usage of those that are found within some seconds."""
        future: asyncio.Future[dict[str, Usage]] = asyncio.get_running_loop().create_future()
        self._waiting[future] = (frozenset(inference_ids), time.monotonic() + _GIVE_UP_S)
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        return await future

    async def _look(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_LOOK_S)
                asked = {each for ids, _ in self._waiting.values() for each in ids}
                with suppress(InfrastructureError):
                    self._found |= await self._store.usages(sorted(asked - self._found.keys()))
                self._answer()
        finally:
            self._looking = None

    def _answer(self) -> None:
        for future, (ids, give_up_s) in list(self._waiting.items()):
            if ids <= self._found.keys() or time.monotonic() > give_up_s:
                del self._waiting[future]
                found = {each: self._found.pop(each) for each in ids if each in self._found}
                if not future.done():  # cancelled meanwhile
                    future.set_result(found)


@dataclasses.dataclass
class _Unseen:
    """Inferences of an episode that the store has not shown yet."""

    inference_ids: set[str]
    num_looks: int = 0


class _Account:
    """Which inferences of finished episodes the store has.

    Through a running gateway every one costs a request of its own: there the last of an episode
    stands for all.
    """

    def __init__(self, store: StoreQueries) -> None:
        self.num_inferences = 0
        self._store = store
        self._counts_all = isinstance(store, ClickHouseStore)
        self._outbox: Outbox[_Unseen] = Outbox(self._look, gather_s=_ACCOUNT_S)
        self._late: list[_Unseen] = []

    def add(self, outcome: EpisodeOutcome) -> None:
        """Expects the store to have the inferences of an episode."""
        ids = [step.inference_id for step in outcome.steps if step.inference_id]
        unseen = _Unseen(set(ids if self._counts_all else ids[-1:]))
        self.num_inferences += len(unseen.inference_ids)
        if unseen.inference_ids:
            self._outbox.put(unseen)

    async def count_missing(self, timeout_s: float) -> int:
        """Returns how many the store has not shown after ``timeout_s``, or cannot be asked for."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._see_all(), timeout_s)
        return sum(len(each.inference_ids) for each in self._late)

    async def _see_all(self) -> None:
        self._late += self._outbox.take_all()
        wait_s = 0.0
        while self._late:
            await asyncio.sleep(wait_s)
            with suppress(InfrastructureError):
                self._late = await self._unseen(self._late)
            wait_s = min(2 * wait_s + 0.1, 1.0)

    async def _look(self, batch: Sequence[_Unseen]) -> Sequence[_Unseen]:
        unseen = await self._unseen(batch)
        for each in unseen:
            each.num_looks += 1
        self._late += [each for each in unseen if each.num_looks >= _MAX_LOOKS]
        return [each for each in unseen if each.num_looks < _MAX_LOOKS]

    async def _unseen(self, batch: Sequence[_Unseen]) -> list[_Unseen]:
        asked = {each for unseen in batch for each in unseen.inference_ids}
        try:
            stored = await self._store.stored(sorted(asked))
        except StoreError as error:
            if error.retryable:
                raise
            stored = asked  # a gateway that cannot be asked is trusted
        for unseen in batch:
            unseen.inference_ids -= stored
        return [unseen for unseen in batch if unseen.inference_ids]


def _with_tokens(step: Step, found: Mapping[str, Usage]) -> Step:
    if not step.cached or step.inference_id is None:
        return step
    stored = found.get(step.inference_id, CACHED_USAGE)
    usage = Usage(stored.input_tokens, stored.output_tokens, CACHED_USAGE.cost)
    return dataclasses.replace(step, usage=usage)


def _episodes(number: int) -> str:
    return "1 episode" if number == 1 else f"{number:,} episodes"
