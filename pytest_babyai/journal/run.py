"""Writing runs: a new one, or one that goes on."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import itertools
import os
import random
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal.entry import Entry
from pytest_babyai.journal.files import (
    AppendFile,
    GroupWriter,
    RunLock,
    replace_file,
    size_of_whole_lines,
    sync_directory,
)
from pytest_babyai.journal.manifest import (
    MANIFEST_FILE,
    Manifest,
    RunState,
    configuration_changes,
)
from pytest_babyai.journal.read import MAX_LINE_SIZE, RUN_ID, RunLog, open_run, read_run
from pytest_babyai.journal.redaction import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

RUNS_DIRECTORY: Final = ".babyai/runs"
"""Where runs are kept, relative to pytest's root directory."""

_MAX_TRIES: Final = 1000
_CHUNK: Final = 256
_NUM_SUFFIXES: Final = 0x10000
_LARGEST_STEP: Final = 0x100


def _now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """How a run is written.

    Attributes:
        trajectories: Whether steps are kept.
        scrubber: Removes secrets, by default those of this process's environment variables.
        open_file: Opens the file of the entries.
        clock: Tells the time in UTC.
    """

    trajectories: bool = True
    scrubber: Scrubber = dataclasses.field(default_factory=lambda: Scrubber(os.environ))
    open_file: Callable[[Path], AppendFile] = AppendFile
    clock: Callable[[], dt.datetime] = _now

    def line(self, entry: Entry) -> bytes:
        """Encodes an entry; one without a time gets the present."""
        if not entry.written_at:
            written_at = self.clock().isoformat(timespec="milliseconds")
            entry = dataclasses.replace(entry, written_at=written_at)
        return entry.to_line(self.scrubber, trajectory=self.trajectories)


class Journal:
    """The open end of a run: takes entries until it is closed.

    Made by `create_run` and `resume_run`. A context manager; leaving it by an exception leaves the
    run interrupted.

    Attributes:
        log: The run's reading side.
    """

    def __init__(
        self, log: RunLog, lock: RunLock, writer: GroupWriter, recording: Recording
    ) -> None:
        self.log = log
        self._lock = lock
        self._writer = writer
        self._recording = recording
        self._is_closed = False

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self.log.run_id

    def append(self, entry: Entry) -> None:
        """Blocks until the entry is durable; safe from any thread.

        Raises:
            JournalError: It could not be written; the entries before it are intact.
        """
        self._writer.append(functools.partial(self._recording.line, entry))

    def append_all(self, entries: Iterable[Entry]) -> None:
        """Blocks until all entries are durable; a few hundred share a sync.

        Raises:
            JournalError: As `append`.
        """
        rest = iter(entries)
        while chunk := list(itertools.islice(rest, _CHUNK)):
            self._writer.append(functools.partial(self._lines, chunk))

    async def append_async(self, entry: Entry) -> None:
        """Waits until the entry is durable, without blocking the event loop.

        Raises:
            JournalError: It could not be written; the entries before it are intact.
        """
        await self._writer.append_async(functools.partial(self._recording.line, entry))

    def add_notes(self, notes: Mapping[str, Any]) -> None:
        """Adds JSON types to the manifest's current session.

        Raises:
            JournalError: The manifest could not be written; the old one is intact.
        """
        self._write_manifest(self.log.manifest.with_notes(notes))

    def close(self, state: RunState = RunState.INTERRUPTED) -> None:
        """Ends the writing, and lets other processes resume the run.

        Args:
            state: How far the run came; kept in the manifest.

        Raises:
            JournalError: The manifest could not be written; every appended entry is safe.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._writer.close()
        try:
            self._write_manifest(dataclasses.replace(self.log.manifest, state=state))
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(RunState.FINISHED if error_type is None else RunState.INTERRUPTED)

    def _lines(self, entries: Iterable[Entry]) -> bytes:
        return b"".join(map(self._recording.line, entries))

    def _write_manifest(self, manifest: Manifest) -> None:
        _write_manifest(self.log.directory, manifest, self._recording.scrubber)
        self.log.manifest = manifest


def propose_run_id(root: Path, recording: Recording | None = None) -> str:
    """Returns the id that a new run would have; nothing is written."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    return next_run_id((recording or Recording()).clock(), names)


def create_run(
    root: Path,
    manifest: Manifest,
    recording: Recording | None = None,
    *,
    proposed_id: str | None = None,
) -> Journal:
    """Starts a new run; safe with many processes at once and whatever the clock says.

    Args:
        root: Directory of all runs; made if it is not there.
        manifest: What the run is made of.
        recording: How it is written.
        proposed_id: Id of the run, as `propose_run_id` gives it; another one where there is a
            later run.

    Raises:
        JournalError: The directory cannot be written.
    """
    recording = recording or Recording()

    def propose(names: Iterable[str]) -> str:
        existing = [name for name in names if RUN_ID.fullmatch(name)]
        if proposed_id is not None and proposed_id > max(existing, default=""):
            return proposed_id
        return next_run_id(recording.clock(), existing)

    try:
        directory = _make_directory(root, propose)
        with _locked(directory) as lock:
            manifest = dataclasses.replace(manifest, run_id=directory.name)
            return _opened(RunLog(directory, manifest), lock, recording)
    except OSError as error:
        raise _not_written(root, error) from None


