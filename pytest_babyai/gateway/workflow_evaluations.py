"""Every variant of a run as a TensorZero workflow evaluation run, every episode as one of its."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from pytest_babyai.errors import InfrastructureError
from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.inference import RUN_TAG, episode_tags, new_episode_id
from pytest_babyai.gateway.store_queries import as_number
from pytest_babyai.retries import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_babyai.records import EpisodeSpec

NOTES_KEY: Final = "workflow_evaluation_runs"
"""Under this name the notes of a run keep the evaluation run's id by variant."""

PROJECT_NAME: Final = "pytest-babyai"
"""Evaluation runs of one project are compared with each other."""

DRAIN_S: Final = 5.0
"""Longest time that the end of a run waits for episodes that are not entered yet."""

_RETRY_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class EvaluationLabels:
    """How the evaluation runs of a run are called.

    Attributes:
        run: Id of the run.
        model: The model, as summaries name it.
        git_commit: Commit of the working directory; None outside of a repository.
        project: The project, in TensorZero's sense.
        function: Name of the function that chooses an action.
    """

    run: str
    model: str
    git_commit: str | None = None
    project: str = PROJECT_NAME
    function: str = ACT_FUNCTION

    def display_name(self, variant: str) -> str:
        """Reads ``history · gpt-4o-mini (openai) · 20261123-180102-ab12``."""
        return f"{variant} · {self.model} · {self.run}"

    def tags(self) -> dict[str, str]:
        """Returns the tags of each of them."""
        tags = {RUN_TAG: self.run, "model": self.model}
        return {**tags, "git_commit": self.git_commit} if self.git_commit else tags


