"""Rows that are acknowledged and not yet in the tables, in files that outlive this process."""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.gateway.clickhouse.connections import Context
from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_SUFFIX: Final = ".log"
_END: Final = b"\n"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Target(NamedTuple):
    """What INSERTs must have in common to be merged."""

    statement: str
    context: Context


class Record(NamedTuple):
    """Rows and the statement that writes them."""

    target: Target
    data: bytes


class Segment(NamedTuple):
    """A file of records that gets no more of them.

    Attributes:
        path: The file; its name was never another segment's.
        records: What it holds, in the order of their acknowledgement.
    """

    path: Path
    records: Sequence[Record]

    @property
    def token(self) -> str:
        """Identifies the segment's rows to the engine, which writes none of them twice."""
        return self.path.stem


class InsertLog:
    """Keeps records until their rows are in the tables.

    A record is in its file when `append` returns, as far as the operating system goes: it outlives
    this process, though not a machine that loses its power, as rows in the engine's tables do.

    Args:
        directory: Where the files lie; made when the first is written. What a process that ended
            suddenly has left there is taken over.

    Attributes:
        num_new_bytes: Bytes of the records that came since the last `sealed`.
        newest: Number of the segment that got the last record; numbers grow.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        paths = sorted(directory.glob(f"*{_SUFFIX}"))
        self._segments = [Segment(path, list(_records(path.read_bytes()))) for path in paths]
        self.newest = _number_of(paths[-1]) if paths else 0
        self._kept = set(map(_number_of, paths))
        self._open: _OpenSegment | None = None
        self.num_new_bytes = 0
        self._num_old_bytes = sum(map(_num_bytes, self._segments))

    @property
    def num_bytes(self) -> int:
        """Bytes of all records that are kept."""
        return self.num_new_bytes + self._num_old_bytes

    def append(self, record: Record) -> None:
        """Adds a record.

        Raises:
            EngineError: It could not be written; nothing of it is left.
        """
        try:
            if self._open is None:
                self._directory.mkdir(exist_ok=True)
                name = f"{self.newest + 1:08}-{secrets.token_hex(8)}{_SUFFIX}"
                self._open = _OpenSegment(self._directory / name)
                self.newest += 1
                self._kept.add(self.newest)
            self._open.append(record)
        except OSError as error:
            raise _refusal(error) from None
        self.num_new_bytes += len(record.data)

    def sealed(self) -> list[Segment]:
        """Returns all records by now, oldest first, in segments that stay as they are."""
        opened, self._open = self._open, None
        if opened is not None:
            self._segments.append(opened.close())
            self._num_old_bytes += self.num_new_bytes
            self.num_new_bytes = 0
        return list(self._segments)

    def keeps(self, number: int) -> bool:
        """Whether the rows of a segment may not be in the tables yet."""
        return number in self._kept

    def remove(self, segment: Segment) -> None:
        """Forgets a segment, as its rows are in the tables."""
        self._segments.remove(segment)
        self._kept.discard(_number_of(segment.path))
        self._num_old_bytes -= _num_bytes(segment)
        with suppress(OSError):
            segment.path.unlink()


def _number_of(path: Path) -> int:
    return int(path.stem.partition("-")[0])


class _OpenSegment:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: list[Record] = []
        self._num_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(path, flags, 0o600)

    def append(self, record: Record) -> None:
        told = b"%d %s\n" % (len(record.data), _told(record.target))
        num_bytes = len(told) + len(record.data) + len(_END)
        try:
            if os.writev(self._descriptor, (told, record.data, _END)) != num_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - cut off
        except OSError:
            os.ftruncate(self._descriptor, self._num_bytes)
            raise
        self._num_bytes += num_bytes
        self._records.append(record)

    def close(self) -> Segment:
        os.close(self._descriptor)
        return Segment(self._path, self._records)


def _num_bytes(segment: Segment) -> int:
    return sum(len(record.data) for record in segment.records)


@lru_cache(maxsize=256)
def _told(target: Target) -> bytes:
    database, settings = target.context
    return json.dumps([target.statement, database, settings]).encode()


@lru_cache(maxsize=256)
def _target_of(told: bytes) -> Target:
    statement, database, settings = json.loads(told)
    return Target(statement, Context(database, tuple((name, text) for name, text in settings)))


def _records(content: bytes) -> Iterator[Record]:
    """Yields the whole records; one that is cut off was never acknowledged."""
    place = 0
    while (line_end := content.find(b"\n", place)) >= 0:
        length, _, told = content[place:line_end].partition(b" ")
        end = line_end + 1 + int(length)
        if content[end : end + 1] != _END:
            return
        yield Record(_target_of(told), content[line_end + 1 : end])
        place = end + 1


def _refusal(error: OSError) -> EngineError:
    reason = f"The rows cannot be kept: {error.strerror}"
    if error.errno in _FULL:
        return EngineError(243, "NOT_ENOUGH_SPACE", reason)
    return EngineError(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", reason)
