"""Episodes become episodes of their variant's evaluation run, whatever the store does."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import ConfigurationError, GatewayError
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
    known_evaluation_runs,
)
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LABELS = EvaluationLabels("20261123-180102-ab12", "gpt-4o-mini (openai)", "c0ffee")
SPEC = EpisodeSpec("history", "open", 203)


class FakeGateway:
    """Gives out ids in turn; raises what it is told to."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.episodes: list[tuple[str, str, Mapping[str, str]]] = []
        self.error: Exception | None = None

    async def start_evaluation_run(
        self, variant: str, *, project_name: str, display_name: str, tags: Mapping[str, str]
    ) -> str:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.runs.append(
            {"variant": variant, "project": project_name, "name": display_name, "tags": tags}
        )
        return f"run-{len(self.runs)}"

    async def start_evaluation_episode(
        self, evaluation_run_id: str, task_name: str, tags: Mapping[str, str]
    ) -> str:
        if self.error is not None:
            raise self.error
        self.episodes.append((evaluation_run_id, task_name, tags))
        return f"episode-{len(self.episodes)}"


class FakeTable:
    """Takes rows once it is let, after a number of failures."""

    def __init__(self, num_failures: int = 0) -> None:
        self.inserts: list[list[Mapping[str, Any]]] = []
        self.idle = asyncio.Event()
        self.idle.set()
        self._num_failures = num_failures

    def entered(self) -> list[str]:
        """Ids of the episodes, in order."""
        rows = [row for insert in self.inserts for row in insert]
        return [str(uuid.UUID(int=int(row["episode_id_uint"]))) for row in rows]

    async def add_evaluation_episodes(self, rows: Iterable[Mapping[str, Any]], /) -> None:
        taken = list(rows)
        await self.idle.wait()
        if self._num_failures > 0:
            self._num_failures -= 1
            raise GatewayError("the store is gone")
        self.inserts.append(taken)


def is_of_today(episode_id: str) -> bool:
    """TensorZero's own ids of evaluation episodes lie centuries ahead."""
    return uuid.UUID(episode_id).version == 7 and uuid.UUID(episode_id).int >> 80 < 1 << 42


@pytest.mark.asyncio
async def test_a_run_is_named_after_variant_model_and_run_and_carries_the_commit() -> None:
    gateway = FakeGateway()

    await WorkflowEvaluations(gateway, LABELS).start(["history"])

    (run,) = gateway.runs
    assert run["variant"] == "history"
    assert run["project"] == "pytest-babyai"
    assert run["name"] == "history · gpt-4o-mini (openai) · 20261123-180102-ab12"
    assert run["tags"] == {
        "run": "20261123-180102-ab12",
        "model": "gpt-4o-mini (openai)",
        "git_commit": "c0ffee",
    }


@pytest.mark.asyncio
async def test_episodes_that_start_together_share_the_run_of_their_variant() -> None:
    gateway = FakeGateway()
    told: list[dict[str, str]] = []
    evaluations = WorkflowEvaluations(
        gateway, LABELS, on_new_runs=lambda runs: told.append(dict(runs))
    )
    specs = [EpisodeSpec(variant, "goto", seed) for variant in "ab" for seed in range(5)]

    await asyncio.gather(*map(evaluations.episode_id, specs))

    assert sorted(run["variant"] for run in gateway.runs) == ["a", "b"]
    assert [sorted(runs) for runs in told] == [["a"], ["a", "b"]]


@pytest.mark.asyncio
async def test_a_resumed_run_goes_on_with_its_evaluation_runs() -> None:
    gateway = FakeGateway()
    notes: list[dict[str, Any]] = [{NOTES_KEY: {"history": "run-7"}}, {"concurrency": []}]
    evaluations = WorkflowEvaluations(gateway, LABELS, known_runs=known_evaluation_runs(notes))

    await evaluations.episode_id(SPEC)

    assert gateway.runs == []
    assert gateway.episodes[0][0] == "run-7"


@pytest.mark.asyncio
async def test_a_gateway_gives_out_the_ids_where_its_store_cannot_be_written() -> None:
    gateway = FakeGateway()

    episode_id = await WorkflowEvaluations(gateway, LABELS).episode_id(SPEC, repeat=2)

    assert episode_id == "episode-1"
    ((run_id, task_name, tags),) = gateway.episodes
    assert (run_id, task_name) == ("run-1", "open-203")
    assert tags["variant"] == "history"
    assert tags["repeat"] == "2"


@pytest.mark.asyncio
async def test_episodes_are_entered_into_a_store_under_ids_of_their_own() -> None:
    gateway, table = FakeGateway(), FakeTable()
    evaluations = WorkflowEvaluations(gateway, LABELS, store=table)

    episode_id = await evaluations.episode_id(SPEC)
    await evaluations.drain()

    assert is_of_today(episode_id)
    assert gateway.episodes == []
    ((row,),) = table.inserts
    assert table.entered() == [episode_id]
    assert row["run_id"] == "run-1"
    assert row["variant_pins"] == {"act": "history"}
    assert row["datapoint_name"] == "open-203"
    assert row["tags"]["tensorzero::workflow_evaluation_run_id"] == "run-1"
    assert row["tags"]["git_commit"] == "c0ffee"


@pytest.mark.asyncio
async def test_episodes_that_start_while_the_store_is_busy_are_entered_together() -> None:
    table = FakeTable()
    table.idle.clear()
    evaluations = WorkflowEvaluations(FakeGateway(), LABELS, store=table)

    ids = [await evaluations.episode_id(SPEC)]
    await asyncio.sleep(0)
    ids += [await evaluations.episode_id(SPEC) for _ in range(50)]
    table.idle.set()
    await evaluations.drain()

    assert table.entered() == ids
    assert len(table.inserts) <= 2


@pytest.mark.asyncio
async def test_a_store_that_comes_back_gets_all_episodes() -> None:
    table = FakeTable(num_failures=1)
    evaluations = WorkflowEvaluations(FakeGateway(), LABELS, store=table)

    ids = [await evaluations.episode_id(SPEC) for _ in range(3)]
    await evaluations.drain()

    assert table.entered() == ids
    assert evaluations.num_outside == 0


@pytest.mark.asyncio
async def test_episodes_that_could_not_be_entered_are_counted() -> None:
    evaluations = WorkflowEvaluations(FakeGateway(), LABELS, store=FakeTable(10**6))

    await evaluations.episode_id(SPEC)
    await evaluations.drain(timeout_s=0.01)

    assert evaluations.num_outside == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("store", [None, FakeTable()], ids=["gateway", "store"])
async def test_episodes_go_on_without_a_store(store: FakeTable | None) -> None:
    gateway = FakeGateway()
    gateway.error = GatewayError("the store is gone")
    evaluations = WorkflowEvaluations(gateway, LABELS, store=store)

    assert is_of_today(await evaluations.episode_id(SPEC))
    assert evaluations.num_outside == 1


@pytest.mark.asyncio
async def test_a_variant_that_the_gateway_does_not_know_ends_the_run() -> None:
    gateway = FakeGateway()
    gateway.error = ConfigurationError("no variant 'history'")

    with pytest.raises(ConfigurationError, match="no variant 'history'"):
        await WorkflowEvaluations(gateway, LABELS).episode_id(SPEC)
