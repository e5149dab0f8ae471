"""Options that several commands share, and how their functions get them."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Lines = TypeVar("_Lines", bound="Iterator[str]")

RUN_HELP: Final = "RUN is the id of a run, any end of it, or 'latest'."
PATH: Final = click.Path(path_type=Path)

root_option = click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIR",
    help="pytest's root (default: here)",
)
config_option = click.option(
    "--config", type=PATH, metavar="DIR", help="configuration (default: config of --root)"
)
fail_option = click.option(
    "--fail",
    multiple=True,
    metavar="RULE",
    help="a gate, such as 'success>=0.8' or 'success<-0.05@95%'; exit code 1 if it fails "
    "(may be repeated)",
)


def with_options(lines: Callable[[SimpleNamespace], _Lines]) -> Callable[..., _Lines]:
    """Gives a command's function all options as the attributes of one object."""

    @functools.wraps(lines)
    def callback(**options: Any) -> _Lines:
        return lines(SimpleNamespace(**options))

    return callback


def refuse_several(chosen: SimpleNamespace, *names: str) -> None:
    """Refuses options that exclude each other.

    Raises:
        SettingsError: More than one of them is given.
    """
    given = [name for name in names if getattr(chosen, name) is not None]
    if len(given) > 1:
        first, second = (f"--{name.replace('_', '-')}" for name in given[:2])
        raise SettingsError(f"{first} and {second} exclude each other; give one of them")
