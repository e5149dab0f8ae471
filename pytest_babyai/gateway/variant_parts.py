"""What determines a variant's behaviour, part by part: templates, schemas, models, tables."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import ConfigurationError
from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.models import (
    MODEL_KEYS,
    candidates_of,
    models_of_variant,
    providers_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gateway.toml_files import Tree

_INCLUDE = re.compile(
    r"""\{%[-+]?\s*(?:include|import|from|extends)\s+(["'])(?P<name>.+?)\1(?P<rest>.*?)%\}""",
    re.DOTALL,
)
_KEPT_OF_PROVIDERS = ("type", "model_name", "api_base")
_NOT_KEPT = ("extra_headers", "extra_body")


class Contents:
    """Text of the files that a configuration names, and of the templates that these include."""

    def __init__(self, tree: Tree) -> None:
        access = toml_files.tables(tree, "gateway", "template_filesystem_access")
        self._include_dir = Path(access["base_path"]) if "base_path" in access else None

    def of(self, path: Path) -> str:
        """Returns the text of a file and of all it includes, nothing for a directory."""
        return "" if path.is_dir() else json.dumps(self._texts(path, {}))

    def _texts(self, path: Path, texts: dict[str, str], name: str = "") -> dict[str, str]:
        texts[name] = toml_files.read_text(path)
        if self._include_dir is None:
            return texts
        for include in _INCLUDE.finditer(texts[name]):
            included = self._include_dir / include["name"]
            if include["name"] in texts or self._may_be_missing(included, include["rest"]):
                continue
            if not included.is_file():
                raise ConfigurationError(
                    f"{path}: includes {include['name']!r}, but there is no {included}"
                )
            self._texts(included, texts, include["name"])
        return texts

    @staticmethod
    def _may_be_missing(included: Path, rest: str) -> bool:
        return "ignore missing" in rest and not included.exists()


def variant_contents(contents: Tree, function_name: str, variant: str) -> dict[str, Any]:
    """Returns the parts of `variant_parts` themselves, as far as they are fit to be kept.

    Of a model only what its providers are, and nothing that goes out as a header or a body: these
    may hold secrets. A template is JSON: text by name, its own under the empty name.
    """
    parts = _parts(contents, function_name, variant)
    kept = {name: _fit_to_keep(name, part) for name, part in parts.items()}
    return {name: content for name, content in kept.items() if content}


def variant_parts(contents: Tree, function_name: str, variant: str) -> dict[str, str]:
    """Returns a hash for each part that determines a variant's behaviour.

    A variant that chooses from others' answers, or fuses them, has their parts too.

    Args:
        contents: The configuration, with the text of files in the place of their paths.
        function_name: The function that has the variant.
        variant: Its name.
    """
    parts = _parts(contents, function_name, variant)
    return {name: hash_of(content) for name, content in parts.items() if content}


def model_hash(tree: Tree, variants: Tree, variant: str, salt: dict[str, Any]) -> str:
    """Returns a hash of all models that a variant asks, as the configuration defines them.

    Args:
        tree: The configuration.
        variants: The function's variants.
        variant: One of them.
        salt: By model, what else decides its answers, such as the bytes of its parameters.
    """
    named = sorted(set(models_of_variant(variants, variant)))
    return hash_of(
        [[key, name, tree.get(f"{key}s", {}).get(name), salt.get(name)] for key, name in named]
    )


def hash_of(content: Any) -> str:
    """Returns 16 hexadecimal digits over plain types."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _parts(
    contents: Tree, function_name: str, variant: str, seen: frozenset[str] = frozenset()
) -> dict[str, Any]:
    function = dict(contents["functions"][function_name])
    variants = function.pop("variants")
    table = dict(variants.get(variant, {}))
    for key in ("experimentation", "description"):
        function.pop(key, None)
    parts: dict[str, Any] = dict(_models(contents, table))
    parts |= {f"template {name}": text for name, text in _pop_tables(table, "templates")}
    parts |= {f"schema {name}": text for name, text in _pop_tables(function, "schemas")}
    parts["schema output"] = function.pop("output_schema", None)
    parts["variant table"] = table
    parts["function table"] = function
    parts |= {f"tool {name}": contents.get("tools", {}).get(name) for name in _tools(function)}
    for candidate in candidates_of(table):
        if candidate not in seen:
            own = _parts(contents, function_name, candidate, seen | {variant})
            parts |= {f"candidate {candidate}: {name}": part for name, part in own.items()}
    return parts


def _models(contents: Tree, table: Tree) -> Iterator[tuple[str, Any]]:
    """Yields a variant's models, and what the configuration says of their providers' types."""
    types = set()
    for key in MODEL_KEYS:
        for name in sorted({str(value) for value in toml_files.values_of(table, key)}):
            yield f"{key.replace('_', ' ')} {name}", contents.get(f"{key}s", {}).get(name)
            types |= {provider.type for provider in _known_providers(contents, name, key)}
    for kind in sorted(types):
        yield f"provider type {kind}", contents.get("provider_types", {}).get(kind)


def _known_providers(contents: Tree, name: str, key: str) -> Any:
    try:
        return providers_of(contents, name, key)
    except ConfigurationError:  # is told where the variant is played
        return ()


def _tools(function: Tree) -> list[str]:
    return [str(name) for name in function.get("tools", ())]


def _fit_to_keep(name: str, part: Any) -> Any:
    subject = name.rpartition(": ")[2]
    if subject.startswith(("model ", "embedding model ")):
        return {
            key: {each: provider[each] for each in _KEPT_OF_PROVIDERS if each in provider}
            for key, provider in toml_files.tables(part or {}, "providers").items()
        }
    if subject.startswith("provider type "):
        return None
    return _without(part, _NOT_KEPT) if subject == "variant table" else part


def _without(part: Any, names: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_without(child, names) for child in part]
    if not isinstance(part, dict):
        return part
    return {key: _without(child, names) for key, child in part.items() if key not in names}


def _pop_tables(table: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    found = table.pop(key, None)
    yield from found.items() if isinstance(found, dict) else ()
