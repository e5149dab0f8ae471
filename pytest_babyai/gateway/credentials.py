"""Keys and passwords: which variables hold them, where else they stand, and who may see them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pytest_babyai.errors import SettingsError
from pytest_babyai.gateway import toml_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.gateway.models import ModelProvider
    from pytest_babyai.gateway.toml_files import Tree

CLICKHOUSE_OPTION: Final = "--babyai-clickhouse-url"

_CLICKHOUSE_EXAMPLE: Final = "http://user:password@localhost:8123/tensorzero"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
_NO_PROXY: Final = ("NO_PROXY", "no_proxy")

_URL: Final = re.compile(r"\A[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(
    r"(?i)key|token|secret|passw|pwd|credential|\bauth|authorization|signature|\bsig\b|^user$"
)
_NOT_A_LOCATION: Final = frozenset({"none", "sdk", "dynamic", "path"})
_MIN_TOKEN_CHARS: Final = 16
_MIN_SECRET_CHARS: Final = 4


_DEFAULTS: Final = {
    kind: f"{kind.upper()}_API_KEY"
    for kind in (
        "anthropic",
        "deepseek",
        "fireworks",
        "groq",
        "hyperbolic",
        "mistral",
        "openai",
        "openrouter",
        "together",
        "xai",
    )
}
"""Where TensorZero looks for a provider's key unless the configuration names another place."""


def missing_line(place: Path, name: str) -> str:
    """Returns the line that tells of a variable which is not set."""
    return (
        f"{place}: the environment variable {name} is not set; "
        f"set it (export {name}=...) or play without a key: --babyai-model offline"
    )


def missing_variable(tree: Tree, environ: Mapping[str, str]) -> str | None:
    """Returns the first variable that a tree asks for and that is not set, else None."""
    for location in _credential_locations(tree):
        variables = list(_variables_of(location))
        if variables and not any(environ.get(name) for name in variables):
            return variables[0]
    return None


def missing_default(
    providers: Iterable[ModelProvider], tree: Tree, environ: Mapping[str, str]
) -> str | None:
    """Returns the first variable that a shorthand model takes its key from and that is not set.

    TensorZero itself says so with the first request only.
    """
    for provider in providers:
        name = _DEFAULTS.get(provider.type)
        is_told = provider.type in toml_files.tables(tree, "provider_types")
        if name and provider.is_shorthand and not is_told and not environ.get(name):
            return name
    return None


def credential_variables(tree: Tree) -> Iterator[str]:
    """Yields the variables that a configuration takes keys from."""
    for location in _credential_locations(tree):
        yield from _variables_of(location)


def _credential_locations(tree: Tree) -> Iterator[Any]:
    for table in ("models", "embedding_models", "provider_types"):
        yield from toml_files.values_of(tree.get(table), "api_key_location")


def _variables_of(location: Any) -> Iterator[str]:
    """Yields the variables of ``"env::X"`` and of ``{default = "env::X", fallback = "env::Y"}``."""
    if isinstance(location, dict):
        for part in location.values():
            yield from _variables_of(part)
    elif isinstance(location, str) and location.startswith("env::"):
        yield location.removeprefix("env::")


def secrets_of(tree: Tree, environ: Mapping[str, str]) -> set[str]:
    """Returns everything in a configuration that may be told to nobody but a provider.

    These are the values of all variables that it names anywhere, of ``extra_headers``, of keys that
    stand in the file itself, and what is secret in its URLs.
    """
    found = {environ.get("TENSORZERO_API_KEY", "")}
    for table in ("gateway", "models", "embedding_models", "provider_types", "functions"):
        found.update(_secrets_in(tree.get(table), "", environ))
    return {secret for secret in found if len(secret) >= _MIN_SECRET_CHARS}


