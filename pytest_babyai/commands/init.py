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
    written = create_project(chosen.directory)
    yield f"{len(written)} files written; now run: pytest {chosen.directory / 'evals'}"