def resume_run(
    root: Path, run: str, manifest: Manifest, recording: Recording | None = None
) -> Journal:
    """Goes on with a run; what a crash left unfinished at its end is cut away.

    Args:
        root: Directory of all runs.
        run: Its id, or ``latest``.
        manifest: What this session is made of; its session is added to the run's.
        recording: How it is written.

    Raises:
        SettingsError: There is no such run, or episodes of this session could not be compared
            with those it has.
        JournalError: Another process is writing it, or it cannot be read or written.
    """
    recording = recording or Recording()
    directory = open_run(root, run).directory
    try:
        with _locked(directory) as lock:
            log = read_run(directory)  # again: its last writer may have ended in between
            _refuse_changes(log, manifest, recording.scrubber)
            log.manifest = log.manifest.resumed_by(manifest)
            return _opened(log, lock, recording)
    except OSError as error:
        raise _not_written(directory, error) from None


def next_run_id(
    now: dt.datetime, existing: Iterable[str], chance: random.Random | None = None
) -> str:
    """Returns an id that sorts behind all existing ones.

    Where the clock stands before the newest run, the id counts on from that run's. Two processes
    may get the same id, so whoever makes the directory first has it.

    Args:
        now: Time in UTC.
        existing: Names in the directory of the runs; those that are no id are ignored.
        chance: Chooses the four digits.
    """
    chance = chance or random.Random()  # noqa: S311 -- nothing depends on guessing it
    stamp = now.strftime("%Y%m%d-%H%M%S")
    newest = max((name for name in existing if RUN_ID.fullmatch(name)), default="")
    newest_stamp, _, suffix = newest.rpartition("-")
    if newest_stamp < stamp:
        return f"{stamp}-{chance.randrange(_NUM_SUFFIXES // 2):04x}"
    # Counted on in digits: the 61st second of a minute sorts as well as the next minute's first.
    number = int(newest_stamp.replace("-", "")) * _NUM_SUFFIXES + int(suffix, 16)
    seconds, number = divmod(number + 1 + chance.randrange(_LARGEST_STEP), _NUM_SUFFIXES)
    day, second = divmod(seconds, 10**6)
    return f"{day:08d}-{second:06d}-{number:04x}"


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[RunLock]:
    """Locks a run, and keeps it locked unless the body raises."""
    lock = RunLock(directory)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def _opened(log: RunLog, lock: RunLock, recording: Recording) -> Journal:
    _write_manifest(log.directory, log.manifest, recording.scrubber)
    file = recording.open_file(log.path)
    try:
        size = _repair(log.path, file)
        sync_directory(log.directory)
    except BaseException:
        file.close()
        raise
    advice = f"free space, then resume with --babyai-resume={log.run_id}"
    writer = GroupWriter(log.path, file, size, advice)
    return Journal(log, lock, writer, recording)


def _repair(path: Path, file: AppendFile) -> int:
    r"""Cuts an unfinished last line, or ends it with its ``\n`` if only that is missing."""
    size = size_of_whole_lines(path)
    if size == path.stat().st_size:
        return size
    with path.open("rb") as reader:
        reader.seek(size)
        tail = reader.read(MAX_LINE_SIZE)
    try:
        Entry.from_line(tail)
    except ValueError:
        file.truncate(size)
    else:
        size += len(tail) + file.write(b"\n")
    file.sync()
    return size


def _refuse_changes(log: RunLog, manifest: Manifest, scrubber: Scrubber) -> None:
    as_written = Manifest.from_json(manifest.to_json(scrubber))
    changes = configuration_changes(log.manifest, as_written)
    if changes:
        raise SettingsError(
            f"cannot resume run {log.run_id}, its episodes were played differently: "
            f"{'; '.join(changes)}; put that back, or start a new run without --babyai-resume"
        )


def _make_directory(root: Path, propose: Callable[[Iterable[str]], str]) -> Path:
    _make_root(root)
    for _ in range(_MAX_TRIES):
        directory = root / propose(path.name for path in root.iterdir())
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        sync_directory(root)
        return directory
    raise JournalError(f"{root}: no free name for a run after {_MAX_TRIES} tries")


def _make_root(root: Path) -> None:
    if root.is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    replace_file(root / ".gitignore", b"*\n")
    sync_directory(root.parent)
    sync_directory(root.parent.parent)


def _write_manifest(directory: Path, manifest: Manifest, scrubber: Scrubber) -> None:
    path = directory / MANIFEST_FILE
    try:
        replace_file(path, manifest.to_json(scrubber))
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"{error.filename or path}: {error.strerror or error}; "
        "the journal needs a directory that can be written, with space left"
    )
