"""The commands around the plugin, one module each.

Every module has ``add(commands)``, which adds its parser and names the function that yields the
lines to print. What that function returns is the exit code, None stands for 0; what a user did
wrong is raised as `UsageError`.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Final

from pytest_babyai.commands.parsing import CommandParser, check_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

COMMANDS: Final = (
    *("init", "runs", "show", "report", "compare", "play", "store", "record"),
    *("dataset", "finetune", "learning_curve", "learn"),
)
"""Modules of this room, in the order of the help text."""


def parse_command(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads a command line.

    Args:
        arguments: The command and what follows it; None takes those of this process.

    Returns:
        What was chosen: ``command`` names the command, ``lines`` is its function.

    Raises:
        UsageError: An argument is wrong, missing or unknown.
    """
    parser = CommandParser(
        prog="python -m pytest_babyai",
        description="Commands around the plugin: look into runs, compare them, learn from them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"pytest_babyai.commands.{name}").add(commands)
    given = sys.argv[1:] if arguments is None else arguments
    check_command(given, list(commands.choices))
    return parser.parse_args(given)