def _secrets_in(value: Any, name: str, environ: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, dict):
        is_header = name == "extra_headers" or "value" in value
        for key, part in value.items():
            yield from _secrets_in(part, name if is_header and key == "value" else key, environ)
    elif isinstance(value, list):
        for part in value:
            yield from _secrets_in(part, name, environ)
    elif isinstance(value, str):
        yield from _secrets_in_text(value, name, environ)


def _secrets_in_text(text: str, name: str, environ: Mapping[str, str]) -> Iterator[str]:
    kind, colons, rest = text.partition("::")
    if colons and kind in {"env", "path_from_env"}:
        yield from _lines_of(environ.get(rest, ""))
    elif colons and kind in _NOT_A_LOCATION:
        return
    elif _URL.match(text):
        yield from url_secrets(text, with_path=True)
    elif name == "extra_headers" or (_SECRET_NAME.search(name) and text not in _NOT_A_LOCATION):
        yield from (text, text.rpartition(" ")[2])  # without "Bearer" as well


def _lines_of(value: str) -> Iterator[str]:
    yield value
    yield from value.splitlines()  # a private key may be echoed line by line


def url_secrets(url: str, *, with_path: bool = False) -> Iterator[str]:
    """Yields what of a URL must not be told, as it stands and decoded, however malformed it is.

    Args:
        url: The URL.
        with_path: Whether parts of its path that look like tokens are secrets too.
    """
    head = url.rpartition("@")[0]
    user, _, password = (head.partition("//")[2] or head).partition(":")
    secrets = {password} if password else {user}
    before, _, query = url.partition("#")[0].partition("?")
    secrets |= {text for name, text in parse_qsl(query) if _SECRET_NAME.search(name)}
    secrets |= {
        text
        for name, _, text in (pair.partition("=") for pair in query.split("&"))
        if _SECRET_NAME.search(name)
    }
    if with_path:
        secrets |= set(filter(_is_token, before.partition("//")[2].split("/")[1:]))
    yield from (secrets | {unquote(secret) for secret in secrets}) - {""}


def _is_token(part: str) -> bool:
    has_digit = any(character.isdigit() for character in part)
    return len(part) >= _MIN_TOKEN_CHARS and has_digit


def public_url(url: str) -> str:
    """Returns a URL without user, password, query and fragment, however malformed it is."""
    head, _, rest = url.rpartition("@")
    scheme, separator, _ = head.partition("//")
    bare = f"{scheme}{separator}{rest}" if separator else rest
    return re.split(r"[?#]", bare, maxsplit=1)[0]


def check_clickhouse_url(url: str) -> None:
    """Refuses what is no URL of ClickHouse's HTTP interface.

    Raises:
        SettingsError: It is none.
    """
    if not is_http_url(url):
        raise SettingsError(
            f"{CLICKHOUSE_OPTION}: {public_url(url)!r} is no URL of ClickHouse's HTTP interface; "
            f"give one like {_CLICKHOUSE_EXAMPLE}"
        )


def is_http_url(url: str) -> bool:
    """Whether it is an absolute URL with a host and a port that can be connected to."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def uses_proxies(url: str) -> bool:
    """Whether a server may be reached through the user's proxies.

    Never one of this machine, and never without TLS: a proxy would read the password.
    """
    parts = urlsplit(url)
    return parts.scheme == "https" and parts.hostname not in _LOOPBACK


def keep_from_proxies(urls: Iterable[str]) -> None:
    """Makes this process reach its own machine, and what `uses_proxies` says, without a proxy.

    TensorZero's HTTP client reads the environment whenever it opens a pool of connections, so the
    exceptions stay in it. Nothing happens where no proxy is set.
    """
    if not any(os.environ.get(form) for name in _PROXIES for form in (name, name.upper())):
        return
    hosts = [urlsplit(url).hostname or "" for url in urls if not uses_proxies(url)]
    for name in _NO_PROXY:
        kept = [part.strip() for part in os.environ.get(name, "").split(",")]
        os.environ[name] = ",".join(filter(None, dict.fromkeys((*kept, *_LOOPBACK, *hosts))))
