"""The commands around the plugin, one module each.

Every module has ``add(commands)``, which adds its parser and names the function that yields the
lines to print. What that function returns is the exit code, None stands for 0; what a user did
wrong is raised as `UsageError`.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Final

COMMANDS: Final = (
    *("init", "runs", "show", "report", "compare", "store", "record"),
    *("dataset", "finetune", "learning_curve", "learn"),
)
"""Modules of this room, in the order of the help text."""


def command_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="python -m pytest_babyai",
        description="Commands around the plugin: look into runs, compare them, learn from them.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        importlib.import_module(f"pytest_babyai.commands.{name}").add(commands)
    return parser
