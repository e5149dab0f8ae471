"""Reads YAML as its writer means it: no octal numbers, no duplicate keys, words stay words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OTHER_INTEGER = "tag:yaml.org,2002:int"


def read_yaml(path: Path) -> Any:
    """Reads a YAML file; one that is missing or empty gives None.

    Raises:
        SettingsError: It cannot be read or is malformed; the line names file and line.
    """
    if not path.exists():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise SettingsError(f"{path}{line}: malformed YAML: {problem}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: malformed YAML: not UTF-8 text") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with what it reads otherwise than it is written refused by name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as inherited
        """Returns a mapping whose keys differ."""
        found: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = self.construct_object(key_node, deep=True)
            if key in found:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is given twice", key_node.start_mark
                )
            found.add(key)
        return super().construct_mapping(node, deep)

    def construct_decimal(self, node: yaml.ScalarNode) -> int:
        """Returns a whole number that is written as one."""
        text = self.construct_scalar(node)
        if _DECIMAL.fullmatch(text):
            return int(text)
        raise yaml.constructor.ConstructorError(
            None,
            None,
            f"{text} is {self.construct_yaml_int(node)} to YAML; write a plain decimal number",
            node.start_mark,
        )


_Loader.add_constructor(_OTHER_INTEGER, _Loader.construct_decimal)
