"""A store that cannot be used is one line, and no password is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, GatewayError, SettingsError
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.credentials import public_url, url_secrets
from pytest_babyai.gateway.failures import Scrubber, store_build_failure, store_failure
from tests.unit.gateway.gateway_fakes import configuration_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.gateway_fakes import FakeProvider

PASSWORD = "pass:w%2Frd@1"  # noqa: S105 - nobody's
NO_SCRUB = Scrubber()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8123",
        "ftp://babyai:hunter22@host/db",
        "babyai:hunter22@localhost:8123/db",
        "http://babyai:hunter22@/db",
        "http://babyai:hunter22@host:port/db",
        "http://babyai:hunter22@host:0/db",
        "",
    ],
)
@pytest.mark.asyncio
async def test_what_is_no_url_is_refused_without_its_password(config_dir: Path, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        await open_gateway(configuration_of(config_dir), clickhouse_url=url)

    message = str(caught.value)
    assert message.startswith("--babyai-clickhouse-url: ")
    assert "is no URL of ClickHouse's HTTP interface; give one like http://" in message
    assert "hunter22" not in message
    assert "\n" not in message


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid:8123"])
@pytest.mark.asyncio
async def test_a_database_that_does_not_answer_is_told_at_the_start(
    config_dir: Path, host: str
) -> None:
    url = f"http://babyai:hunter22@{host}/tensorzero"

    with pytest.raises(SettingsError) as caught:
        await open_gateway(configuration_of(config_dir), clickhouse_url=url)

    assert str(caught.value) == (
        f"--babyai-clickhouse-url: http://{host}/tensorzero: no ClickHouse answers; start it, "
        "correct the URL, or use --babyai-store, which needs no server"
    )


@pytest.mark.asyncio
async def test_a_server_that_is_no_clickhouse_is_told_at_the_start(
    config_dir: Path, provider: FakeProvider
) -> None:
    host = provider.api_base.removeprefix("http://").removesuffix("/v1")

    with pytest.raises(SettingsError, match="--babyai-clickhouse-url: http://127") as caught:
        await open_gateway(
            configuration_of(config_dir), clickhouse_url=f"http://babyai:hunter22@{host}/db"
        )

    assert "hunter22" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:pw@host:1/db", "http://host:1/db"),
        ("http://host:1/db", "http://host:1/db"),
        (f"http://user:{PASSWORD}@host/db", "http://host/db"),
        ("user:pw@host", "host"),
    ],
)
def test_a_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert public_url(url) == shown


def test_the_password_is_masked_as_it_stands_and_decoded() -> None:
    scrub = Scrubber(url_secrets(f"http://user:{PASSWORD}@host/db"))

    assert scrub(f"{PASSWORD} or pass:w/rd@1") == "*** or ***"


def test_what_clickhouse_says_is_passed_on_in_one_line() -> None:
    text = (
        "Failed to construct TensorZero client: Clickhouse(Other { source: TensorZeroInternalError("
        'Error(ClickHouseQuery { message: "Code: 516.\\nuser \\"babyai\\": wrong password" })) })'
    )

    error = store_build_failure(text, "http://babyai:hunter22@host/db", NO_SCRUB)

    assert str(error) == (
        "--babyai-clickhouse-url: http://host/db: ClickHouse cannot be used: "
        'Code: 516. user "babyai": wrong password'
    )


def test_a_store_that_is_gone_may_come_back() -> None:
    text = '{"error": "Failed to run ClickHouse query: url (http://h:1/?database=t&param_a=b)"}'

    error = store_failure(500, text, NO_SCRUB)

    assert isinstance(error, GatewayError)
    assert error.retryable
    assert str(error) == "the store failed: Failed to run ClickHouse query: url (http://h:1/)"


def test_an_unknown_episode_stays_unknown() -> None:
    error = store_failure(400, '{"error": "Episode ID: 01 does not exist"}', NO_SCRUB)

    assert isinstance(error, GatewayError)
    assert not error.retryable
    assert str(error) == "the store has nothing of episode 01, which was played without it"


def test_a_gateway_without_a_store_says_so() -> None:
    text = '{"error": "Feedback requires observability to be enabled"}'

    error = store_failure(400, text, NO_SCRUB)

    assert isinstance(error, ConfigurationError)
    assert "TENSORZERO_CLICKHOUSE_URL" in str(error)


def test_an_unknown_metric_concerns_the_whole_run() -> None:
    error = store_failure(404, '{"error": "Unknown metric: progress"}', NO_SCRUB)

    assert isinstance(error, ConfigurationError)


def test_a_gateway_that_is_gone_may_come_back() -> None:
    error = store_failure(None, "connection refused", NO_SCRUB)

    assert isinstance(error, GatewayError)
    assert error.retryable
