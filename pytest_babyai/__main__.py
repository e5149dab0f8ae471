"""``python -m pytest_babyai COMMAND``."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands import COMMANDS, run_command
from pytest_babyai.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 4
"""Exit code of a wrong argument, or of what cannot be read or written; pytest's own."""
INTERRUPTED = 130
"""Exit code after Ctrl-C; that of shells."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: the command's own, or 4 with one line on standard error.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = f"pytest_babyai {given[0]}" if given and given[0] in COMMANDS else "pytest_babyai"
    if sys.stdout is None:  # closed by whoever started this process
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show
    try:
        return _print(given)
    except UsageError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return USAGE_ERROR
    except (KeyboardInterrupt, click.Abort):
        print(f"{name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return 0
    except OSError as error:
        _discard_output()
        place = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {place}{error.strerror or error}", file=sys.stderr)
        return USAGE_ERROR


def _print(arguments: Sequence[str]) -> int:
    lines = run_command(arguments)
    try:
        while True:
            print(next(lines), flush=True)
    except StopIteration as end:
        return end.value or 0


def _discard_output() -> None:
    """Lets the interpreter end without a word on what it could not print."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
