"""Directories that nobody but the user can read, and that git ignores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

HOME: Final = ".babyai"
"""Name of the directory that holds all that runs leave behind."""

_MODE: Final = 0o700


def make_private(directory: Path) -> None:
    """Makes a directory for the user alone, and `HOME` above it, if it lies in one, as well.

    A directory that exists, from an earlier version or with a wider umask, is made private too.

    Raises:
        OSError: It cannot be made.
    """
    home = next((path for path in (directory, *directory.parents) if path.name == HOME), None)
    if home is not None:
        home.mkdir(mode=_MODE, parents=True, exist_ok=True)
        home.chmod(_MODE)
        ignored = home / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", encoding="ascii")
    directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
    directory.chmod(_MODE)
