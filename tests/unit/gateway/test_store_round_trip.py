"""What is played is found again in a store, by SQL and by TensorZero's own tables."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pytest_babyai.commands import record
from pytest_babyai.errors import GatewayError
from pytest_babyai.gateway.client import Gateway, open_gateway
from pytest_babyai.gateway.feedback import METRICS, FeedbackQueue, feedback_of
from pytest_babyai.gateway.inference import CacheOptions
from pytest_babyai.gateway.store import EmbeddedStore
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.stored_usage import StoredUsage
from pytest_babyai.gateway.workflow_evaluations import (
    NOTES_KEY,
    EvaluationLabels,
    WorkflowEvaluations,
)
from pytest_babyai.journal import RUNS_DIRECTORY, create_run
from pytest_babyai.journal.feedback_log import FeedbackLog, acknowledged_feedback
from pytest_babyai.records import EpisodeResult, EpisodeSpec, Usage
from pytest_babyai.rollout import RolloutOptions, run_episode
from tests.unit.gateway.gateway_fakes import FakeProvider, configuration_of, edit
from tests.unit.journal.journal_samples import RECORDING, entry, key, manifest
from tests.unit.rollout_fakes import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytest.importorskip("chdb")
pytestmark = pytest.mark.asyncio

PRICE = 'cost = [{ pointer = "/usage/prompt_tokens", cost_per_million = 2, required = true }]\n'
METRICS_TOML = "".join(
    f'\n[metrics.{name}]\ntype = "float"\nlevel = "episode"\noptimize = "max"\n' for name in METRICS
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def priced(config_dir: Path) -> Path:
    """A configuration with prices and metrics."""
    edit(config_dir / "models/server.toml", "api_base", f"{PRICE}api_base")
    with (config_dir / "tensorzero.toml").open("a") as file:
        file.write(METRICS_TOML)
    return config_dir


@pytest_asyncio.fixture
async def gateway(priced: Path, store: EmbeddedStore) -> AsyncIterator[Gateway]:
    opened = await open_gateway(configuration_of(priced), clickhouse_url=store.url)
    yield opened
    await opened.close()


async def rows_of(store: EmbeddedStore, query: str) -> list[dict[str, Any]]:
    address = f"http://127.0.0.1:{store.port}/?database=tensorzero"
    user, password = store.url.removeprefix("http://").partition("@")[0].split(":")
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    asked = urllib.request.Request(address, f"{query} FORMAT JSONEachRow".encode(), headers)

    def ask() -> str:
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - the store's own address
            return str(answer.read().decode())

    return [json.loads(line) for line in (await asyncio.to_thread(ask)).splitlines()]


async def play(
    gateway: Gateway,
    spec: EpisodeSpec,
    *,
    run: str,
    episode_id: str | None = None,
    solved_at: int | None = None,
) -> EpisodeResult:
    outcome = await run_episode(
        spec,
        client=gateway,
        make_environment=lambda task: FakeEnvironment(task, solved_at=solved_at),
        options=RolloutOptions(tags={"run": run}),
        episode_id=episode_id,
    )
    assert isinstance(outcome, EpisodeResult)
    return outcome


async def test_every_inference_is_a_row_with_its_tags(priced: Path, store: EmbeddedStore) -> None:
    gateway = await open_gateway(configuration_of(priced), clickhouse_url=store.url)
    specs = [EpisodeSpec("baseline", "goto", seed) for seed in range(195, 205)]
    results = await asyncio.gather(*(play(gateway, spec, run="rows") for spec in specs))

    await gateway.close()

    rows = await rows_of(store, "SELECT id, tags FROM JsonInference WHERE tags['run'] = 'rows'")
    assert {row["id"] for row in rows} == {
        step.inference_id for result in results for step in result.steps
    }
    assert {(row["tags"]["seed"], row["tags"]["split"]) for row in rows} == {
        (str(seed), "train" if seed < 200 else "evaluation") for seed in range(195, 205)
    }
    assert {(row["tags"]["variant"], row["tags"]["task"]) for row in rows} == {("baseline", "goto")}


STATISTICS = """
WITH episodes AS (
    SELECT run_id, uint_to_uuid(episode_id_uint) AS episode_id
    FROM DynamicEvaluationRunEpisode FINAL
)
SELECT pins['act'] AS variant, metric_name AS metric, avg(value) AS mean, count() AS num_episodes
FROM episodes
JOIN (SELECT uint_to_uuid(run_id_uint) AS run_id, variant_pins AS pins, tags
    FROM DynamicEvaluationRun FINAL) AS runs USING run_id
