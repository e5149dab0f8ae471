"""The commands around the plugin, one module each, imported when its command is given.

A module has ``command``, a `click.Command` whose callback yields the lines to print. What it
returns is the exit code, None stands for 0; what a user did wrong is raised as `UsageError`.
"""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import click

from pytest_babyai.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

PROGRAM: Final = "python -m pytest_babyai"
COMMANDS: Final = (
    *("init", "runs", "show", "report", "compare", "judge", "merge", "play", "store", "record"),
    *("dataset", "finetune", "learning-curve", "learn"),
)
"""Commands in the order of the help text; the module of one has ``_`` for ``-``."""


class LazyGroup(click.Group):
    """Imports a command's module when the command, or the help of all, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the library's
        """Returns the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the library's
        """Imports a command, None where there is no such one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


commands = LazyGroup(
    "pytest_babyai",
    help="Commands around the plugin: look into runs, compare them, learn from them.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=False,
)


def run_command(arguments: Sequence[str]) -> Generator[str, None, int | None]:
    """Reads a command line and does what it says, yielding the lines to print.

    Returns:
        The exit code; None stands for 0.

    Raises:
        UsageError: An argument is wrong, missing or unknown; or as the command does.
    """
    _check_command(arguments)
    try:
        lines = commands.main(list(arguments), PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        raise UsageError(_one_line(error)) from None
    if isinstance(lines, int):  # the help was asked for, and has been printed
        return lines
    code: int | None = yield from lines
    return code


def options_of(arguments: Sequence[str]) -> SimpleNamespace:
    """Reads a command line, does nothing, and returns what its command would get.

    Raises:
        UsageError: An argument is wrong, missing or unknown.
    """
    _check_command(arguments)
    context = click.Context(commands, info_name=PROGRAM, **commands.context_settings)
    try:
        name, command, rest = commands.resolve_command(context, list(arguments))
        assert command is not None
        return SimpleNamespace(**command.make_context(name, rest, parent=context).params)
    except click.ClickException as error:
        raise UsageError(_one_line(error)) from None


def _check_command(arguments: Sequence[str]) -> None:
    if not arguments:
        raise UsageError(f"no command; choose from {', '.join(COMMANDS)}")
    if arguments[0] not in {*COMMANDS, "-h", "--help"}:
        hint = did_you_mean(arguments[0], COMMANDS)
        raise UsageError(f"unknown command {arguments[0]!r}; {hint}")


def _one_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.NoSuchOption):
        options: list[Any] = context.command.params if context else []
        known = [flag for option in options for flag in option.opts if flag.startswith("--")]
        return f"unknown option {error.option_name}; {did_you_mean(error.option_name, known)}"
    message = " ".join(error.format_message().split()).removesuffix(".")
    more = f"; {context.command_path} --help tells more" if context else ""
    return f"{message[:1].lower()}{message[1:]}{more}"
