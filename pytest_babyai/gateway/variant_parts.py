"""What determines a variant's behaviour, as hashes: templates, schemas, models, tables."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import ConfigurationError
from pytest_babyai.gateway import toml_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gateway.toml_files import Tree

_INCLUDE = re.compile(
    r"""\{%[-+]?\s*(?:include|import|from|extends)\s+(["'])(?P<name>.+?)\1(?P<rest>.*?)%\}""",
    re.DOTALL,
)


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


_KEPT_OF_PROVIDERS = ("type", "model_name", "api_base")
_NOT_KEPT_OF_VARIANTS = ("extra_headers", "extra_body")


def variant_contents(contents: Tree, function_name: str, variant: str) -> dict[str, Any]:
    """Returns the parts of `variant_parts` themselves, as far as they are fit to be kept.

    Of a model only what its providers are, and nothing that goes out as a header or a body: these
    may hold secrets. A template is JSON: text by name, its own under the empty name.
    """
    parts = _parts(contents, function_name, variant)
    for name, part in parts.items():
        if name.startswith("model "):
            parts[name] = {
                key: {each: provider[each] for each in _KEPT_OF_PROVIDERS if each in provider}
                for key, provider in toml_files.tables(part or {}, "providers").items()
            }
    table = parts["variant table"]
    parts["variant table"] = {k: v for k, v in table.items() if k not in _NOT_KEPT_OF_VARIANTS}
    return {name: content for name, content in parts.items() if content}


def variant_parts(contents: Tree, function_name: str, variant: str) -> dict[str, str]:
    """Returns a hash for each part that determines a variant's behaviour.

    Args:
        contents: The configuration, with the text of files in the place of their paths.
        function_name: The function that has the variant.
        variant: Its name.
    """
    parts = _parts(contents, function_name, variant)
    return {name: hash_of(content) for name, content in parts.items() if content}


def _parts(contents: Tree, function_name: str, variant: str) -> dict[str, Any]:
    function = dict(contents["functions"][function_name])
    table = dict(function.pop("variants")[variant])
    for key in ("experimentation", "description"):
        function.pop(key, None)
    names = {str(name) for name in toml_files.values_of(table, "model")}
    models = toml_files.tables(contents, "models")
    parts: dict[str, Any] = {f"model {name}": models.get(name) for name in sorted(names)}
    parts |= {f"template {name}": text for name, text in _pop_tables(table, "templates")}
    parts |= {f"schema {name}": text for name, text in _pop_tables(function, "schemas")}
    parts["schema output"] = function.pop("output_schema", None)
    parts["variant table"] = table
    parts["function table"] = function
    return parts


def _pop_tables(table: dict[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    found = table.pop(key, None)
    yield from found.items() if isinstance(found, dict) else ()


def hash_of(content: Any) -> str:
    """Returns 16 hexadecimal digits over plain types."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