JOIN FloatMetricFeedbackByTargetId AS feedback ON feedback.target_id = episodes.episode_id
WHERE runs.tags['run'] = 'means' GROUP BY variant, metric
"""
TOKENS = """
SELECT tags['variant'] AS variant,
    sum(input_tokens) / uniqExact(episode_id) AS input_tokens,
    sum(output_tokens) / uniqExact(episode_id) AS output_tokens
FROM JsonInference JOIN ModelInference ON ModelInference.inference_id = JsonInference.id
WHERE tags['run'] = 'means' GROUP BY variant
"""


async def test_the_means_of_a_run_are_found_in_its_evaluation_runs(
    gateway: Gateway, store: EmbeddedStore, tmp_path: Path
) -> None:
    queries = ClickHouseStore(store.url)
    labels = EvaluationLabels("means", "test-model", "c0ffee")
    evaluations = WorkflowEvaluations(gateway, labels, store=queries)
    feedback_log = FeedbackLog(tmp_path)
    queue = FeedbackQueue(gateway, feedback_log, store=queries)
    results = []
    for number, variant in enumerate(["baseline", "history"] * 4):
        spec = EpisodeSpec(variant, "goto", 200 + number // 2)
        episode_id = await evaluations.episode_id(spec)
        solved_at = number % 3 or None
        played = await play(gateway, spec, run="means", episode_id=episode_id, solved_at=solved_at)
        feedback = feedback_of(played)
        assert feedback is not None
        queue.put(feedback)
        results.append(played)

    await queue.drain()
    await evaluations.drain()
    feedback_log.close()

    assert (queue.num_sent, queue.problem) == (8, None)
    found = {
        (row["variant"], row["metric"]): row["mean"] for row in await rows_of(store, STATISTICS)
    }
    tokens = {row["variant"]: row for row in await rows_of(store, TOKENS)}
    for variant in ("baseline", "history"):
        own = [each for each in results if each.spec.variant == variant]
        for metric in METRICS:
            mean = statistics.mean(getattr(each, metric) for each in own)
            assert found[variant, metric] == pytest.approx(mean, rel=1e-6)
        for count in ("input_tokens", "output_tokens"):
            mean = statistics.mean(getattr(each.usage, count) for each in own)
            assert tokens[variant][count] == pytest.approx(mean)


async def test_an_evaluation_run_is_found_under_project_name_pins_and_commit(
    gateway: Gateway, store: EmbeddedStore
) -> None:
    labels = EvaluationLabels("named", "test-model", "c0ffee")
    evaluations = WorkflowEvaluations(gateway, labels, store=ClickHouseStore(store.url))
    spec = EpisodeSpec("history", "open", 203)
    episode_id = await evaluations.episode_id(spec)
    await evaluations.drain()

    (run,) = await rows_of(
        store, "SELECT * FROM DynamicEvaluationRunByProjectName WHERE tags['run'] = 'named'"
    )
    (episode,) = await rows_of(
        store,
        "SELECT uint_to_uuid(episode_id_uint) AS id, datapoint_name, variant_pins "
        "FROM DynamicEvaluationRunEpisodeByRunId WHERE tags['run'] = 'named'",
    )
    assert run["project_name"] == "pytest-babyai"
    assert run["run_display_name"] == "history · test-model · named"
    assert run["variant_pins"] == {"act": "history"}
    assert run["tags"]["git_commit"] == "c0ffee"
    assert episode == {
        "id": episode_id,
        "datapoint_name": "open-203",
        "variant_pins": {"act": "history"},
    }


async def test_a_gateway_gives_out_ids_that_it_takes_again(
    gateway: Gateway, store: EmbeddedStore
) -> None:
    evaluations = WorkflowEvaluations(gateway, EvaluationLabels("given", "test-model"))
    spec = EpisodeSpec("history", "goto", 200)
    episode_id = await evaluations.episode_id(spec)

    result = await play(gateway, spec, run="given", episode_id=episode_id)

    assert evaluations.num_outside == 0
    assert result.episode_id == episode_id
    assert await ClickHouseStore(store.url).evaluation_episodes([episode_id]) == {episode_id}


async def test_a_rerun_from_the_cache_asks_nothing_and_counts_the_same_tokens(
    priced: Path, store: EmbeddedStore, provider: FakeProvider
) -> None:
    cached = CacheOptions("on")
    usage = StoredUsage(ClickHouseStore(store.url))
    spec = EpisodeSpec("baseline", "goto", 777)
    outcomes = []
    for _ in range(2):
        gateway = await open_gateway(
            configuration_of(priced), clickhouse_url=store.url, cache=cached
        )
        outcomes.append(await usage.complete(await play(gateway, spec, run="cached")))
        await gateway.close()

    first, again = outcomes
    assert len(provider.bodies) == first.num_steps == 4
    assert (first.num_cached, again.num_cached) == (0, 4)
    assert (first.usage.input_tokens, first.usage.output_tokens) == (40, 12)
    assert first.usage.cost == pytest.approx(80e-6)
    assert again.usage == Usage(40, 12, 0.0)
    assert [step.output for step in again.steps] == [step.output for step in first.steps]


async def test_an_agent_that_sees_the_same_twice_is_answered_anew(
    priced: Path, store: EmbeddedStore, provider: FakeProvider
) -> None:
    class StillEnvironment(FakeEnvironment):
        def _observation(self) -> Any:
            return {**super()._observation(), "text": {"long_term_context": "a wall ahead"}}

    gateway = await open_gateway(
        configuration_of(priced), clickhouse_url=store.url, cache=CacheOptions("on")
    )
    outcome = await run_episode(
        EpisodeSpec("baseline", "goto", 778), client=gateway, make_environment=StillEnvironment
    )
    await gateway.close()

    assert isinstance(outcome, EpisodeResult)
    assert outcome.num_cached == 0
    assert len(provider.bodies) == 4


async def test_feedback_on_an_unknown_episode_is_refused(gateway: Gateway) -> None:
    with pytest.raises(GatewayError, match="nothing of episode"):
        await gateway.send_feedback("progression", 1.0, "01939de4-0000-7000-8000-000000000000", {})


async def test_a_store_that_dies_costs_no_episode_and_is_told_later(
    priced: Path, tmp_path: Path
) -> None:
    store = EmbeddedStore(tmp_path / "store")
    store.start()
    gateway = await open_gateway(configuration_of(priced), clickhouse_url=store.url)
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
        await queue.drain(timeout_s=5)
        await evaluations.drain(timeout_s=0.1)
        await gateway.close()
        journal.append(entry(key=key(200), outcome=before))
        journal.add_notes({NOTES_KEY: evaluations.run_ids})

    assert (after.num_steps, queue.num_failed) == (4, 1)
    assert acknowledged_feedback(journal.log.directory) == set()

    told = [await asyncio.to_thread(call_record, tmp_path) for _ in range(2)]

    assert [line.split(": ")[1] for (line,) in told] == [
        "feedback of 1 episodes sent, 0 had been",
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
    while len(await queries.usages(ids)) < len(ids):  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.05)


def call_record(root: Path) -> list[str]:
    parser = argparse.ArgumentParser()
    record.add(parser.add_subparsers())
    store = root / "store"
    chosen = parser.parse_args(["record", "latest", f"--store={store}", f"--root={root}"])
    return list(chosen.lines(chosen))
