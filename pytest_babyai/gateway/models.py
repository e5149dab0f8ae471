"""Which models answer: the providers that stand behind a variant, and how they are named."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pytest_babyai.errors import ConfigurationError, did_you_mean
from pytest_babyai.gateway import toml_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_babyai.gateway.toml_files import Tree

OFFLINE_NAME: Final = "babyai-offline"
"""What the offline server's models are called, or begin with."""

MODEL_KEYS: Final = ("model", "embedding_model")
CANDIDATES: Final = "candidates"

_SHORTHAND = "::"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OFFLINE_PREFIXES = (OFFLINE_NAME, f"ft:{OFFLINE_NAME}:")
_NAME_KEYS = ("model_name", "model_id", "deployment_id", "endpoint_name", "type")


@dataclass(frozen=True)
class ModelProvider:
    """One provider that may answer.

    Attributes:
        model: The model's name in the configuration, or its shorthand.
        type: Type of the provider, such as ``"openai"``.
        name: What the provider calls the model.
        is_offline: Whether the offline server answers, and no language model of a provider.
        is_shorthand: Whether the configuration names it in short and defines nothing of it.
    """

    model: str
    type: str
    name: str
    is_offline: bool
    is_shorthand: bool = False


def is_placeholder(provider: Tree) -> bool:
    """Returns whether a provider's port is 0 of this machine: a server that starts with the run."""
    return _loopback_port(provider) == 0


def providers_of(tree: Tree, model: str, key: str = "model") -> tuple[ModelProvider, ...]:
    """Returns who may answer for a model, in the order in which they are asked.

    Args:
        tree: The configuration.
        model: A model's name, or a shorthand such as ``openai::gpt-4o-mini``.
        key: ``model``, or ``embedding_model``.

    Raises:
        ConfigurationError: There is no such model.
    """
    defined = toml_files.tables(tree, f"{key}s")
    if model in defined:
        table = toml_files.tables(defined, model)
        declared = toml_files.tables(table, "providers")
        routing = [name for name in table.get("routing", ()) if name in declared] or list(declared)
        return tuple(_provider(model, toml_files.tables(declared, name)) for name in routing)
    kind, separator, name = model.partition(_SHORTHAND)
    if separator:
        return (ModelProvider(model, kind, name, is_offline=False, is_shorthand=True),)
    hint = did_you_mean(model, defined)
    raise ConfigurationError(f"{key} {model!r} is not defined; {hint}")


def models_of_variant(variants: Tree, name: str) -> Iterator[tuple[str, str]]:
    """Yields the models that a variant asks, as pairs of a key of `MODEL_KEYS` and a name.

    Those of its candidates, its judge or its fuser are among them.
    """
    for table in _tables_of_variant(variants, name, frozenset()):
        for key in MODEL_KEYS:
            yield from ((key, str(found)) for found in toml_files.values_of(table, key))


def reachable_variants(variants: Tree, names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the variants and those that they take candidates from."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += candidates_of(toml_files.tables(variants, name))
    return tuple(found)


def candidates_of(table: Tree) -> list[str]:
    """Returns the variants whose answers a variant chooses from or fuses."""
    return [str(name) for name in table.get(CANDIDATES, ())]


def _tables_of_variant(variants: Tree, name: str, seen: frozenset[str]) -> Iterator[Tree]:
    if name in seen:
        return
    table = toml_files.tables(variants, name)
    yield table
    for candidate in candidates_of(table):
        yield from _tables_of_variant(variants, candidate, seen | {name})


def with_model(table: Any, model: str) -> Any:
    """Returns a variant's table with another model, its judge's or fuser's included."""
    if isinstance(table, list):
        return [with_model(child, model) for child in table]
    if not isinstance(table, dict):
        return table
    return {
        key: model if key == "model" and isinstance(child, str) else with_model(child, model)
        for key, child in table.items()
    }


def label_of(providers: tuple[ModelProvider, ...], origins: Mapping[str, str]) -> str:
    """Names models for summaries: ``"gpt-4o-mini (openai)"``.

    Args:
        providers: Who may answer, each model's in the order in which they are asked.
        origins: Name by model of the file that was chosen for it; others are told by the type of
            their provider.
    """
    by_model: dict[str, list[ModelProvider]] = {}
    for provider in providers:
        by_model.setdefault(provider.model, []).append(provider)
    names: dict[str, dict[str, None]] = {}
    for model, routed in by_model.items():
        origin = origins.get(model) or ", ".join(dict.fromkeys(each.type for each in routed))
        asked = ", else ".join(dict.fromkeys(each.name for each in routed))
        names.setdefault(origin, {})[asked] = None
    return ", ".join(f"{', '.join(asked)} ({origin})" for origin, asked in names.items())


def offline_fingerprints(tree: Tree, models_dir: Path) -> dict[str, str]:
    """Returns what decides the answers of the offline server's models, hashed, by model.

    For a fine-tuned one the files that its training left, for the others the program itself.

    Args:
        tree: The configuration.
        models_dir: Where the offline server keeps fine-tuned models.
    """
    found = {}
    for model in toml_files.tables(tree, "models"):
        names = [each.name for each in providers_of(tree, model) if each.is_offline]
        if names:
            paths = [path for name in names for path in _files_behind(name, models_dir)]
            found[model] = _hash_of_files(paths)
    return found


def _files_behind(name: str, models_dir: Path) -> Iterator[Path]:
    if name.startswith(_OFFLINE_PREFIXES[1]):
        for job in sorted(models_dir.glob("jobs/*/job.json")):
            with suppress(OSError, ValueError, AttributeError):
                if json.loads(job.read_bytes()).get("fine_tuned_model") == name:
                    yield from sorted(path for path in job.parent.glob("model/**/*"))
    yield from sorted((Path(__file__).parents[1] / "offline").glob("*.py"))


def _hash_of_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _provider(model: str, table: Tree) -> ModelProvider:
    name = str(next((table[key] for key in _NAME_KEYS if table.get(key)), "unnamed"))
    # A server that was started by hand is told by its address and by its model: no provider's
    # model stands on this machine under that name.
    is_ours = _loopback_port(table) is not None and name.startswith(_OFFLINE_PREFIXES)
    offline = is_placeholder(table) or is_ours
    return ModelProvider(model, str(table.get("type", "unknown")), name, is_offline=offline)


def _loopback_port(provider: Tree) -> int | None:
    try:
        url = urlsplit(str(provider.get("api_base", "")))
        port = url.port
    except ValueError:
        return None
    return (port if port is not None else 80) if url.hostname in _LOOPBACK else None
