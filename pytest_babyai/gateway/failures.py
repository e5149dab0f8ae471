"""Turns what TensorZero raises into the project's errors: one line, typed, free of secrets.

TensorZero reports every failure of a provider as its own status 500; what the provider answered
stands in the text alone, and of a provider's status only 400, 401, 403, 408 and 429 do. Headers are
lost, so a wait that the provider asks for is known only where its message repeats it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import (
    BabyAIError,
    ConfigurationError,
    CredentialsError,
    GatewayError,
    InfrastructureError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    did_you_mean,
)
from pytest_babyai.gateway.toml_files import read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_babyai.gateway.configuration import GatewayConfiguration

_MAX_LINE_CHARS = 200
_MAX_CONFIGURATION_CHARS = 400
_MIN_SECRET_CHARS = 4
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_SERVER_ERROR = 500

_KEY = re.compile(r"(?i)(\bBearer\s+)[^\s\"',;}]+|\b(?:sk|pk|gsk|xai)[-_][\w*.-]{6,}")
_TAG = re.compile(r"<(?:script|style).*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_HTML = re.compile(r"(?i)<!doctype html|<html|<body")

_PROVIDER_FAILURE = re.compile(r"(?:errors: |, )[^\s:,]+: (?=Error |Model provider |API key )")
_WITH_STATUS = re.compile(
    r"Error (?P<status>\d{3}) .*?from (?P<who>\S+) client: (?P<body>.*)", re.DOTALL
)
_SERVER = re.compile(r"Error from (?P<who>\S+) server: (?P<body>.*)", re.DOTALL)
_UNREACHABLE = re.compile(
    r"Error from (?P<who>\S+) client: Error sending request: .*?\((?P<url>.*?)\)"
)
_MISSING_KEY = re.compile(r"API key missing for provider (?P<provider>[^:]+):.*?`(?P<name>\w+)`")

_HOPELESS = re.compile(
    r"(?i)invalid_request_error|model_not_found|not_found_error|NotFoundError|404 page not found"
    r"|\"detail\"\s*:\s*\"Not Found\"|model .{0,80}(?:not found|does not exist)|\"code\"\s*:\s*404"
)
"""Marks of answers that repeating cannot mend, among those whose status TensorZero withholds."""
_QUOTA = re.compile(r"(?i)insufficient_quota|exceeded your current quota|billing")

_WAIT = re.compile(
    r"(?i)(?:again|retry\w*)\W{0,4}(?:after\w*|in|delay)?\W{0,4}"
    r"(?P<duration>(?:\d+(?:\.\d+)?\s*[a-z]*)+)"
)
_DURATION_PART = re.compile(r"(?i)(\d+(?:\.\d+)?)\s*(ms|milli|[hms])?")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "milli": 1e-3, "": 1.0}


class Scrubber:
    """Makes a text fit for a message: no keys in it, one line, of bounded length."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS}
        self._secrets = sorted(known, key=len, reverse=True)

    def __call__(self, text: str, max_chars: int = _MAX_LINE_CHARS) -> str:
        """Returns ``text`` as one line of at most ``max_chars`` characters, keys masked."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _KEY.sub(lambda match: f"{match[1] or ''}***", text)
        if _HTML.search(text):
            text = f"an HTML page: {_TAG.sub(' ', text)}"
        line = " ".join(text.split())
        return line if len(line) <= max_chars else f"{line[: max_chars - 1]}…"


def inference_failure(
    status: int | None, text: str, *, variants: Sequence[str], scrub: Scrubber
) -> BabyAIError:
    """Names the failure of one inference.

    Args:
        status: Status of the gateway's answer, None where there was none.
        text: What the gateway said.
        variants: Variants that the gateway should know.
        scrub: Masks keys.
    """
    message = gateway_message(text)
    if status is None:
        return _transport_failure(message, scrub)
    known = _usage_failure(status, message, variants, scrub)
    if known is not None:
        return known
    if status == _REQUEST_TIMEOUT:
        return RequestTimeoutError(scrub(message))
    if status == _TOO_MANY_REQUESTS:
        return RateLimitError(scrub(f"the gateway's own rate limit: {message}"))
    failures = [_provider_failure(part, scrub) for part in _provider_parts(message)]
    if not failures:
        return GatewayError(scrub(f"the gateway answered {status}: {message}"))
    return next((failure for failure in failures if failure.retryable), failures[0])


def _transport_failure(message: str, scrub: Scrubber) -> InfrastructureError:
    if "timed out" in message:
        return RequestTimeoutError("no answer within the request's time limit")
    return GatewayError(scrub(f"the gateway could not be reached: {message}"))


def _usage_failure(
    status: int, message: str, variants: Sequence[str], scrub: Scrubber
) -> BabyAIError | None:
    """Names what concerns the whole run and not this one request, else returns None."""
    unknown = re.match(r"Unknown variant: (.*)", message)
    if unknown:
        name = unknown[1].strip()
        others = [variant for variant in variants if variant != name]
        return ConfigurationError(
            f"the gateway knows no variant {name!r}: {scrub(did_you_mean(name, others))}"
        )
    missing = _MISSING_KEY.search(message)
    if missing:
        return _missing_key(missing)
    if status in {401, 403}:
        return CredentialsError(
            f"the gateway refused TENSORZERO_API_KEY ({status}): {scrub(message)}"
        )
    if status < _SERVER_ERROR and status not in {_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS}:
        line = scrub(message, _MAX_CONFIGURATION_CHARS)
        return ConfigurationError(f"the gateway refused the request: {line}")
    if message.startswith("Error rendering template"):
        return ConfigurationError(scrub(message, _MAX_CONFIGURATION_CHARS))
    return None


def _missing_key(match: re.Match[str], where: str = "") -> CredentialsError:
    return CredentialsError(
        f"{where}{match['provider']} needs the environment variable {match['name']}, which is not "
        f"set; set it (export {match['name']}=...) or play without a key: --babyai-model offline"
    )


def gateway_message(text: str) -> str:
    """Returns what the body of an error says."""
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text


def _provider_parts(message: str) -> list[str]:
    return [part.strip() for part in _PROVIDER_FAILURE.split(message)[1:]]


def _provider_failure(part: str, scrub: Scrubber) -> InfrastructureError:
    with_status = _WITH_STATUS.match(part)
    if with_status:
        return _status_failure(int(with_status["status"]), with_status, scrub)
    if "timed out" in part:
        return RequestTimeoutError(scrub(part))
    unreachable = _UNREACHABLE.match(part)
    if unreachable:
        return ProviderError(scrub(f"{unreachable['who']} gave no answer at {unreachable['url']}"))
    server = _SERVER.match(part)
    if not server:
        return ProviderError(scrub(part))
    return ProviderError(
        scrub(f"{server['who']} failed: {_provider_message(server['body'])}"),
        retryable=not _HOPELESS.search(server["body"]),
        retry_after_s=requested_wait_s(server["body"]),
    )


def _status_failure(status: int, match: re.Match[str], scrub: Scrubber) -> InfrastructureError:
    body = match["body"]
    reason = "refused the credentials" if status in {401, 403} else "answered"
    line = scrub(f"{match['who']} {reason} ({status}): {_provider_message(body)}")
    if status == _TOO_MANY_REQUESTS:
        return RateLimitError(
            line,
            retryable=not _QUOTA.search(body),
            retry_after_s=requested_wait_s(body),
            provider_status=status,
        )
    if status == _REQUEST_TIMEOUT:
        return RequestTimeoutError(line, provider_status=status)
    return ProviderError(line, retryable=status >= _SERVER_ERROR, provider_status=status)


def _provider_message(body: str) -> str:
    """Returns the message of an OpenAI-style error body, else the body."""
    body = body.replace("Error parsing JSON response:", "not an API answer:")
    try:
        error = json.loads(body)
        error = error.get("error", error)
        return str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError):
        return body


def requested_wait_s(body: str) -> float | None:
    """Reads how long a provider's message asks to wait, in seconds.

    Understands ``try again in 1m2.5s``, ``retry after 20 seconds``, ``"retryDelay": "7s"`` and
    ``"retry_after": 3``.
    """
    found = _WAIT.search(body)
    if not found:
        return None
    if "_ms" in found[0]:
        return float(_DURATION_PART.findall(found["duration"])[0][0]) * 1e-3
    parts = _DURATION_PART.findall(found["duration"])
    return sum(float(number) * _UNIT_S[unit.lower()] for number, unit in parts)


def build_failure(
    text: str, configuration: GatewayConfiguration, merged_file: str, scrub: Scrubber
) -> BabyAIError:
    """Names why TensorZero refused a configuration.

    Args:
        text: What TensorZero said.
        configuration: Whose files are to be named.
        merged_file: Path of the merged file that TensorZero was given.
        scrub: Masks keys.
    """
    quoted = re.search(r'message: "((?:[^"\\]|\\.)*)"', text)
    message = quoted[1] if quoted else text
    message = re.sub(r"\\(['\"])", r"\1", message).replace("\\n", " ").replace("\\\\", "\\")
    missing = _MISSING_KEY.search(message)
    if missing:
        return _missing_key(missing, f"{configuration.model_file}: ")
    where = str(_declaring_file(message, configuration))
    return ConfigurationError(
        f"{where}: {scrub(message.replace(merged_file, where), _MAX_CONFIGURATION_CHARS)}"
    )


def _declaring_file(message: str, configuration: GatewayConfiguration) -> Path:
    """Finds the file that declares most of the dotted key which a message is about."""
    files = configuration.files or (configuration.model_file,)
    dotted = re.search(r"[\w-]+(?:\.[\w-]+)+", message)
    if not dotted:
        return files[0]
    return max(files, key=lambda file: _depth(read_toml(file).tree, dotted[0].split(".")))


def _depth(tree: Any, key: list[str]) -> int:
    if not key or not isinstance(tree, dict) or key[0] not in tree:
        return 0
    return 1 + _depth(tree[key[0]], key[1:])
