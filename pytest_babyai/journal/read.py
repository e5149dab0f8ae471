"""Reading runs: whatever a crash left behind, entry by entry."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import os
import re
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from pytest_babyai.errors import JournalError, SettingsError, did_you_mean
from pytest_babyai.journal.entry import Entry, EpisodeKey
from pytest_babyai.journal.files import is_locked
from pytest_babyai.journal.manifest import MANIFEST_FILE, Manifest, RunState
from pytest_babyai.records import NO_USAGE, EpisodeResult, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.records import EpisodeOutcome

EPISODES_FILE: Final = "episodes.jsonl"
LATEST: Final = "latest"
RUN_ID: Final = re.compile(r"(?P<stamp>\d{8}-\d{6})-(?P<suffix>[0-9a-f]{4})")
"""UTC time to the second and four hexadecimal digits: ``20261123-180102-ab12``."""

NUM_RUNS: Final = 5
"""Newest runs that tell what episodes take."""
NUM_ENTRIES: Final = 2_000
"""Entries of each of them."""

MAX_LINE_SIZE: Final = 1 << 28
"""Bytes of a line; what is longer was written by no run, and is not held in memory."""
_HEAD_SIZE: Final = 1 << 14
_SKIPPED_SIZE: Final = 1 << 20
# Where the trajectory begins in a line; inside of a JSON string the quotes would be escaped.
_STEPS: Final = re.compile(rb'"steps_size":(\d{1,12}),"steps":\[')
_NO_STEPS: Final = b"]}\n"


@dataclass(frozen=True, slots=True)
class Spent:
    """What the sessions of a run consumed so far, failed and repeated plays included.

    Attributes:
        usage: Tokens and cost, as far as they are known.
        time_s: Seconds in which at least one episode was being played.
        num_plays: Episodes that were played to an end or a failure.
        num_uncounted: Those of them whose tokens are not known.
        num_unpriced: Those of them whose cost is not known.
    """

    usage: Usage = NO_USAGE
    time_s: float = 0.0
    num_plays: int = 0
    num_uncounted: int = 0
    num_unpriced: int = 0

    @property
    def num_tokens(self) -> int:
        """Input and output tokens together."""
        return (self.usage.input_tokens or 0) + (self.usage.output_tokens or 0)

    def __str__(self) -> str:
        """Reads ``at least 1,200 tokens, $0.50, 95 s of play in 12 plays``."""
        tokens = f"{'at least ' if self.num_uncounted else ''}{self.num_tokens:,} tokens"
        cost = f"{'at least ' if self.num_unpriced else ''}${self.usage.cost or 0.0:,.2f}"
        if self.num_unpriced == self.num_plays:
            cost = "no known cost"
        plays = "1 play" if self.num_plays == 1 else f"{self.num_plays:,} plays"
        return f"{tokens}, {cost}, {self.time_s:,.0f} s of play in {plays}"


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

    def damage(self) -> str | None:
        """Returns the line that counts what the last pass over `entries` skipped, None if nothing.

        An unfinished last line is no damage: its episode counts as not played.
        """
        if not self.problems:
            return None
        plural = "" if len(self.problems) == 1 else "s"
        return (
            f"run {self.run_id}: {len(self.problems):,} damaged line{plural} skipped, "
            f"whose episodes count as not played: {self.problems[0]}"
        )

    def entries(self, *, with_steps: bool = True) -> Iterator[Entry]:
        """Yields the entries in the order they were written, one at a time in memory.

        Lines that are no entry are skipped, and named in `problems`.

        Args:
            with_steps: False leaves the trajectories on disk, which takes a fraction of the time.

        Raises:
            JournalError: A later version wrote the file, or it cannot be read.
        """
        self.problems, self.num_torn = [], 0
        try:
            with self.path.open("rb", buffering=_HEAD_SIZE) as file:
                for number in itertools.count(1):
                    offset = file.tell()
                    line = _read_line(file, with_steps=with_steps)
                    if not line:
                        return
                    entry = self._entry(line, number, offset)
                    if entry is not None:
                        yield entry if with_steps else _without_steps(entry)
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"{self.path}: {error.strerror or error}") from None

    def latest(self, *, with_steps: bool = False) -> dict[EpisodeKey, Entry]:
        """Returns one entry a key: the last score, or the last failure where there is no score."""
        chosen: dict[EpisodeKey, Entry] = {}
        for entry in self.entries(with_steps=with_steps):
            known = chosen.get(entry.key)
            is_scored = known is not None and isinstance(known.outcome, EpisodeResult)
            if not is_scored or isinstance(entry.outcome, EpisodeResult):
                chosen[entry.key] = entry
        return chosen

    def with_steps(self, entry: Entry) -> Entry:
        """Returns an entry that was read without its trajectory together with it.

        One line is read, wherever it stands in the file.

        Raises:
            JournalError: It is no longer there.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(entry.offset or 0)
                found = Entry.from_line(file.readline(MAX_LINE_SIZE), offset=entry.offset)
        except (OSError, ValueError):
            found = None
        if found is None or _identity(found) != _identity(entry):
            raise JournalError(f"{self.path}: {entry.nodeid} is no longer there")
        return found

    def spent(self) -> Spent:
        """Adds up what the run consumed so far.

        Raises:
            JournalError: The run cannot be read.
        """
        outcomes = {e.outcome.episode_id: e.outcome for e in self.entries(with_steps=False)}
        usages = [outcome.usage for outcome in outcomes.values()]
        return Spent(
            usage=Usage(
                sum(usage.input_tokens or 0 for usage in usages),
                sum(usage.output_tokens or 0 for usage in usages),
                sum(usage.cost or 0.0 for usage in usages),
            ),
            time_s=_time_covered_s((o.started_at_s, o.duration_s) for o in outcomes.values()),
            num_plays=len(outcomes),
            num_uncounted=sum(None in (u.input_tokens, u.output_tokens) for u in usages),
            num_unpriced=sum(usage.cost is None for usage in usages),
        )

    def _entry(self, line: bytes, number: int, offset: int) -> Entry | None:
        if not line.strip():
            return None
        try:
            return Entry.from_line(line, offset=offset)
        except JournalError as error:
            raise JournalError(f"{self.path}:{number}: {error}") from None
        except ValueError as error:
            if line.endswith(b"\n"):
                self.problems.append(f"{self.path}:{number}: {error}")
            else:
                self.num_torn += 1
            return None