def known_evaluation_runs(notes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the evaluation run's id by variant out of the notes of a run's sessions."""
    runs: dict[str, str] = {}
    for of_session in notes:
        runs |= of_session.get(NOTES_KEY, {})
    return runs


def task_name_of(spec: EpisodeSpec) -> str:
    """Returns the name under which the episodes of different variants are compared."""
    return f"{spec.task}-{spec.seed}"


def evaluation_episode_row(
    evaluation_run_id: str,
    episode_id: str,
    spec: EpisodeSpec,
    tags: Mapping[str, str],
    function: str = ACT_FUNCTION,
) -> dict[str, Any]:
    """Returns an episode as a row of TensorZero's table, whose names are of an earlier day."""
    run_tags = {
        f"tensorzero::{kind}_evaluation_run_id": evaluation_run_id
        for kind in ("dynamic", "workflow")
    }
    return {
        "run_id": evaluation_run_id,
        "episode_id_uint": as_number(episode_id),
        "variant_pins": {function: spec.variant},
        "datapoint_name": task_name_of(spec),
        "tags": {**tags, **run_tags},
    }


class EvaluationClient(Protocol):
    """Starts evaluation runs; a `Gateway` for one."""

    async def start_evaluation_run(
        self, variant: str, *, project_name: str, display_name: str, tags: Mapping[str, str]
    ) -> str:
        """Returns the id of a new run."""
        ...

    async def start_evaluation_episode(
        self, evaluation_run_id: str, task_name: str, tags: Mapping[str, str]
    ) -> str:
        """Returns the id of a new episode."""
        ...


class EvaluationStore(Protocol):
    """Takes evaluation episodes; a `ClickHouseStore` for one."""

    async def add_evaluation_episodes(self, rows: Iterable[Mapping[str, Any]], /) -> None:
        """Writes rows of the table of evaluation episodes."""
        ...


class WorkflowEvaluations:
    """Gives episodes their ids, and makes them episodes of their variant's evaluation run.

    A gateway that gives out the id of an evaluation episode asks its store about it with every
    inference: thousands of queries, and no inference at all once the store is gone. So where the
    store can be written, episodes get ids of their own and are entered into the table themselves,
    many at a time and in the background.

    Args:
        client: Starts evaluation runs.
        labels: How they are called.
        store: Where episodes are entered; None asks the gateway for their ids.
        known_runs: Evaluation run's id by variant, of earlier sessions of the run.
        on_new_runs: Told all ids whenever there is a new one.
        clock: Its ``sleep`` makes the waits.

    Attributes:
        run_ids: Evaluation run's id by variant.
        num_outside: Episodes that belong to no evaluation run, as the store failed.
    """

    def __init__(  # noqa: PLR0913 - each part replaceable
        self,
        client: EvaluationClient,
        labels: EvaluationLabels,
        *,
        store: EvaluationStore | None = None,
        known_runs: Mapping[str, str] | None = None,
        on_new_runs: Callable[[Mapping[str, str]], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.run_ids = dict(known_runs or {})
        self._client = client
        self._labels = labels
        self._on_new_runs = on_new_runs or (lambda _: None)
        self._starting = asyncio.Lock()
        self._entries = _Entries(store, clock or Clock()) if store else None
        self._num_refused = 0

    @property
    def num_outside(self) -> int:
        """Episodes that belong to no evaluation run, as the store failed."""
        return self._num_refused + (self._entries.num_waiting if self._entries else 0)

    async def start(self, variants: Iterable[str]) -> None:
        """Starts the evaluation runs that there are not yet.

        Raises:
            InfrastructureError: The store cannot be written.
            ConfigurationError: The gateway does not know a variant.
        """
        for variant in variants:
            await self._run_of(variant)

    async def episode_id(self, spec: EpisodeSpec, repeat: int = 0) -> str:
        """Returns a new id for an episode, inside its variant's evaluation run if that can be.

        Args:
            spec: The episode.
            repeat: Which of its plays, from 0.

        Raises:
            ConfigurationError: The gateway does not know the variant.
        """
        try:
            run_id = await self._run_of(spec.variant)
            tags = {**episode_tags(spec), "repeat": str(repeat)}
            task_name = task_name_of(spec)
            if self._entries is None:
                return await self._client.start_evaluation_episode(run_id, task_name, tags)
        except InfrastructureError:
            self._num_refused += 1
            return new_episode_id()
        episode_id = new_episode_id()
        labels = self._labels
        own = labels.tags() | tags
        row = evaluation_episode_row(run_id, episode_id, spec, own, labels.function)
        self._entries.put(row)
        return episode_id

    async def enter(self, episode_id: str, spec: EpisodeSpec, repeat: int = 0) -> None:
        """Makes an episode that was played elsewhere one of its variant's evaluation run.

        Args:
            episode_id: The gateway's id of the episode.
            spec: The episode.
            repeat: Which of its plays, from 0.

        Raises:
            ConfigurationError: The gateway does not know the variant.
        """
        if self._entries is None:
            self._num_refused += 1
            return
        try:
            run_id = await self._run_of(spec.variant)
        except InfrastructureError:
            self._num_refused += 1
            return
        tags = self._labels.tags() | {**episode_tags(spec), "repeat": str(repeat)}
        row = evaluation_episode_row(run_id, episode_id, spec, tags, self._labels.function)
        self._entries.put(row)

    async def drain(self, timeout_s: float = DRAIN_S) -> None:
        """Waits until all episodes are entered, and not longer than ``timeout_s``."""
        if self._entries is not None:
            await self._entries.drain(timeout_s)

    async def _run_of(self, variant: str) -> str:
        async with self._starting:
            if variant not in self.run_ids:
                self.run_ids[variant] = await self._client.start_evaluation_run(
                    variant,
                    project_name=self._labels.project,
                    display_name=self._labels.display_name(variant),
                    tags=self._labels.tags(),
                )
                self._on_new_runs(self.run_ids)
        return self.run_ids[variant]


class _Entries:
    """Enters episodes into the store: those that come while it is busy go together."""

    def __init__(self, store: EvaluationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: list[dict[str, Any]] = []
        self._writing: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def put(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def drain(self, timeout_s: float) -> None:
        writing = self._writing
        if writing is not None:
            await asyncio.wait([writing], timeout=timeout_s)
            writing.cancel()

    async def _write(self) -> None:
        while self._waiting:
            rows = list(self._waiting)
            try:
                await self._store.add_evaluation_episodes(rows)
            except InfrastructureError:
                await self._clock.sleep(_RETRY_PAUSE_S)
            else:
                del self._waiting[: len(rows)]
        self._writing = None
