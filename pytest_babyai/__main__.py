"""Commands around the plugin: ``python -m pytest_babyai COMMAND``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.errors import UsageError
from pytest_babyai.project import create_project

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 4
"""Exit code of a wrong argument; pytest's own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0, or 4 with one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="python -m pytest_babyai", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="copy the configuration and the suite into a directory")
    init.add_argument("directory", nargs="?", default=".", type=Path, help="default: this one")
    chosen = parser.parse_args(arguments)
    try:
        written = create_project(chosen.directory)
    except UsageError as error:
        print(f"pytest_babyai init: {error}", file=sys.stderr)
        return USAGE_ERROR
    print(f"{len(written)} files written; now run: pytest {chosen.directory / 'evals'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
