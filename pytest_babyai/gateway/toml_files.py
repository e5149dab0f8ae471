"""TensorZero's TOML files as trees: read, checked, merged, written.

TensorZero reads several files through one glob. That glob follows no symbolic link, walks all that
lies below its fixed part and trips over brackets in directory names, so the files are merged here
and handed over as one, with absolute paths.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

Tree = dict[str, Any]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_PATH_KEYS = frozenset(
    {
        "path",
        "base_path",
        "parameters",
        "system_instructions",
        *(
            f"{role}_{kind}"
            for role in ("system", "user", "assistant")
            for kind in ("template", "schema")
        ),
        "output_schema",
    }
)
_TABLES_WITH_PATHS = frozenset({"functions", "tools", "evaluations", "gateway"})
_OPAQUE_TABLES = frozenset({"extra_body", "extra_headers"})
"""Their contents go to the provider as they are; a "path" in there names no file."""


@dataclass(frozen=True)
class TomlFile:
    """A parsed TOML file.

    Attributes:
        path: The file, as the user named it.
        tree: Its tables.
    """

    path: Path
    tree: Tree

    def with_paths(self, replace: Callable[[Path], str]) -> Tree:
        """Returns the tree with every path that TensorZero would resolve replaced.

        Args:
            replace: Given the path, seen from this file's directory; returns what stands for it.

        Raises:
            ConfigurationError: A path names nothing.
        """

        def visit(value: Any, key: tuple[str, ...]) -> Any:
            if isinstance(value, dict):
                return {name: visit(child, (*key, name)) for name, child in value.items()}
            if isinstance(value, list):
                return [visit(child, key) for child in value]
            if isinstance(value, str) and _names_a_path(key):
                return replace(self._existing(value, ".".join(key)))
            return value

        tree: Tree = visit(self.tree, ())
        return tree

    def _existing(self, value: str, key: str) -> Path:
        path = self.path.parent / value
        if not path.exists():
            raise ConfigurationError(f"{self.path}: {key} names {value!r}, but there is no {path}")
        return path


def _names_a_path(key: tuple[str, ...]) -> bool:
    return key[0] in _TABLES_WITH_PATHS and key[-1] in _PATH_KEYS and _OPAQUE_TABLES.isdisjoint(key)


def read_toml(path: Path) -> TomlFile:
    """Reads a TOML file.

    Raises:
        ConfigurationError: The file is missing, unreadable, or not TOML.
    """
    text = read_text(path)
    try:
        return TomlFile(path, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not valid TOML: {error}") from None


def read_text(path: Path) -> str:
    """Reads a UTF-8 file.

    Raises:
        ConfigurationError: The file is missing or unreadable.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None


def merge(left: Mapping[str, Any], right: Mapping[str, Any], key: tuple[str, ...] = ()) -> Tree:
    """Merges two trees table by table.

    Raises:
        DuplicateKeyError: Both give a value for the same key.
    """
    merged = dict(left)
    for name, value in right.items():
        if name not in merged:
            merged[name] = value
        elif isinstance(value, dict) and isinstance(merged[name], dict):
            merged[name] = merge(merged[name], value, (*key, name))
        else:
            raise DuplicateKeyError(".".join((*key, name)))
    return merged


class DuplicateKeyError(Exception):
    """Two trees give a value for the key that is this exception's text."""


def tables(tree: Any, *path: str) -> Tree:
    """Follows a path of tables; what is missing or no table counts as empty."""
    for name in path:
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    return tree if isinstance(tree, dict) else {}


def values_of(tree: Any, key: str) -> Iterator[Any]:
    """Yields every value that stands under ``key``, at any depth, in order."""
    if isinstance(tree, list):
        for child in tree:
            yield from values_of(child, key)
    elif isinstance(tree, dict):
        for name, child in tree.items():
            if name == key:
                yield child
            else:
                yield from values_of(child, key)


def to_toml(tree: Mapping[str, Any]) -> str:
    """Writes a tree as TOML, one line a top-level key."""
    return "".join(f"{_string(key)} = {_inline(value)}\n" for key, value in tree.items())


def dotted_lines(place: Sequence[str], table: Mapping[str, Any]) -> Iterator[str]:
    """Yields a table as a person writes it: a header, then a line a value, with dotted keys."""
    yield f"[{'.'.join(map(_key, place))}]"
    yield from _dotted("", table)


def _dotted(prefix: str, table: Mapping[str, Any]) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, dict) and value:
            yield from _dotted(f"{prefix}{_key(name)}.", value)
        else:
            yield f"{prefix}{_key(name)} = {_inline(value)}"


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _string(name)


def _inline(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    if isinstance(value, dict):
        pairs = (f"{_string(key)} = {_inline(child)}" for key, child in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return repr(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
