"""Turns what TensorZero raises into the project's errors: one line, typed, free of secrets.

TensorZero reports every failure of a provider as its own status 500; what the provider answered
stands in the text alone, and of a provider's status only 400, 401, 403, 408 and 429 do. Headers are
lost, so a wait that the provider asks for is known only where its message repeats it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pytest_babyai.errors import (
    BabyAIError,
    ConfigurationError,
    ContextOverflowError,
    CredentialsError,
    GatewayError,
    InfrastructureError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestTimeoutError,
    SettingsError,
    StoreError,
    did_you_mean,
)
from pytest_babyai.gateway.credentials import CLICKHOUSE_OPTION, public_url
from pytest_babyai.gateway.toml_files import read_toml
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pytest_babyai.gateway.configuration import GatewayConfiguration

_MAX_LINE_CHARS = 200
_MAX_CONFIGURATION_CHARS = 400
_MIN_SECRET_CHARS = 4
_LONG = 8
_TOO_MANY_REQUESTS = 429
_REQUEST_TIMEOUT = 408
_PAYMENT_REQUIRED = 402
_SERVER_ERROR = 500

_QUOTED = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_NO_ANSWER = re.compile(r"(?i)refused|dns error|timed out|connect error|no route|unreachable")
_QUERY = re.compile(r"\?[^\s)]*")
_UNKNOWN_EPISODE = re.compile(r"Episode ID: (?P<id>\S+) does not exist")

_KEY = re.compile(
    r"(?i)(\b(?:Bearer|Basic)\s+)[^\s\"',;}]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|hf|ghp|github_pat|glpat|xox[a-z])[-_][\w*.-]{6,}"
    r"|\bAIza[\w-]{20,}|\bAKIA[0-9A-Z]{12,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=://)[^\s/@\"']+(?=@)"
)
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
_NO_CREDIT = re.compile(
    r"(?i)insufficient[ _](?:quota|credits?|balance|funds)|exceeded your current quota"
    r"|credit balance is too low|payment required|out of credits?|\"code\"\s*:\s*\"?402"
)
_CONTEXT_OVERFLOW = re.compile(
    r"(?i)context_length_exceeded|maximum context length|context (?:window|limit|size|length)"
    r"|prompt is too long|(?:input|prompt|request).{0,40}too (?:long|many tokens)"
    r"|(?:exceeds?|longer than).{0,60}(?:context|max_model_len)"
)
_NO_JSON_MODE = re.compile(r"(?i)response_format|json_object|json[ _]mode|json_schema")

_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
_DURATION = rf"(?P<duration>\d+(?:\.\d+)?\s*{_UNIT}(?:\s*(?:and\s+)?\d+(?:\.\d+)?\s*{_UNIT})*)"
_WAITING = r"again|retry|wait|reset|available|back ?off|come back|slow down"
_WAITS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:{_WAITING})[^\d]{{0,40}}?{_DURATION}",
        r"(?:again|retry\w*)\W{0,4}(?:after\w*|in|delay)?\W{0,4}(?P<duration>\d+(?:\.\d+)?)",
        rf"\b(?:after|in|for)\s+{_DURATION}",
    )
)
"""How messages name a wait: with a unit after a word of waiting, as the value of a field, at last
any span of time. A number beside ``per`` or ``limit`` is none."""
_DURATION_PART = re.compile(r"(?i)(\d+(?:\.\d+)?)\s*(ms|milli|[dhms])?")
_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "milli": 1e-3, "": 1.0}


class Scrubber:
    """Makes a text fit for a message: no keys in it, one line, of bounded length.

    Args:
        secrets: What must not be told, see `credentials.secrets_of`; masked as it stands and as
            URLs and JSON write it.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= _MIN_SECRET_CHARS}
        forms = {form for secret in known for form in _forms(secret)}
        self._secrets = sorted(forms, key=len, reverse=True)
        self._unmistakable = [secret for secret in self._secrets if len(secret) >= _LONG]

    def answer(self, text: str) -> str:
        """Returns a model's answer without secrets that are too long to be there by chance."""
        for secret in self._unmistakable:
            if secret in text:
                text = text.replace(secret, "***")
        return text

    def __call__(self, text: str, max_chars: int = _MAX_LINE_CHARS) -> str:
        """Returns ``text`` as one line of at most ``max_chars`` characters, keys masked."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = _KEY.sub(lambda match: f"{match[1] or ''}***", text)
        if _HTML.search(text):
            text = f"an HTML page: {_TAG.sub(' ', text)}"
        line = " ".join(text.split())
        return line if len(line) <= max_chars else f"{line[: max_chars - 1]}…"


def _forms(secret: str) -> tuple[str, ...]:
    return secret, quote(secret, safe=""), json.dumps(secret)[1:-1]


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
    return next(filter(_may_pass, failures), failures[0])


def _may_pass(failure: BabyAIError) -> bool:
    return isinstance(failure, InfrastructureError) and failure.retryable


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


def _provider_failure(part: str, scrub: Scrubber) -> BabyAIError:
    with_status = _WITH_STATUS.match(part)
    if with_status:
        status, who, body = int(with_status["status"]), with_status["who"], with_status["body"]
        return _answered_failure(status, who, body, scrub)
    if "timed out" in part:
        return RequestTimeoutError(scrub(part))
    unreachable = _UNREACHABLE.match(part)
    if unreachable:
        return ProviderError(scrub(f"{unreachable['who']} gave no answer at {unreachable['url']}"))
    server = _SERVER.match(part)
    if not server:
        return ProviderError(scrub(part))
    return _answered_failure(None, server["who"], server["body"], scrub)


def _answered_failure(status: int | None, who: str, body: str, scrub: Scrubber) -> BabyAIError:
    """Names what a provider answered; of most errors TensorZero withholds the status."""
    message = _provider_message(body)
    line = scrub(f"{who} answered ({status}): {message}" if status else f"{who} failed: {message}")
    wait_s = requested_wait_s(body)
    lasting = _lasting_failure(status, who, body, scrub) if wait_s is None else None
    if lasting is not None:
        return lasting
    if status == _TOO_MANY_REQUESTS:
        return RateLimitError(line, retry_after_s=wait_s, provider_status=status)
    if status == _REQUEST_TIMEOUT:
        return RequestTimeoutError(line, provider_status=status)
    return ProviderError(
        line,
        retryable=status >= _SERVER_ERROR if status else not _HOPELESS.search(body),
        retry_after_s=wait_s,
        provider_status=status,
    )


def _lasting_failure(
    status: int | None, who: str, body: str, scrub: Scrubber
) -> BabyAIError | None:
    """Names what every request of the run, or of the episode, would meet again."""
    message = _provider_message(body)
    if status == _PAYMENT_REQUIRED or _NO_CREDIT.search(body):
        return QuotaError(
            scrub(f"{who}: the account has no credit left: {message}", _MAX_CONFIGURATION_CHARS)
        )
    if status in {401, 403} and not _HTML.search(body):
        return CredentialsError(
            scrub(f"{who} refused the credentials ({status}): {message}", _MAX_CONFIGURATION_CHARS)
        )
    if status in {None, 400} and _CONTEXT_OVERFLOW.search(body):
        return ContextOverflowError(scrub(f"{who}: {message}"))
    if status in {None, 400} and _NO_JSON_MODE.search(body):
        return ConfigurationError(
            f"{who} refuses the format that the variants ask for: set their json_mode to "
            f'"off" in the configuration ({scrub(message)})'
        )
    return None


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

    Understands ``try again in 1m2.5s``, ``Please wait for 30 seconds``, ``resets in 2 minutes``,
    ``"retryDelay": "7s"``, ``"retry_after": 3`` and the like.
    """
    found = next(filter(None, (pattern.search(body) for pattern in _WAITS)), None)
    if not found:
        return None
    parts = _DURATION_PART.findall(found["duration"])
    if "_ms" in found[0]:
        return float(parts[0][0]) * 1e-3
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


def unknown_episode(episode_id: str, *, retryable: bool = True) -> StoreError:
    """Tells that feedback on an episode is not taken.

    Args:
        episode_id: The gateway's id of the episode.
        retryable: Whether the store may still get its inferences.
    """
    message = f"the store has nothing of episode {episode_id}, which was played without it"
    return StoreError(message, retryable=retryable)


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
    return StoreError(f"the store failed: {message}")
