"""Which feedback the store has acknowledged: a file beside the episodes of a run."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from pytest_babyai.errors import JournalError
from pytest_babyai.journal.entry import SCHEMA, encode_json
from pytest_babyai.journal.files import AppendFile, GroupWriter, size_of_whole_lines
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.journal.read import RunLog

FEEDBACK_FILE: Final = "feedback.jsonl"


class _Line(msgspec.Struct):
    episode_id: str
    metrics: list[str]


class FeedbackLog:
    """The acknowledgements of a run; the file is made by the first of them.

    What a crash kept from this file is sent once more, with the same values.

    Args:
        directory: The run's directory.
        open_file: Opens the file.

    Raises:
        JournalError: The file cannot be read.
    """

    def __init__(
        self, directory: Path, open_file: Callable[[Path], AppendFile] = AppendFile
    ) -> None:
        self.path = directory / FEEDBACK_FILE
        self._acknowledged = acknowledged_feedback(directory)
        self._open_file = open_file
        self._opening = threading.Lock()
        self._writer: GroupWriter | None = None

    def missing(self, episode_id: str, metrics: Sequence[str]) -> list[str]:
        """Returns the metrics of an episode that have not been acknowledged."""
        return [metric for metric in metrics if (episode_id, metric) not in self._acknowledged]

    async def acknowledge(self, episode_id: str, metrics: Sequence[str]) -> None:
        """Notes that the store has an episode's metrics; returns once that is durable.

        Raises:
            JournalError: It could not be written.
        """
        await self._opened().append_async(functools.partial(_line, episode_id, metrics))
        self._acknowledged.update((episode_id, metric) for metric in metrics)

    def acknowledge_now(self, episode_id: str, metrics: Sequence[str]) -> None:
        """As `acknowledge`, and blocks; safe from any thread.

        Raises:
            JournalError: It could not be written.
        """
        self._opened().append(functools.partial(_line, episode_id, metrics))
        self._acknowledged.update((episode_id, metric) for metric in metrics)

    def acknowledge_all(self, metrics_by_id: Mapping[str, Sequence[str]]) -> None:
        """Notes what the store has of many episodes; nothing makes no file.

        Raises:
            JournalError: It could not be written.
        """
        if metrics_by_id:
            lines = b"".join(_line(*episode) for episode in metrics_by_id.items())
            self._opened().append(lambda: lines)

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        with self._opening:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _opened(self) -> GroupWriter:
        with self._opening:
            if self._writer is None:
                self._writer = self._open()
            return self._writer

    def _open(self) -> GroupWriter:
        try:
            file = self._open_file(self.path)
            size = size_of_whole_lines(self.path)
            file.truncate(size)
        except OSError as error:
            raise _not_usable(self.path, error) from None
        return GroupWriter(self.path, file, size, "what is not noted is sent once more")


def acknowledged_feedback(directory: Path) -> set[tuple[str, str]]:
    """Returns the acknowledged pairs of episode id and metric; damaged lines count as none.

    Raises:
        JournalError: The file cannot be read.
    """
    path = directory / FEEDBACK_FILE
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise _not_usable(path, error) from None
    return {pair for line in lines for pair in _pairs(line)}


def scored_episodes(log: RunLog) -> Iterator[EpisodeResult]:
    """Yields every score of a run once, without its trajectory.

    Raises:
        JournalError: The run cannot be read.
    """
    seen: set[str] = set()
    for entry in log.entries(with_steps=False):
        outcome = entry.outcome
        if isinstance(outcome, EpisodeResult) and outcome.episode_id not in seen:
            seen.add(outcome.episode_id)
            yield outcome


def _line(episode_id: str, metrics: Sequence[str]) -> bytes:
    record = {"schema": SCHEMA, "episode_id": episode_id, "metrics": list(metrics)}
    return encode_json(record) + b"\n"


def _pairs(line: bytes) -> list[tuple[str, str]]:
    try:
        read = msgspec.json.decode(line, type=_Line)
    except (ValueError, RecursionError):
        return []
    return [(read.episode_id, metric) for metric in read.metrics]


def _not_usable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{path}: {error.strerror or error}; the journal needs files that can be read and written"
    )
