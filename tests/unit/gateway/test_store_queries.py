"""What a store is asked beside TensorZero's client."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import pytest_asyncio
from aiohttp import web

from pytest_babyai.errors import GatewayError
from pytest_babyai.gateway.inference import new_episode_id
from pytest_babyai.gateway.store_queries import ClickHouseStore, GatewayStore
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio

PASSWORD = "p/w:1 2@3"  # noqa: S105 - nobody's


class FakeServer:
    """Answers whatever it is asked with `status` and `text`."""

    def __init__(self) -> None:
        self.status = 200
        self.text = ""
        self.requests: list[tuple[web.BaseRequest, str]] = []
        self.address = ""
        self.unknown_path: str | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request, await request.text()))
        if request.path == self.unknown_path:
            return web.Response(status=404)
        return web.Response(status=self.status, text=self.text)

    @property
    def clickhouse(self) -> ClickHouseStore:
        return ClickHouseStore(
            f"http://babyai:{quote(PASSWORD, safe='')}@{self.address}/tensorzero"
        )

    @property
    def gateway(self) -> GatewayStore:
        return GatewayStore(f"http://{self.address}/", "sk-t0-key")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FakeServer]:
    fake = FakeServer()
    runner = web.ServerRunner(web.Server(fake.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield fake
    await runner.cleanup()


async def test_clickhouse_gets_user_password_and_database(server: FakeServer) -> None:
    await server.clickhouse.usages([new_episode_id()])

    ((request, _),) = server.requests
    assert request.query["database"] == "tensorzero"
    assert request.headers["X-ClickHouse-User"] == "babyai"
    assert request.headers["X-ClickHouse-Key"] == PASSWORD


async def test_tokens_that_nobody_counted_stay_unknown(server: FakeServer) -> None:
    first, second = new_episode_id(), new_episode_id()
    server.text = (
        f'{{"id": "{first}", "input_tokens": 700, "output_tokens": 9}}\n'
        f'{{"id": "{second}", "input_tokens": null, "output_tokens": 0}}\n'
    )

    usages = await server.clickhouse.usages([first, second])

    assert usages == {first: Usage(700, 9), second: Usage(None, 0)}


async def test_many_ids_are_one_query(server: FakeServer) -> None:
    await server.clickhouse.metrics([new_episode_id() for _ in range(4_001)])

    assert len(server.requests) == 1
    assert all(len(query) < 256 * 1024 for _, query in server.requests)


async def test_nothing_is_asked_for_no_ids(server: FakeServer) -> None:
    assert await server.clickhouse.usages([]) == {}
    assert server.requests == []


async def test_what_is_no_id_never_becomes_sql(server: FakeServer) -> None:
    with pytest.raises(ValueError, match="UUID"):
        await server.clickhouse.usages(["') OR 1=1 --"])

    assert server.requests == []


async def test_what_clickhouse_refuses_is_told_without_the_password(server: FakeServer) -> None:
    server.status, server.text = 516, f"Code: 516. wrong password '{PASSWORD}'\n"

    with pytest.raises(GatewayError) as caught:
        await server.clickhouse.usages([new_episode_id()])

    assert str(caught.value) == "the store answered 516: Code: 516. wrong password '***'"
    assert caught.value.retryable


async def test_a_clickhouse_that_is_gone_is_told() -> None:
    with pytest.raises(GatewayError, match=r"the store could not be reached: "):
        await ClickHouseStore("http://u:p@127.0.0.1:9/db").metrics([new_episode_id()])


async def test_a_gateway_is_asked_for_tokens_by_inference(server: FakeServer) -> None:
    inference_id = new_episode_id()
    server.text = (
        '{"model_inferences": [{"input_tokens": 700, "output_tokens": 9}, {"input_tokens": 1}]}'
    )

    usages = await server.gateway.usages([inference_id])

    assert usages == {inference_id: Usage(701, None)}
    ((request, _),) = server.requests
    assert request.path == f"/internal/model_inferences/{inference_id}"
    assert request.headers["Authorization"] == "Bearer sk-t0-key"


async def test_a_gateway_that_has_not_written_an_inference_yet_knows_no_tokens(
    server: FakeServer,
) -> None:
    server.text = '{"model_inferences": []}'

    assert await server.gateway.usages([new_episode_id()]) == {}


async def test_a_gateway_is_asked_for_feedback_by_episode(server: FakeServer) -> None:
    episode_id = new_episode_id()
    server.text = '{"feedback_id_by_metric": {"progression": "x"}}'

    assert await server.gateway.metrics([episode_id]) == {episode_id: frozenset({"progression"})}
    assert server.requests[0][0].path == f"/internal/feedback/{episode_id}/latest_id_by_metric"


async def test_a_gateway_without_such_a_route_need_not_be_asked_again(server: FakeServer) -> None:
    server.status, server.text = 404, '{"error": "Route not found"}'

    with pytest.raises(GatewayError) as caught:
        await server.gateway.metrics([new_episode_id()])

    assert not caught.value.retryable
