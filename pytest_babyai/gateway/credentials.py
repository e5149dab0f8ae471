"""Which environment variables hold the keys of a configuration's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gateway import toml_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.gateway.models import ModelProvider
    from pytest_babyai.gateway.toml_files import Tree


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
