from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web

from pytest_babyai.errors import (
    BabyAIError,
    ConfigurationError,
    CredentialsError,
    GatewayError,
    RequestTimeoutError,
    SettingsError,
)
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.inference import Inference, new_episode_id
from pytest_babyai.records import Usage
from tests.unit.gateway.gateway_fakes import (
    answering,
    configuration_of,
    hang,
    request,
    reset,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.unit.gateway.gateway_fakes import Answer

pytestmark = pytest.mark.asyncio


class FakeGateway:
    """Speaks what a TensorZero gateway speaks over HTTP, as far as the client needs it."""

    def __init__(self) -> None:
        self.inference: Answer = answering(status=500)
        self.health: Answer = answering(text='{"gateway": "ok", "clickhouse": "ok"}')

    async def start(self) -> str:
        async def inference(request: web.Request) -> web.StreamResponse:
            return await self.inference(request)

        async def health(request: web.Request) -> web.StreamResponse:
            return await self.health(request)

        application = web.Application()
        application.router.add_post("/inference", inference)
        application.router.add_get("/health", health)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest_asyncio.fixture
async def remote() -> AsyncIterator[tuple[FakeGateway, str]]:
    fake = FakeGateway()
    yield fake, await fake.start()
    await fake.stop()


async def infer_over_http(
    config_dir: Path, url: str, *, timeout_s: float = 20, **changes: Any
) -> Inference:
    configuration = configuration_of(config_dir)
    gateway = await open_gateway(configuration, gateway_url=url, timeout_s=timeout_s)
    try:
        return await gateway.infer(request(**changes))
    finally:
        await gateway.close()


async def test_a_gateway_over_http_answers(
    config_dir: Path, remote: tuple[FakeGateway, str]
) -> None:
    fake, url = remote
    received: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        received.update(await request.json())
        return web.json_response(
            {
                "inference_id": new_episode_id(),
                "episode_id": received["episode_id"],
                "variant_name": "baseline",
                "output": {"raw": '{"action":"drop"}', "parsed": {"action": "drop"}},
                "usage": {"input_tokens": 1, "output_tokens": 2},
                "finish_reason": "stop",
            }
        )

    fake.inference = answer

    inference = await infer_over_http(config_dir, f"{url}/", tags={"run": "x"})

    assert (inference.action, inference.usage) == ("drop", Usage(1, 2, None))
    assert received["function_name"] == "act"
    assert received["variant_name"] == "baseline"
    assert received["tags"] == {"run": "x"}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (answering(status=404, text='{"error":"Unknown variant: x"}'), ConfigurationError),
        (answering(status=401, text='{"error":"no"}'), CredentialsError),
        (answering(status=502, text="<html>Bad Gateway</html>"), GatewayError),
        (reset, GatewayError),
        (answering(status=200, text="<html>hello</html>"), GatewayError),
    ],
    ids=["unknown-variant", "401", "502", "reset", "html"],
)
async def test_a_failure_of_a_gateway_over_http_has_its_type(
    config_dir: Path,
    remote: tuple[FakeGateway, str],
    answer: Answer,
    error: type[BabyAIError],
) -> None:
    fake, url = remote
    fake.inference = answer

    with pytest.raises(error):
        await infer_over_http(config_dir, url)


async def test_a_gateway_over_http_that_hangs_is_a_timeout(
    config_dir: Path, remote: tuple[FakeGateway, str]
) -> None:
    fake, url = remote
    fake.inference = hang

    with pytest.raises(RequestTimeoutError):
        await infer_over_http(config_dir, url, timeout_s=0.05)


@pytest.mark.parametrize(
    "url", ["nonsense", "", "ftp://x", "http://", "http://x:port", "http://[x"]
)
async def test_what_is_no_url_is_refused(config_dir: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="no URL of a gateway"):
        await open_gateway(configuration_of(config_dir), gateway_url=url)


async def test_a_gateway_that_is_not_there_is_told_at_once(config_dir: Path) -> None:
    with pytest.raises(SettingsError, match=r"http://127\.0\.0\.1:9: nothing answers"):
        await open_gateway(configuration_of(config_dir), gateway_url="http://127.0.0.1:9")


async def test_an_unhealthy_gateway_is_told_at_once(
    config_dir: Path, remote: tuple[FakeGateway, str]
) -> None:
    fake, url = remote
    fake.health = answering(status=500, text='{"gateway":"ok","clickhouse":"error"}')

    with pytest.raises(SettingsError, match=r'500 .*"clickhouse":"error"'):
        await open_gateway(configuration_of(config_dir), gateway_url=url)


async def test_another_server_is_told_at_once(
    config_dir: Path, remote: tuple[FakeGateway, str]
) -> None:
    fake, url = remote
    fake.health = answering(text="<html>My blog</html>", content_type="text/html")

    with pytest.raises(SettingsError, match=r"no TensorZero gateway .*My blog"):
        await open_gateway(configuration_of(config_dir), gateway_url=url)