def reusable(log: RunLog, keys: Iterable[EpisodeKey]) -> dict[EpisodeKey, Entry]:
    """Returns the scores of a run that need not be played again, without trajectories.

    Failures are left out: they are to be played again. Of several scores the last one counts.
    The journal is read once; `RunLog.damage` then says what could not be read.

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


def newest_runs(root: Path, unreadable: list[str] | None = None) -> Iterator[RunLog]:
    """Yields the runs under ``root``, newest first; those that cannot be read are left out.

    Args:
        root: Directory of all runs.
        unreadable: Takes a line for each run that is left out.
    """
    for name in reversed(run_names(root)):
        try:
            yield read_run(root / name)
        except JournalError as error:  # noqa: PERF203 - runs are few
            if unreadable is not None:
                unreadable.append(str(error))


def list_runs(root: Path, unreadable: list[str] | None = None) -> list[RunLog]:
    """Returns the runs under ``root`` as `newest_runs` does, oldest first."""
    return list(newest_runs(root, unreadable))[::-1]


def open_run(root: Path, run: str = LATEST) -> RunLog:
    """Opens a run for reading.

    Args:
        root: Directory of all runs.
        run: Its id, the beginning or end of one if no other run has it, or ``latest``: the newest
            that no process is writing.

    Raises:
        SettingsError: There is no such run.
        JournalError: Its manifest cannot be read; for ``latest`` no older run takes its place.
    """
    if run == LATEST:
        return _latest_run(root)
    names = run_names(root)
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


def runs_below(directory: Path) -> list[RunLog]:
    """Returns all runs anywhere below a directory, or the one that it is, ordered by path.

    Raises:
        JournalError: One of them cannot be read.
    """
    return [read_run(path.parent) for path in sorted(directory.rglob(EPISODES_FILE))]


def run_names(root: Path) -> list[str]:
    """Returns the directories under ``root`` that a run has begun to fill, oldest first."""
    try:
        with os.scandir(root) as found:
            names = [entry.name for entry in found if entry.is_dir()]
    except OSError:
        return []
    begun = [
        name
        for name in names
        if any((root / name / file).exists() for file in (MANIFEST_FILE, EPISODES_FILE))
    ]
    return sorted(begun, key=lambda name: (RUN_ID.fullmatch(name) is not None, name))


def past_results(
    root: Path,
    model_label: str | None = None,
    *,
    num_runs: int = NUM_RUNS,
    num_entries: int = NUM_ENTRIES,
) -> Iterator[EpisodeResult]:
    """Yields scores of the newest runs, without trajectories.

    What they tell is a bonus: the work is bounded, and damaged runs are left out.

    Args:
        root: Directory of all runs.
        model_label: Takes runs of this model only; None takes all.
        num_runs: Runs to look at.
        num_entries: Entries to look at in each.
    """
    logs = (log for log in newest_runs(root) if model_label in {None, log.manifest.model_label})
    for log in itertools.islice(logs, num_runs):
        with contextlib.suppress(JournalError):
            for entry in itertools.islice(log.entries(with_steps=False), num_entries):
                if isinstance(entry.outcome, EpisodeResult):
                    yield entry.outcome


def past_durations(
    root: Path,
    model_label: str | None = None,
    *,
    num_runs: int = NUM_RUNS,
    num_entries: int = NUM_ENTRIES,
) -> Mapping[tuple[str | int, ...], float]:
    """Returns median seconds of an episode out of the newest runs.

    The keys are (variant, task, seed) and, over all seeds, (variant, task). The arguments are those
    of `past_results`.
    """
    durations_s: dict[tuple[str | int, ...], list[float]] = collections.defaultdict(list)
    results = past_results(root, model_label, num_runs=num_runs, num_entries=num_entries)
    for result in results:
        spec = result.spec
        durations_s[spec.variant, spec.task].append(result.duration_s)
        durations_s[spec.variant, spec.task, spec.seed].append(result.duration_s)
    return {episode: statistics.median(values) for episode, values in durations_s.items()}


def _without_steps(entry: Entry) -> Entry:
    if not entry.outcome.steps:
        return entry
    return dataclasses.replace(entry, outcome=entry.outcome.without_steps())


def _identity(entry: Entry) -> tuple[EpisodeKey, EpisodeOutcome]:
    return entry.key, entry.outcome.without_steps()


def _latest_run(root: Path) -> RunLog:
    for name in reversed(run_names(root)):
        if is_locked(root / name):
            continue
        try:
            return read_run(root / name)
        except JournalError as error:
            raise JournalError(
                f"{error}; this is the newest run: name an older one by its id, or move this one "
                "away"
            ) from None
    raise SettingsError(f"no run to go on with in {root}; start one without --babyai-resume")


def _read_line(file: BinaryIO, *, with_steps: bool) -> bytes:
    """Reads a line; without its trajectory where it tells its size, and tells it rightly.

    Of a line that is too long the beginning is returned, which is no entry.
    """
    offset = file.tell()
    head = file.readline(_HEAD_SIZE)
    match = None if with_steps else _STEPS.search(head)
    if match is not None:
        file.seek(offset + match.end() - 1 + int(match[1]))
        if file.read(2) == b"}\n":
            return head[: match.end()] + _NO_STEPS
    file.seek(offset)
    line = file.readline(MAX_LINE_SIZE)
    if len(line) == MAX_LINE_SIZE and not line.endswith(b"\n"):
        line = line[:_HEAD_SIZE] + b"\n"
        while (rest := file.readline(_SKIPPED_SIZE)) and not rest.endswith(b"\n"):
            pass
    return line


def _time_covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Returns the seconds that (start, duration) pairs cover together."""
    total_s, end_s = 0.0, float("-inf")
    for started_s, duration_s in sorted(spans):
        ended_s = started_s + duration_s
        total_s += max(0.0, ended_s - max(started_s, end_s))
        end_s = max(end_s, ended_s)
    return total_s
