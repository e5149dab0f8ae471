"""Where settings come from, and how the sources are merged."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.settings.definitions import DEFINITIONS, SettingDefinition
from pytest_babyai.settings.model import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SETTINGS_FILE = "babyai.yml"
"""Name of the settings file inside the configuration directory."""

_SHORTENED = reprlib.Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = 100


@dataclass(frozen=True, slots=True)
class Source:
    """Raw values from one place.

    Attributes:
        values: Raw value by `SettingDefinition.key`; None counts as not given.
        origin: Names the place of a key in an error line, such as ``--babyai-seed``.
    """

    values: Mapping[str, Any]
    origin: Callable[[SettingDefinition], str]


def resolve(sources: Iterable[Source]) -> Settings:
    """Merges sources, the strongest first.

    A source that gives ``episodes`` or ``seed`` overrules the ``seeds`` of weaker ones.

    Raises:
        SettingsError: A value is wrong; the line names its place and what would be right.
    """
    chosen: dict[str, Any] = {}
    for source in sources:
        given = parse_source(source)
        if {"episodes", "seed"} & chosen.keys():
            given.pop("seeds", None)
        chosen = {**given, **chosen}
    return Settings(**chosen)


def origin_of(name: str, sources: Iterable[Source]) -> str:
    """Returns the place that decides over a setting, such as ``--babyai-seed``; empty if none."""
    (definition,) = (each for each in DEFINITIONS if each.name == name)
    for source in sources:
        if source.values.get(definition.key) is not None:
            return source.origin(definition)
    return ""


def parse_source(source: Source) -> dict[str, Any]:
    """Reads one source into values by field name.

    Raises:
        SettingsError: As `resolve`.
    """
    parsed: dict[str, Any] = {}
    _refuse_both_kinds_of_seeds(source)
    for definition in DEFINITIONS:
        raw = source.values.get(definition.key)
        if raw is None:
            continue
        try:
            parsed[definition.name] = definition.parse(raw)
        except ValueError as error:
            place, found = source.origin(definition), _SHORTENED.repr(raw)
            raise SettingsError(f"{place}: {found} is not {error}") from None
    return parsed


def marker_source(arguments: Mapping[str, Any], place: str) -> Source:
    """Returns the source of a marker's keyword arguments.

    Args:
        arguments: Keyword arguments of ``@pytest.mark.babyai``.
        place: Node id of the test, for error lines.

    Raises:
        SettingsError: An argument is unknown.
    """
    allowed = [definition.key for definition in DEFINITIONS if definition.marker]
    _refuse_unknown(arguments, allowed, f"{place}: @pytest.mark.babyai", "argument")
    return Source(arguments, lambda d: f"{place}: @pytest.mark.babyai({d.key}=…)")


def read_settings_file(path: Path) -> Source:
    """Reads a YAML settings file; a missing or empty one gives nothing.

    Raises:
        SettingsError: The file cannot be read, is no YAML mapping, has an unknown key or one twice,
            or a number that YAML takes for another one.
    """
    from pytest_babyai.settings.yaml_files import read_yaml  # a run without episodes pays nothing

    values = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: expected 'name: value' lines, found {type(values).__name__}")
    known = [definition.key for definition in DEFINITIONS if definition.name != "config"]
    _refuse_unknown(values, known, str(path), "setting")
    return Source(values, lambda d: f"{path}: {d.key}")


def check_ini_names(names: Iterable[str], place: str) -> None:
    """Refuses entries of an ini file that look like a setting and are none.

    Args:
        names: All entries of pytest's section.
        place: Names the file.

    Raises:
        SettingsError: The line names the entry that was meant.
    """
    known = [definition.ini for definition in DEFINITIONS]
    given = {name: None for name in names if name.startswith("babyai_")}
    _refuse_unknown(given, known, place, "setting")


def _refuse_both_kinds_of_seeds(source: Source) -> None:
    by_key = {definition.key: definition for definition in DEFINITIONS}
    for other in ("episodes", "seed"):
        if source.values.get("seeds") is not None and source.values.get(other) is not None:
            seeds, second = source.origin(by_key["seeds"]), source.origin(by_key[other])
            raise SettingsError(f"{seeds} and {second} exclude each other; give one of them")


def _refuse_unknown(given: Mapping[str, Any], known: list[str], place: str, noun: str) -> None:
    for name in given:
        if name not in known:
            shown = _SHORTENED.repr(name)
            raise SettingsError(
                f"{place}: unknown {noun} {shown}; {did_you_mean(str(name)[:100], known)}"
            )
