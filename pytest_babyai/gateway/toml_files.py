"""TensorZero's TOML files as trees: found, read, checked, merged, written.

TensorZero reads several files through one glob. That glob follows no symbolic link, walks all that
lies below its fixed part and trips over brackets in directory names, so the files are merged here
and handed over as one, with absolute paths.
"""

from __future__ import annotations

import functools
import itertools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from pytest_babyai.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

Tree = dict[str, Any]

CONFIGURATION_FILE: Final = "tensorzero.toml"

_ROLES = ("system", "user", "assistant")
_PATH_KEYS = frozenset(
    {
        "path",
        "parameters",
        "system_instructions",
        "output_schema",
        *(f"{role}_{kind}" for role in _ROLES for kind in ("template", "schema")),
    }
)
_TABLES_WITH_PATHS = frozenset({"functions", "tools", "evaluations"})
_OPAQUE_TABLES = frozenset({"extra_body", "extra_headers"})
"""Their contents go to the provider as they are; a "path" in there names no file."""
_BASE_OF_INCLUDES = ("gateway", "template_filesystem_access", "base_path")
"""A directory; any other ``base_path`` is one of the gateway's URLs."""

_BRACES = re.compile(r"\{([^{}]*)\}")


def find_files(source: Path) -> tuple[Path, ...]:
    """Returns the files of a configuration, the one called ``tensorzero.toml`` first.

    Args:
        source: A directory with a `CONFIGURATION_FILE`, a file, or a glob with ``*``, ``**``,
            ``?``, ``[a-z]`` and ``{this,that}``, as TensorZero's ``--config-file`` takes it.

    Raises:
        ConfigurationError: There is no such file.
    """
    if source.is_dir():
        files = [source / CONFIGURATION_FILE]
    elif source.is_file() or not is_glob(source):
        files = [source]
    else:
        patterns = _alternatives(str(source))
        files = sorted({found for pattern in patterns for found in _glob(pattern)})
    if not files:
        raise ConfigurationError(f"{source}: no file matches")
    return tuple(sorted(files, key=lambda path: (path.name != CONFIGURATION_FILE, path)))


def is_glob(source: Path) -> bool:
    """Returns whether a path that does not exist as it stands is a pattern."""
    return not source.exists() and not set("*?[{").isdisjoint(str(source))


def _alternatives(pattern: str) -> Iterator[str]:
    braces = _BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    for choice in braces[1].split(","):
        yield from _alternatives(pattern[: braces.start()] + choice + pattern[braces.end() :])


def _glob(pattern: str) -> Iterator[Path]:
    parts = Path(pattern).parts
    num_fixed = sum(1 for _ in itertools.takewhile(lambda part: not is_glob(Path(part)), parts))
    num_fixed = min(num_fixed, len(parts) - 1)
    fixed = Path(*parts[:num_fixed])
    return (path for path in fixed.glob("/".join(parts[num_fixed:])) if path.is_file())


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
    if key == _BASE_OF_INCLUDES:
        return True
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


def merge_files(files: Sequence[TomlFile], replace_path: Callable[[Path], str]) -> Tree:
    """Merges files table by table, with their paths replaced as `TomlFile.with_paths` does.

    Raises:
        ConfigurationError: A path names nothing, or two files give a value for the same key.
    """
    trees = [(file.path, file.with_paths(replace_path)) for file in files]
    for left, right in itertools.combinations(trees, 2):
        _refuse_duplicates(left, right)
    return functools.reduce(merge, (tree for _, tree in trees))


def _refuse_duplicates(left: tuple[Path, Tree], right: tuple[Path, Tree]) -> None:
    try:
        merge(left[1], right[1])
    except DuplicateKeyError as error:
        raise ConfigurationError(f"{right[0]}: {error} is also set in {left[0]}") from None


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
    """Writes a tree as TOML."""
    return tomli_w.dumps(tree)
