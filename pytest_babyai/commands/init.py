"""``init``: a project to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.project import create_project

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("init", help="Copy the configuration and the suite into a directory.")
@click.argument("directory", default=Path(), type=click.Path(path_type=Path))
def command(directory: Path) -> Iterator[str]:
    """Yields how many files were written, and what to type next."""
    created = create_project(directory)
    if created.left:
        others = len(created.left) - 1
        rest = f" and {others} more file{'s' if others > 1 else ''}" if others else ""
        yield f"left as it is: {created.left[0]}{rest}"
    written = f"{len(created.written)} files written" if created.written else "nothing was missing"
    yield f"{written}; now run: pytest {shlex.quote(str(directory / 'evals'))}"
