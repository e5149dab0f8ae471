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
    written = create_project(directory)
    suite = shlex.quote(str(directory / "evals"))
    yield f"{len(written)} files written; now run: pytest {suite}"
