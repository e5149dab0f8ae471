"""Reading runs: whatever a crash left behind, entry by entry."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from pytest_babyai.errors import JournalError, SettingsError, did_you_mean
from pytest_babyai.journal.entries import STEPS_MARK, Entry, EpisodeKey, steps_size
from pytest_babyai.journal.files import is_locked
from pytest_babyai.journal.manifest import MANIFEST_FILE, Manifest, RunState
from pytest_babyai.journal.run_ids import RUN_ID
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

EPISODES_FILE: Final = "episodes.jsonl"
LATEST: Final = "latest"

_BLOCK: Final = 4096
_NO_STEPS: Final = b',"steps":[]}'


@dataclass(slots=True)
class RunLog:
    """A run on disk; it may be growing at the same time.

    Attributes:
        directory: The run's directory.
        manifest: What the run was made of.
        problems: ``file:line: reason`` of every line that the last pass over `entries` skipped.
        num_torn: Unfinished lines at the end in that pass: 1 after a crash, else 0.
    """

    directory: Path
    manifest: Manifest
    problems: list[str] = field(default_factory=list)
    num_torn: int = 0

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.directory.name

    @property
    def path(self) -> Path:
        """The file of the entries."""
        return self.directory / EPISODES_FILE

    @property
    def state(self) -> RunState:
        """How far the run came; one whose process was killed is interrupted."""
        if is_locked(self.directory):
            return RunState.RUNNING
        if self.manifest.state is RunState.RUNNING:
            return RunState.INTERRUPTED
        return self.manifest.state

    def entries(self, *, with_steps: bool = True) -> Iterator[Entry]:
        """Yields the entries in the order they were written, one at a time in memory.

        Lines that are no entry are skipped, and named in `problems`.

        Args:
            with_steps: False leaves the trajectories on disk, which takes a fraction of the time.

        Raises:
            JournalError: A later version wrote the file, or it cannot be read.
        """
        self.problems, self.num_torn = [], 0
        read_line = _read_whole_line if with_steps else _read_line_without_steps
        try:
            with self.path.open("rb") as file:
                yield from self._decoded(line for _, line in _lines(file, read_line))
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror or error}") from None

    def latest(self, *, with_steps: bool = False) -> dict[EpisodeKey, Entry]:
        """Returns one entry a key: the last score, or the last failure where there is no score."""
        chosen: dict[EpisodeKey, Entry] = {}
        for entry in self.entries(with_steps=with_steps):
            known = chosen.get(entry.key)
            scored = known is not None and isinstance(known.outcome, EpisodeResult)
            if not scored or isinstance(entry.outcome, EpisodeResult):
                chosen[entry.key] = entry
        return chosen

    def with_steps(self, entry: Entry) -> Entry:
        """Returns an entry that was read without its trajectory together with it.

        Raises:
            JournalError: It is no longer there.
        """
        episode_id = entry.outcome.episode_id
        with self.path.open("rb") as file:
            for start, head in _lines(file, _read_line_without_steps):
                if episode_id.encode() in head and _decoded_or_none(head) == entry:
                    return Entry.from_line(_read_whole_line(file, start)[0])
        raise JournalError(f"{self.path}: {entry.nodeid} is no longer there")

    def _decoded(self, lines: Iterator[bytes]) -> Iterator[Entry]:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entry = Entry.from_line(line)
            except JournalError as error:
                raise JournalError(f"{self.path}:{number}: {error}") from None
            except ValueError as error:
                self._skip(number, line, error)
            else:
                yield entry

    def _skip(self, number: int, line: bytes, error: ValueError) -> None:
        if line.endswith(b"\n"):
            self.problems.append(f"{self.path}:{number}: {error}")
        else:
            self.num_torn += 1


def newest_runs(root: Path) -> Iterator[RunLog]:
    """Yields the runs under ``root``, newest first; what is no run of ours is left out."""
    for name in reversed(_run_names(root)):
        with contextlib.suppress(JournalError):
            yield read_run(root / name)


def list_runs(root: Path) -> list[RunLog]:
    """Returns the runs under ``root``, oldest first; what is no run of ours is left out."""
    return list(newest_runs(root))[::-1]


def open_run(root: Path, run: str = LATEST) -> RunLog:
    """Opens a run for reading.

    Args:
        root: Directory of all runs.
        run: Its id, the beginning or end of one if no other run has it, or ``latest``: the newest
            that no process is writing.

    Raises:
        SettingsError: There is no such run.
        JournalError: Its manifest cannot be read.
    """
    if run == LATEST:
        return _latest_run(root)
    names = _run_names(root)
    matches = [name for name in names if name == run] or [
        name for name in names if run and (name.startswith(run) or name.endswith(run))
    ]
    if len(matches) > 1:
        raise SettingsError(f"run {run!r} in {root} is ambiguous: {', '.join(matches[-3:])}")
    if not matches:
        hint = did_you_mean(run, names[:-10:-1]) if names else "no run was recorded there yet"
        raise SettingsError(f"no run {run!r} in {root}: {hint}")
    return read_run(root / matches[0])


def read_run(directory: Path) -> RunLog:
    """Reads the manifest of a run.

    Raises:
        JournalError: It is missing, damaged, or of a later version.
    """
    path = directory / MANIFEST_FILE
    try:
        return RunLog(directory, Manifest.from_json(path.read_bytes()))
    except (JournalError, ValueError) as error:
        raise JournalError(f"{path}: {error}") from None
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror or error}") from None


def reusable(log: RunLog, keys: Iterable[EpisodeKey]) -> dict[EpisodeKey, Entry]:
    """Returns the scores of a run that need not be played again, without trajectories.

    Failures are left out: they are to be played again. Of several scores the last one counts.

    Args:
        log: The run.
        keys: What is to be played.

    Raises:
        JournalError: The run cannot be read.
    """
    wanted = set(keys)
    return {
        entry.key: entry
        for entry in log.entries(with_steps=False)
        if entry.key in wanted and isinstance(entry.outcome, EpisodeResult)
    }


def _latest_run(root: Path) -> RunLog:
    for log in newest_runs(root):
        if not is_locked(log.directory):
            return log
    raise SettingsError(f"no run to go on with in {root}; start one without --babyai-resume")


def _run_names(root: Path) -> list[str]:
    try:
        with os.scandir(root) as found:
            names = [entry.name for entry in found if entry.is_dir()]
    except OSError:
        return []
    known = [name for name in names if (root / name / MANIFEST_FILE).exists()]
    return sorted(known, key=lambda name: (RUN_ID.fullmatch(name) is not None, name))


def _lines(
    file: BinaryIO, read_line: Callable[[BinaryIO, int], tuple[bytes, int]]
) -> Iterator[tuple[int, bytes]]:
    start = 0
    while True:
        line, end = read_line(file, start)
        if not line:
            return
        yield start, line
        start = end


def _decoded_or_none(line: bytes) -> Entry | None:
    try:
        return Entry.from_line(line)
    except ValueError:
        return None


def _read_whole_line(file: BinaryIO, start: int) -> tuple[bytes, int]:
    file.seek(start)
    line = file.readline()
    return line, start + len(line)


def _read_line_without_steps(file: BinaryIO, start: int) -> tuple[bytes, int]:
    r"""Reads the head of a line and jumps over its trajectory.

    The jump has to end right behind a ``\n``; if not, the line is damaged and read as a whole.
    """
    file.seek(start)
    head = _read_head(file)
    size = steps_size(head)
    if size is None:
        return _read_whole_line(file, start)
    # Between head and the next line stand the steps with their name, "}" and "\n".
    end = start + len(head) + len(STEPS_MARK) - 1 + size + 2
    file.seek(end - 2)
    if file.read(2) != b"}\n":
        return _read_whole_line(file, start)
    return head + _NO_STEPS + b"\n", end


def _read_head(file: BinaryIO) -> bytes:
    """Reads up to the trajectory; ``b""`` where the line has none."""
    text = b""
    while True:
        block = file.read(_BLOCK)
        text += block
        mark = text.find(STEPS_MARK)
        newline = text.find(b"\n")
        if mark >= 0 and (newline < 0 or mark < newline):
            return text[:mark]
        if newline >= 0 or not block:
            return b""
