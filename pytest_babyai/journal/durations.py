"""How long episodes took in earlier runs, for starting the longest first."""

from __future__ import annotations

import collections
import contextlib
import itertools
import statistics
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import JournalError
from pytest_babyai.journal.log import newest_runs
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.journal.entries import EpisodeKey
    from pytest_babyai.journal.log import RunLog

NUM_RUNS: Final = 5
NUM_ENTRIES: Final = 2_000


def past_durations(
    root: Path,
    model_label: str | None = None,
    *,
    num_runs: int = NUM_RUNS,
    num_entries: int = NUM_ENTRIES,
) -> Mapping[tuple[str | int, ...], float]:
    """Returns median seconds of an episode out of the newest runs.

    The keys are (variant, task, seed) and, over all seeds, (variant, task).

    Trajectories stay unread, and the work is bounded; damaged runs are left out.

    Args:
        root: Directory of all runs.
        model_label: Counts runs of this model only; None counts all.
        num_runs: Runs to look at.
        num_entries: Entries to look at in each.
    """
    durations_s: dict[tuple[str | int, ...], list[float]] = collections.defaultdict(list)
    logs = (log for log in newest_runs(root) if model_label in {None, log.manifest.model_label})
    for log in itertools.islice(logs, num_runs):
        for key, result in _results(log, num_entries):
            durations_s[key.variant, key.task].append(result.duration_s)
            durations_s[key.variant, key.task, key.seed].append(result.duration_s)
    return {episode: statistics.median(values) for episode, values in durations_s.items()}


def _results(log: RunLog, num_entries: int) -> Iterator[tuple[EpisodeKey, EpisodeResult]]:
    with contextlib.suppress(JournalError):
        for entry in itertools.islice(log.entries(with_steps=False), num_entries):
            if isinstance(entry.outcome, EpisodeResult):
                yield entry.key, entry.outcome
