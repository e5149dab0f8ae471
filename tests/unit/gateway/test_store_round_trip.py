"""What is played is found again in a store, by SQL and by TensorZero's own tables."""

from __future__ import annotations

import asyncio
import dataclasses
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pytest_babyai.gateway.client import Gateway, open_gateway
from pytest_babyai.gateway.feedback import METRICS, FeedbackQueue, feedback_of
from pytest_babyai.gateway.inference import CacheOptions, new_episode_id
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.gateway.stored import StoredRun, StoreLink, StorePlace
from pytest_babyai.gateway.workflow_evaluations import (
    EvaluationLabels,
    WorkflowEvaluations,
)
from pytest_babyai.journal.feedback_log import FeedbackLog
from pytest_babyai.playing.rollout import run_episode
from pytest_babyai.records import EpisodeResult, EpisodeSpec, Usage
from pytest_babyai.store.embedded import EmbeddedStore
from tests.patience import until_answered
from tests.unit.gateway.gateway_fakes import FakeProvider, configuration_of
from tests.unit.gateway.stored_play import play, rows_of, with_prices_and_metrics
from tests.unit.playing.rollout_fakes import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytest.importorskip("chdb")
pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def priced(config_dir: Path) -> Path:
    """A configuration with prices and metrics."""
    return with_prices_and_metrics(config_dir)


@pytest_asyncio.fixture
async def gateway(priced: Path, store: EmbeddedStore) -> AsyncIterator[Gateway]:
    opened = await open_gateway(configuration_of(priced), clickhouse_url=store.url)
    yield opened
    await opened.close()


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


SHORT_LIVED = """
import asyncio, sys
from pathlib import Path
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.inference import InferenceRequest, new_episode_id

async def main():
    configuration = read_configuration(Path(sys.argv[1]), "server", {})
    gateway = await open_gateway(configuration, clickhouse_url=sys.argv[2])
    requests = [
        InferenceRequest("baseline", new_episode_id(), "m", "o", tags={"run": "short"})
        for _ in range(200)
    ]
    await asyncio.gather(*map(gateway.infer, requests))
    await gateway.close()

asyncio.run(main())
"""


async def test_a_process_that_closes_its_gateway_ends_well_and_leaves_nothing_unwritten(
    priced: Path, store: EmbeddedStore
) -> None:
    command = [sys.executable, "-W", "error", "-c", SHORT_LIVED, str(priced), store.url]

    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (row,) = await rows_of(
        store, "SELECT toUInt32(count()) AS num FROM JsonInference WHERE tags['run'] = 'short'"
    )
    assert row == {"num": 200}


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
        feedback = feedback_of(played, is_stored=True)
        assert feedback is not None
        queue.put(feedback)
        results.append(played)

    await queue.drain()
    await queue.confirm()
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
    spec = EpisodeSpec("baseline", "goto", 777)
    outcomes = []
    for _ in range(2):
        gateway = await open_gateway(
            configuration_of(priced), clickhouse_url=store.url, cache=cached
        )
        link = StoreLink(gateway, StorePlace(clickhouse_url=store.url), StoredRun("cached", "fake"))
        completed = await link.complete(await play(gateway, spec, run="cached"))
        outcomes.append(completed.outcome)
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


async def test_an_inference_is_stored_once_it_is_in_both_tables(
    gateway: Gateway, store: EmbeddedStore
) -> None:
    queries = ClickHouseStore(store.url)
    played = await play(gateway, EpisodeSpec("baseline", "goto", 780), run="both")
    half, whole = new_episode_id(), str(played.steps[-1].inference_id)
    await until_answered(lambda: queries.usages([whole]))
    await rows_of(
        store,
        f"INSERT INTO ModelInference SELECT * REPLACE(toUUID('{half}') AS inference_id) "
        f"FROM (SELECT * FROM ModelInference WHERE inference_id = '{whole}')",
    )

    of_half = f"SELECT id FROM ModelInference WHERE inference_id = '{half}'"
    assert len(await rows_of(store, of_half)) == 1
    assert await queries.usages([half, whole]) == {whole: Usage(10, 3)}


async def test_feedback_on_an_episode_of_another_store_is_not_sent(
    gateway: Gateway, store: EmbeddedStore, tmp_path: Path
) -> None:
    here = await play(gateway, EpisodeSpec("baseline", "goto", 779), run="sent")
    elsewhere = dataclasses.replace(here, episode_id="01939de4-0000-7000-8000-000000000000")
    feedback_log = FeedbackLog(tmp_path)
    queue = FeedbackQueue(gateway, feedback_log, store=ClickHouseStore(store.url))
    for each in (feedback_of(here, is_stored=True), feedback_of(elsewhere)):
        assert each is not None
        queue.put(each)

    await queue.drain()
    await queue.confirm()
    feedback_log.close()

    sent = "SELECT metric_name FROM FloatMetricFeedback WHERE target_id = '{}'"
    told = [await rows_of(store, sent.format(each.episode_id)) for each in (here, elsewhere)]
    assert list(map(len, told)) == [2, 0]
    assert (queue.num_sent, queue.num_failed) == (1, 1)
    assert queue.problem is not None
    assert f"nothing of episode {elsewhere.episode_id}" in queue.problem
