"""Files that are written wholly or not at all, and a lock that ends with its process."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: a reader meets the old content or the new one.

    Raises:
        OSError: It cannot be written; the old content is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file as a whole.

    Raises:
        OSError: It cannot be written; the old content is kept.
    """
    write_bytes(path, json.dumps(value, indent=2, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """Returns a JSON file's content; None if there is no such file or it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def append_json_line(path: Path, value: Any) -> None:
    """Adds a line to a JSON Lines file.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("ab") as file:
        file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_json_lines(path: Path) -> list[Any]:
    """Returns the lines of a JSON Lines file without a last one that was cut off."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [value for line in lines if (value := _read_line(line)) is not None]


def _read_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


class FileLock:
    """A lock on a file, held by one process at a time; the system frees it when that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Takes the lock; tells whether it was free."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Frees the lock; does nothing if it is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __enter__(self) -> FileLock:  # noqa: PYI034 - Self needs Python 3.11
        """Does nothing: whether the lock is free is for `acquire` to tell."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Frees the lock."""
        self.release()
