"""``init``: a project to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.project import create_project

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "init", help="copy the configuration and the suite into a directory"
    )
    parser.add_argument("directory", nargs="?", default=".", type=Path, help="default: this one")
    parser.set_defaults(lines=_lines)


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    created = create_project(chosen.directory)
    if created.left:
        others = len(created.left) - 1
        rest = f" and {others} more file{'s' if others > 1 else ''}" if others else ""
        yield f"left as it is: {created.left[0]}{rest}"
    written = f"{len(created.written)} files written" if created.written else "nothing was missing"
    yield f"{written}; now run: pytest {chosen.directory / 'evals'}"
