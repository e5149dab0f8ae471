"""A store that dies takes no episode with it, and is told later what it has missed."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands import run_command
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.feedback import METRICS, FeedbackQueue, feedback_of
from pytest_babyai.gateway.store import EmbeddedStore
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
)
from pytest_babyai.journal import RUNS_DIRECTORY, create_run
from pytest_babyai.journal.feedback_log import FeedbackLog, acknowledged_feedback
from pytest_babyai.records import EpisodeSpec
from tests.patience import PATIENCE_S, until_answered
from tests.unit.gateway.gateway_fakes import configuration_of
from tests.unit.gateway.stored_play import play, rows_of, with_prices_and_metrics
from tests.unit.journal.journal_samples import RECORDING, entry, key, manifest

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.records import EpisodeResult

pytest.importorskip("chdb")
pytestmark = pytest.mark.asyncio


async def test_a_store_that_dies_costs_no_episode_and_is_told_later(
    config_dir: Path, tmp_path: Path
) -> None:
    store = EmbeddedStore(tmp_path / "store")
    store.start()
    configuration = configuration_of(with_prices_and_metrics(config_dir))
    gateway = await open_gateway(configuration, clickhouse_url=store.url)
    queries = ClickHouseStore(store.url)
    evaluations = WorkflowEvaluations(gateway, EvaluationLabels("died", "m"), store=queries)
    with create_run(tmp_path / RUNS_DIRECTORY, manifest(), RECORDING) as journal:
        before = await play_one(gateway, evaluations, 200)
        await wait_for_rows(queries, before)
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        store.stop()

        after = await play_one(gateway, evaluations, 201)
        feedback_log = FeedbackLog(journal.log.directory)
        queue = FeedbackQueue(gateway, feedback_log, store=queries)
        feedback = feedback_of(before)
        assert feedback is not None
        queue.put(feedback)
        await queue.drain(timeout_s=PATIENCE_S)
        await evaluations.drain(timeout_s=0.1)
        await gateway.close()
        journal.append(entry(key=key(200), outcome=before))
        journal.add_notes({NOTES_KEY: evaluations.run_ids})

    assert (after.num_steps, queue.num_failed) == (4, 1)
    assert acknowledged_feedback(journal.log.directory) == set()

    told = [await asyncio.to_thread(call_record, tmp_path) for _ in range(2)]

    assert [line.split(": ")[1] for (line,) in told] == [
        "feedback of 1 episode sent, 0 had been",
        "feedback of 0 episodes sent, 1 had been",
    ]
    with EmbeddedStore(tmp_path / "store") as again:
        rows = await rows_of(again, "SELECT target_id AS id, metric_name FROM FloatMetricFeedback")
        entered = await ClickHouseStore(again.url).evaluation_episodes([before.episode_id])
    assert sorted((row["id"], row["metric_name"]) for row in rows) == [
        (before.episode_id, metric) for metric in METRICS
    ]
    assert entered == {before.episode_id}


async def play_one(gateway: Gateway, evaluations: WorkflowEvaluations, seed: int) -> EpisodeResult:
    spec = EpisodeSpec("baseline", "goto", seed)
    episode_id = await evaluations.episode_id(spec)
    return await play(gateway, spec, run="died", episode_id=episode_id)


async def wait_for_rows(queries: ClickHouseStore, outcome: EpisodeResult) -> None:
    ids = [step.inference_id for step in outcome.steps if step.inference_id]

    async def are_stored() -> bool:
        return len(await queries.usages(ids)) == len(ids)

    await until_answered(are_stored)


def call_record(root: Path) -> list[str]:
    return list(run_command(["record", "latest", f"--store={root / 'store'}", f"--root={root}"]))
