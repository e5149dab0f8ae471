"""Command line and ini file, translated into sources of settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pytest

from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.settings.definitions import DEFINITIONS, SettingDefinition

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_babyai.settings.sources import Source

_PREFIX: Final = "--babyai-"

GATES: Final = "babyai-gates"
"""Node id under which the gates stand."""


def add_options(parser: pytest.Parser) -> None:
    """Declares every setting as an option and as an ini value."""
    group = parser.getgroup("babyai", "BabyAI-Text episodes")
    for definition in DEFINITIONS:
        group.addoption(
            definition.flag,
            dest=_destination(definition),
            metavar=definition.metavar,
            default=None,
            help=definition.help.replace("%", "%%"),
            **_action(definition),
        )
        parser.addini(definition.ini, help=definition.help, type=definition.ini_type, default=None)


def _action(definition: SettingDefinition) -> dict[str, Any]:
    if definition.repeatable:
        return {"action": "append"}
    return {} if definition.bare is None else {"nargs": "?", "const": definition.bare}


def complete_options(arguments: list[str]) -> None:
    """Gives options that stand without a value their meaning, in place.

    ``--babyai-resume evals`` would otherwise take the path for the name of a run.
    """
    bare = {each.flag: each.bare for each in DEFINITIONS if each.bare is not None}
    arguments[:] = [
        f"{argument}={bare[argument]}" if argument in bare else argument for argument in arguments
    ]


def refuse_unknown_options(parser: pytest.Parser, arguments: Sequence[str]) -> None:
    """Names the option that was meant, where one of ours is misspelt; pytest does not.

    Raises:
        pytest.UsageError: There is no such option.
    """
    flags = [each.flag for each in DEFINITIONS]
    given = {argument.partition("=")[0] for argument in arguments}
    if not any(flag.startswith(_PREFIX) for flag in given.difference(flags)):
        return
    _, unknown = parser.parse_known_and_unknown_args(list(arguments))
    for argument in unknown:
        flag = argument.partition("=")[0]
        if flag.startswith(_PREFIX):
            raise pytest.UsageError(f"unknown option {flag}; {did_you_mean(flag, flags)}")


def check_options(config: pytest.Config) -> None:
    """Parses the command line's options alone, so that a typo ends the run before it starts.

    Raises:
        pytest.UsageError: An option is wrong.
    """
    if all(config.getoption(_destination(each)) is None for each in DEFINITIONS):
        return
    from pytest_babyai.settings.sources import parse_source

    try:
        parse_source(command_line(config))
    except SettingsError as error:
        raise pytest.UsageError(str(error)) from None


def command_line(config: pytest.Config) -> Source:
    """Returns the options given on the command line."""
    from pytest_babyai.settings.sources import Source

    values = {each.key: config.getoption(_destination(each)) for each in DEFINITIONS}
    return Source(values, lambda definition: definition.flag)


def ini_file(config: pytest.Config) -> Source:
    """Returns the values of the ini file.

    Raises:
        SettingsError: pytest itself finds a value of the wrong type.
    """
    from pytest_babyai.settings.sources import Source, check_ini_names

    place = config.inipath.name if config.inipath else "ini file"
    check_ini_names(getattr(config, "_inicfg", None) or config.inicfg, place)
    values = {each.key: _ini_value(config, each, place) for each in DEFINITIONS}
    return Source(values, lambda definition: f"{place}: {definition.ini}")


def _ini_value(config: pytest.Config, definition: SettingDefinition, place: str) -> Any:
    try:
        return config.getini(definition.ini)
    except (TypeError, ValueError, pytest.UsageError) as error:
        found = str(error).rpartition(":")[2].strip()
        raise SettingsError(
            f"{place}: {definition.ini}: {found} is not {definition.expected}"
        ) from None


def given_options(config: pytest.Config, without: Collection[str] = ()) -> list[str]:
    """Returns the ``--babyai-…`` options of the command line, wherever pytest found them.

    Args:
        config: pytest's configuration.
        without: Names of settings to leave out.
    """
    given: list[str] = []
    for definition in DEFINITIONS:
        value = config.getoption(_destination(definition))
        if value is not None and definition.name not in without:
            values = value if isinstance(value, list) else [value]
            given.extend(f"{definition.flag}={each}" for each in values)
    return given


def location_options(config: pytest.Config) -> list[str]:
    """Returns the options that decide where pytest finds its settings: -c, --rootdir and -o."""
    option = config.option
    named = {"--config-file": option.inifilename, "--rootdir": option.rootdir}
    located = [f"{flag}={value}" for flag, value in named.items() if value]
    return [*located, *(f"--override-ini={value}" for value in option.override_ini or ())]


def local_nodeid(config: pytest.Config, nodeid: str) -> str:
    """Returns a node id as it has to be typed in the directory that pytest was started in."""
    path, separator, rest = nodeid.partition("::")
    here = config.invocation_params.dir
    if here == config.rootpath:
        return nodeid
    return os.path.relpath(config.rootpath / path, here) + separator + rest


def given_flags(config: pytest.Config) -> list[str]:
    """Returns the flags of the ``--babyai-…`` options on the command line."""
    return [d.flag for d in DEFINITIONS if config.getoption(_destination(d)) is not None]


def is_worker(config: pytest.Config) -> bool:
    """Returns whether this process is one of pytest-xdist's workers."""
    return hasattr(config, "workerinput")


def distributes(config: pytest.Config) -> bool:
    """Returns whether this process hands tests out to workers of pytest-xdist."""
    return config.getoption("dist", default="no") != "no" and not is_worker(config)


def _destination(definition: SettingDefinition) -> str:
    return f"babyai_{definition.key}"
