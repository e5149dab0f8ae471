"""Reads YAML as its writer means it: no octal numbers, no key twice."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_MAX_SHOWN = 40


def read_yaml(path: Path) -> Any:
    """Reads a YAML file; one that is missing or empty gives None.

    Raises:
        SettingsError: It cannot be read or is malformed; the line names file and line.
    """
    if not os.path.lexists(path):
        return None
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: malformed YAML: not UTF-8 text") from None
    except RecursionError:
        raise SettingsError(f"{path}: malformed YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # the date of a 13th month is a ValueError
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SettingsError(f"{path}{line}: malformed YAML: {problem}") from None


class _Loader(yaml.SafeLoader):
    """Refuses by name what YAML 1.1 would read otherwise than it is written."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as inherited
        """Returns a mapping whose keys differ."""
        found: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in found:
                raise _refusal(key, "is given twice")
            found.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Returns a whole number that is written as one."""
        if not _DECIMAL.fullmatch(node.value):
            raise _refusal(
                node,
                "is another number in YAML (octal, hexadecimal or base 60); write it in decimals, "
                "or in quotes",
            )
        return self.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_decimal)


def _refusal(node: yaml.ScalarNode, problem: str) -> yaml.MarkedYAMLError:
    shown = repr(node.value[:_MAX_SHOWN])
    return yaml.MarkedYAMLError(problem=f"{shown} {problem}", problem_mark=node.start_mark)
