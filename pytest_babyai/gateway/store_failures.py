"""What goes wrong between a gateway and its store, in one line and without passwords."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pytest_babyai.errors import BabyAIError, ConfigurationError, GatewayError, SettingsError
from pytest_babyai.gateway.failures import gateway_message
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gateway.failures import Scrubber

CLICKHOUSE_OPTION = "--babyai-clickhouse-url"

_EXAMPLE = "http://user:password@localhost:8123/tensorzero"
_QUOTED = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_NO_ANSWER = re.compile(r"(?i)refused|dns error|timed out|connect error|no route|unreachable")
_QUERY = re.compile(r"\?[^\s)]*")
_UNKNOWN_EPISODE = re.compile(r"Episode ID: (?P<id>\S+) does not exist")
_SERVER_ERROR = 500


def public_url(url: str) -> str:
    """Returns a URL without user and password, however malformed it is."""
    head, _, rest = url.rpartition("@")
    scheme, separator, _ = head.partition("//")
    return f"{scheme}{separator}{rest}" if separator else rest


def url_secrets(url: str) -> Iterator[str]:
    """Yields what of a URL must not be told, as it stands and decoded."""
    user_info = url.rpartition("@")[0].partition("//")[2] or url.rpartition("@")[0]
    password = user_info.partition(":")[2]
    yield from {password, unquote(password)} - {""}


def check_clickhouse_url(url: str) -> None:
    """Refuses what is no URL of ClickHouse's HTTP interface.

    Raises:
        SettingsError: It is none.
    """
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise SettingsError(
            f"{CLICKHOUSE_OPTION}: {public_url(url)!r} is no URL of ClickHouse's HTTP interface; "
            f"give one like {_EXAMPLE}"
        )


def is_store_failure(text: str) -> bool:
    """Whether TensorZero did not start because of its database."""
    return "Clickhouse(" in text


def store_build_failure(text: str, clickhouse_url: str, scrub: Scrubber) -> SettingsError:
    """Names why a gateway found no database at the URL that it was given."""
    where = f"{CLICKHOUSE_OPTION}: {public_url(clickhouse_url)}"
    if _NO_ANSWER.search(text):
        return SettingsError(
            f"{where}: no ClickHouse answers; start it, correct the URL, or use --babyai-store, "
            "which needs no server"
        )
    quoted = _QUOTED.search(text)
    reason = re.sub(r"\\(['\"])", r"\1", quoted[1]).replace("\\n", " ") if quoted else text
    return SettingsError(f"{where}: ClickHouse cannot be used: {scrub(reason)}")


def unknown_episode(episode_id: str, *, retryable: bool = True) -> GatewayError:
    """Tells that feedback on an episode is not taken.

    Args:
        episode_id: The gateway's id of the episode.
        retryable: Whether the store may still get its inferences.
    """
    message = f"the store has nothing of episode {episode_id}, which was played without it"
    return GatewayError(message, retryable=retryable)


def store_failure(status: int | None, text: str, scrub: Scrubber) -> BabyAIError:
    """Names the failure of a call that needs the store.

    Args:
        status: Status of the gateway's answer, None where there was none.
        text: What the gateway said.
        scrub: Masks keys and passwords.
    """
    message = scrub(_QUERY.sub("", gateway_message(text)))
    if status is None:
        return GatewayError(f"the gateway could not be reached: {message}")
    if "observability" in message:
        return ConfigurationError(
            f"the gateway has no store: start it with {CLICKHOUSE_VARIABLE}, or leave out "
            f"--babyai-record ({message})"
        )
    unknown = _UNKNOWN_EPISODE.match(message)
    if unknown:  # the gateway has looked for it for some seconds
        return unknown_episode(unknown["id"], retryable=False)
    if status < _SERVER_ERROR:
        return ConfigurationError(f"the gateway refused the request: {message}")
    return GatewayError(f"the store failed: {message}")
