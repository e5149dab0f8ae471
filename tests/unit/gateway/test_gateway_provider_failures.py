from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    InfrastructureError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
)
from pytest_babyai.gateway.client import Gateway, import_tensorzero, open_gateway
from tests.patience import PATIENCE_S
from tests.unit.gateway.gateway_fakes import (
    API_KEY,
    FakeProvider,
    answering,
    completing,
    configuration_of,
    edit,
    hang,
    request,
    reset,
    write_config,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.gateway_fakes import Answer

pytestmark = pytest.mark.asyncio


async def failure_of(gateway: Gateway, **changes: Any) -> InfrastructureError:
    with pytest.raises(InfrastructureError) as caught:
        await gateway.infer(request(**changes))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 200
    return caught.value


def saying(status: int, message: str, **more: Any) -> Answer:
    return answering(status=status, text=json.dumps({"error": {"message": message}}), **more)


FAILURES: dict[str, tuple[Answer, ProviderError | RateLimitError]] = {
    "429": (saying(429, "slow"), RateLimitError("", provider_status=429)),
    "429-with-wait": (
        saying(429, "Please try again in 7s.", headers={"Retry-After": "7"}),
        RateLimitError("", provider_status=429, retry_after_s=7.0),
    ),
    "500": (saying(500, "boom"), ProviderError("")),
    "503-html": (answering(status=503, text="<html>busy</html>"), ProviderError("")),
    "html": (answering(text="<html>hello</html>"), ProviderError("")),
    "empty": (answering(text=""), ProviderError("")),
    "truncated": (answering(text='{"id": "x", "choi'), ProviderError("")),
    "other-json": (answering(text='{"hello": 1}'), ProviderError("")),
    "no-choices": (completing("x", choices=[]), ProviderError("")),
    "reset": (reset, ProviderError("")),
    "400": (saying(400, "too long"), ProviderError("", retryable=False, provider_status=400)),
    "401": (saying(401, "no"), ProviderError("", retryable=False, provider_status=401)),
    "403": (saying(403, "no"), ProviderError("", retryable=False, provider_status=403)),
    "404": (
        answering(status=404, text='{"detail":"Not Found"}'),
        ProviderError("", retryable=False),
    ),
}


@pytest.mark.parametrize(("answer", "expected"), FAILURES.values(), ids=FAILURES)
async def test_a_provider_failure_has_its_type(
    gateway: Gateway, provider: FakeProvider, answer: Answer, expected: InfrastructureError
) -> None:
    provider.answer = answer

    failure = await failure_of(gateway)

    assert type(failure) is type(expected)
    assert vars(failure) == vars(expected)


async def test_the_provider_is_asked_once_an_inference(
    gateway: Gateway, provider: FakeProvider
) -> None:
    provider.answer = answering(status=500, text="boom")

    await failure_of(gateway)

    assert len(provider.bodies) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_told_as_such(
    gateway: Gateway, provider: FakeProvider, status: int
) -> None:
    provider.answer = answering(status=status, text='{"error": {"message": "who are you?"}}')

    assert str(await failure_of(gateway)) == (
        f"openai refused the credentials ({status}): who are you?"
    )


async def test_an_html_page_is_told_in_words(gateway: Gateway, provider: FakeProvider) -> None:
    page = f"<html><style>b {{}}</style><b>Sign in</b>{'<p>x</p>' * 500}</html>"
    provider.answer = answering(status=503, text=page)

    message = str(await failure_of(gateway))

    assert "HTML page" in message
    assert "Sign in" in message
    assert "<" not in message


async def test_no_key_is_in_a_message(
    tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        sent = request.headers["Authorization"]
        return web.json_response({"error": {"message": f"{sent} and my-own-key"}}, status=401)

    provider.answer = echo
    monkeypatch.setenv("MY_KEY", API_KEY)
    config_dir = write_config(tmp_path / "c", api_base=provider.api_base, key="env::MY_KEY")
    gateway = await open_gateway(configuration_of(config_dir))

    message = str(await failure_of(gateway))

    assert API_KEY not in message
    assert "Bearer" in message
    assert "***" in message
    await gateway.close()


async def test_a_provider_that_hangs_is_a_timeout(config_dir: Path, provider: FakeProvider) -> None:
    provider.answer = hang
    # Time may be up before the provider was asked: nobody could hang up on it then.
    for timeout_s in (0.05, 0.5, 5.0, 50.0):
        gateway = await open_gateway(configuration_of(config_dir), timeout_s=timeout_s)

        failure = await failure_of(gateway)

        assert type(failure) is RequestTimeoutError
        assert failure.retryable
        assert str(failure) == f"no answer within {timeout_s:g} s"
        await gateway.close()
        if provider.bodies:
            break
    assert await asyncio.to_thread(provider.hung_up.wait, PATIENCE_S)


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    gateway = await open_gateway(configuration_of(write_config(tmp_path / "config")))

    failure = await failure_of(gateway)

    assert type(failure) is ProviderError
    assert "http://127.0.0.1:9/v1" in str(failure)
    await gateway.close()


async def test_an_unknown_variant_concerns_the_run(gateway: Gateway) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'baseline'"):
        await gateway.infer(request(variant="basline"))


async def test_a_template_that_cannot_be_rendered_concerns_the_run(
    config_dir: Path,
) -> None:
    edit(config_dir / "templates/goal.minijinja", "mission", "misson")
    gateway = await open_gateway(configuration_of(config_dir))

    with pytest.raises(ConfigurationError, match="undefined value"):
        await gateway.infer(request())

    await gateway.close()


async def test_arguments_that_a_schema_refuses_concern_the_run(config_dir: Path) -> None:
    path = config_dir / "user.json"
    schema = json.loads(path.read_text())
    schema["properties"]["observation"]["maxLength"] = 1
    path.write_text(json.dumps(schema))
    gateway = await open_gateway(configuration_of(config_dir))

    with pytest.raises(ConfigurationError, match="is longer than 1 character"):
        await gateway.infer(request())

    await gateway.close()


async def test_an_argument_that_no_episode_has_is_refused_before_anything_is_asked(
    config_dir: Path,
) -> None:
    edit(config_dir / "user.json", '"required": ["mission"', '"required": ["goal", "mission"')

    with pytest.raises(ConfigurationError, match="requires 'goal', which is no argument"):
        configuration_of(config_dir)


async def test_a_client_that_never_answers_is_given_up() -> None:
    class Client:
        def inference(self, **_: Any) -> asyncio.Future[Any]:
            return asyncio.get_running_loop().create_future()

    gateway = Gateway(Client(), variants=("baseline",), timeout_s=0.01)

    with pytest.raises(RequestTimeoutError):
        await gateway.infer(request())


async def test_a_failure_of_tensorzero_without_status_is_the_gateways() -> None:
    tensorzero = import_tensorzero()

    class Client:
        async def inference(self, **_: Any) -> None:
            raise tensorzero.TensorZeroInternalError("error sending request")

    gateway = Gateway(Client(), variants=("baseline",), timeout_s=1)

    with pytest.raises(GatewayError, match="could not be reached"):
        await gateway.infer(request())
