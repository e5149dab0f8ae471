from __future__ import annotations

import asyncio
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import (
    GatewayError,
)
from pytest_babyai.gateway.client import Gateway, open_gateway
from pytest_babyai.gateway.inference import Inference, new_episode_id
from pytest_babyai.records import Usage
from tests.patience import PATIENCE_S
from tests.unit.gateway.gateway_fakes import (
    FakeProvider,
    completing,
    configuration_of,
    edit,
    hang,
    request,
)

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

pytestmark = pytest.mark.asyncio


async def test_an_answer_carries_action_thinking_usage_and_id(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.answer = completing('{"thinking": "it is near", "action": "pick up"}')

    inference = await gateway.infer(request())

    assert (inference.action, inference.thinking) == ("pick up", "it is near")
    assert inference.raw == '{"thinking": "it is near", "action": "pick up"}'
    assert inference.usage == Usage(10, 3, None)
    assert uuid.UUID(inference.inference_id).version == 7
    assert inference.latency_ms > 0


@pytest.mark.parametrize("content", ["pick up", "", '{"move": "pick up"}', '{"action": '])
async def test_an_answer_that_does_not_parse_is_no_failure(
    gateway: Gateway, provider: FakeProvider, content: str
) -> None:
    provider.answer = completing(content)

    inference = await gateway.infer(request())

    assert (inference.raw, inference.action, inference.parsed) == (content, None, None)


async def test_an_answer_without_content_reads_as_empty(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.answer = completing(None)

    assert (await gateway.infer(request())).raw == ""


async def test_tokens_that_nobody_counted_are_unknown(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.answer = completing('{"action": "drop"}', usage=None)

    assert (await gateway.infer(request())).usage == Usage(None, None, None)


async def test_prices_of_the_model_file_give_the_cost(
    config_dir: Path,
) -> None:
    price = 'cost = [{ pointer = "/usage/prompt_tokens", cost_per_million = 2, required = true }]\n'
    edit(config_dir / "models/server.toml", "api_base", f"{price}api_base")
    gateway = await open_gateway(configuration_of(config_dir))

    inference = await gateway.infer(request())

    assert inference.usage.cost == pytest.approx(20e-6)
    await gateway.close()


@pytest.mark.parametrize(
    ("variant", "prompt"),
    [
        ("baseline", "Goal: go to the red ball Now: a red ball 1 step forward"),
        ("history", "a wall > turn left\nNow: a red ball 1 step forward"),
    ],
)
async def test_every_variant_takes_what_it_shows_from_the_same_arguments(
    gateway: Gateway, provider: FakeProvider, variant: str, prompt: str
) -> None:
    await gateway.infer(request(variant=variant))

    assert provider.prompt() == prompt


@pytest.mark.parametrize("seed", [None, 7])
async def test_a_seed_reaches_the_provider_where_one_is_given(
    gateway: Gateway, provider: FakeProvider, seed: int | None
) -> None:
    await gateway.infer(request(seed=seed))

    assert provider.bodies[-1].get("seed") == seed


async def test_a_cancelled_inference_hangs_up_on_the_provider(
    gateway: Gateway, provider: FakeProvider
) -> None:
    asked = threading.Event()

    async def ask_and_hang(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await hang(request)

    provider.answer = ask_and_hang
    task = asyncio.ensure_future(gateway.infer(request()))
    assert await asyncio.to_thread(asked.wait, PATIENCE_S)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(provider.hung_up.wait, PATIENCE_S)


async def test_a_closed_gateway_says_so(config_dir: Path) -> None:
    gateway = await open_gateway(configuration_of(config_dir))
    await gateway.close()
    await gateway.close()

    with pytest.raises(GatewayError, match="closed"):
        await gateway.infer(request())


async def test_a_gateway_lives_on_the_loop_of_another_thread(config_dir: Path) -> None:
    async def play() -> Inference:
        gateway = await open_gateway(configuration_of(config_dir))
        inference = await gateway.infer(request())
        await gateway.close()
        return inference

    inference = await asyncio.to_thread(lambda: asyncio.run(play()))

    assert inference.action == "go forward"


async def test_tensorzero_takes_our_episode_ids(gateway: Gateway) -> None:
    ids = {new_episode_id() for _ in range(100)}

    assert len(ids) == 100
    assert {uuid.UUID(text).version for text in ids} == {7}
    assert {uuid.UUID(text).variant for text in ids} == {uuid.RFC_4122}
    await gateway.infer(request(episode_id=ids.pop()))
