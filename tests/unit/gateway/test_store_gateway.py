"""TensorZero's embedded gateway on the embedded store."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pytest_babyai.gateway.client import import_tensorzero
from pytest_babyai.gateway.inference import new_episode_id
from pytest_babyai.store.embedded import EmbeddedStore
from tests.patience import until_answered
from tests.unit.gateway.gateway_fakes import FakeProvider, edit
from tests.unit.store.store_fakes import ask, need_chdb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio

METRIC = '\n[metrics.progression]\ntype = "float"\nlevel = "episode"\noptimize = "max"\n'
LAST_MIGRATION = 53


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    need_chdb()
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def config_file(config_dir: Path) -> Path:
    path = config_dir / "tensorzero.toml"
    edit(path, "observability.enabled = false", "observability.enabled = true")
    with path.open("a") as file:
        file.write((config_dir / "models" / "server.toml").read_text() + METRIC)
    return path


@pytest_asyncio.fixture
async def client(config_file: Path, store: EmbeddedStore) -> AsyncIterator[Any]:
    gateway = import_tensorzero().AsyncTensorZeroGateway
    yield await gateway.build_embedded(config_file=str(config_file), clickhouse_url=store.url)


async def infer(client: Any, episode_id: str, **options: Any) -> Any:
    arguments = {"mission": "go", "observation": "a wall", "history": []}
    content = [{"type": "template", "name": "user", "arguments": arguments}]
    return await client.inference(
        function_name="act",
        variant_name="baseline",
        episode_id=episode_id,
        input={"messages": [{"role": "user", "content": content}]},
        tags={"seed": "7"},
        **options,
    )


async def found(store: EmbeddedStore, query: str) -> list[dict[str, Any]]:
    """The rows of a query, as soon as there are any: the gateway writes behind our backs."""
    lines: list[str] = []

    async def are_there() -> bool:
        text = await asyncio.to_thread(ask, store, f"{query} FORMAT JSONEachRow")
        lines.extend(text.splitlines())
        return bool(lines)

    await until_answered(are_there)
    return [json.loads(line) for line in lines]


async def stored(client: Any, store: EmbeddedStore, episode_id: str) -> str:
    """Plays one step and returns its id once the store has it."""
    inference_id = str((await infer(client, episode_id)).inference_id)
    await found(
        store, f"SELECT 1 FROM InferenceById WHERE id_uint = toUInt128(toUUID('{inference_id}'))"
    )
    await found(store, f"SELECT 1 FROM JsonInference WHERE id = '{inference_id}'")
    return inference_id


@pytest.mark.usefixtures("client")
async def test_all_migrations_pass(store: EmbeddedStore) -> None:
    (row,) = await found(store, "SELECT max(migration_id) AS last FROM TensorZeroMigration")
    assert row["last"] >= LAST_MIGRATION


async def test_an_inference_is_written_with_its_tags(client: Any, store: EmbeddedStore) -> None:
    inference_id = await stored(client, store, new_episode_id())
    (row,) = await found(
        store,
        f"SELECT variant_name, tags['seed'] AS seed FROM JsonInference WHERE id = '{inference_id}'",
    )
    assert row == {"variant_name": "baseline", "seed": "7"}


async def test_the_model_s_side_is_written(client: Any, store: EmbeddedStore) -> None:
    inference_id = str((await infer(client, new_episode_id())).inference_id)
    (row,) = await found(
        store,
        "SELECT input_tokens, output_tokens FROM ModelInference "
        f"WHERE inference_id = '{inference_id}'",
    )
    assert row == {"input_tokens": 10, "output_tokens": 3}


async def test_every_inference_is_written_once(client: Any, store: EmbeddedStore) -> None:
    episode_id = new_episode_id()
    responses = await asyncio.gather(*(infer(client, episode_id) for _ in range(200)))
    query = f"SELECT id FROM JsonInference WHERE episode_id = '{episode_id}'"
    rows = await found(store, f"{query} AND 200 = (SELECT count() FROM ({query}))")
    assert sorted(row["id"] for row in rows) == sorted(str(r.inference_id) for r in responses)


async def test_feedback_is_written(client: Any, store: EmbeddedStore) -> None:
    episode_id = new_episode_id()
    await stored(client, store, episode_id)
    await client.feedback(metric_name="progression", value=1.0, episode_id=episode_id)
    rows = await found(
        store, f"SELECT value FROM FloatMetricFeedback WHERE target_id = '{episode_id}'"
    )
    assert rows == [{"value": 1}]


async def test_an_answer_comes_from_the_cache(
    client: Any, store: EmbeddedStore, provider: FakeProvider
) -> None:
    on = {"cache_options": {"enabled": "on"}, "params": {"chat_completion": {"seed": 99}}}
    await infer(client, new_episode_id(), **on)
    await found(store, "SELECT 1 FROM ModelInferenceCache WHERE raw_request LIKE '%99%' LIMIT 1")
    num_asked = len(provider.bodies)
    await infer(client, new_episode_id(), **on)
    assert len(provider.bodies) == num_asked


async def test_inferences_are_listed_by_their_feedback(client: Any, store: EmbeddedStore) -> None:
    tensorzero = import_tensorzero()
    episode_id = new_episode_id()
    inference_id = await stored(client, store, episode_id)
    await client.feedback(metric_name="progression", value=0.625, episode_id=episode_id)
    await found(store, f"SELECT 1 FROM FloatMetricFeedback WHERE target_id = '{episode_id}'")
    exactly = tensorzero.InferenceFilterFloatMetric(
        metric_name="progression", comparison_operator="=", value=0.625
    )
    listed = await client.list_inferences(
        request=tensorzero.ListInferencesRequest(function_name="act", filters=exactly)
    )
    assert [str(each.inference_id) for each in listed.inferences] == [inference_id]


async def test_datapoints_are_made_of_inferences(client: Any, store: EmbeddedStore) -> None:
    tensorzero = import_tensorzero()
    inference_id = await stored(client, store, new_episode_id())
    made = await client.create_datapoints_from_inferences(
        dataset_name="solved",
        params=tensorzero.CreateDatapointsFromInferenceRequestParamsInferenceIds(
            inference_ids=[inference_id]
        ),
    )
    listed = await client.list_datapoints(
        dataset_name="solved", request=tensorzero.ListDatapointsRequest(function_name="act")
    )
    assert [str(each.id) for each in listed.datapoints] == [str(each) for each in made.ids]


async def test_an_evaluation_s_episodes_are_played_with_its_variant(
    client: Any, store: EmbeddedStore
) -> None:
    run = await client.workflow_evaluation_run(
        variants={"act": "history"}, project_name="babyai", display_name="history"
    )
    episode = await client.workflow_evaluation_run_episode(run_id=run.run_id, task_name="goto")
    arguments = {"mission": "go", "observation": "a wall", "history": []}
    content = [{"type": "template", "name": "user", "arguments": arguments}]
    inference = await client.inference(
        function_name="act",
        episode_id=episode.episode_id,
        input={"messages": [{"role": "user", "content": content}]},
    )
    assert inference.variant_name == "history"
    rows = await found(
        store,
        f"SELECT datapoint_name FROM DynamicEvaluationRunEpisode WHERE run_id = '{run.run_id}'",
    )
    assert rows == [{"datapoint_name": "goto"}]


async def test_a_second_gateway_finds_the_store_as_the_first_left_it(
    client: Any, store: EmbeddedStore, config_file: Path
) -> None:
    inference_id = await stored(client, store, new_episode_id())
    second = await type(client).build_embedded(
        config_file=str(config_file), clickhouse_url=store.url
    )
    listed = await second.get_inferences(ids=[inference_id], function_name="act")
    assert [str(each.inference_id) for each in listed.inferences] == [inference_id]
