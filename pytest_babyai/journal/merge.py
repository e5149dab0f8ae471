"""Makes one run of several, as shards and other machines leave them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pytest_babyai.errors import JournalError, SettingsError
from pytest_babyai.journal.feedback_log import FeedbackLog, acknowledged_feedback
from pytest_babyai.journal.manifest import Manifest, RunState, configuration_changes
from pytest_babyai.journal.run import create_run
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.journal.entry import Entry, EpisodeKey
    from pytest_babyai.journal.read import RunLog
    from pytest_babyai.journal.run import Recording

Preference = Literal["first", "last"]
_RESULT: Final = (
    *("progression", "episode_return", "num_steps", "terminated", "truncated"),
    *("failed_candidates", "layout_fingerprint"),
)


@dataclass(frozen=True, slots=True)
class MergedRun:
    """What came of merging runs, in episodes.

    Attributes:
        run_id: The new run.
        num_runs: Runs it was made of.
        num_episodes: Episodes it has.
        num_failures: Those of them without a score.
        num_equal: Episodes that several runs had with the same result; each is there once.
        num_replayed: Errors that another run has a score for.
        num_chosen: Episodes whose results differed, and were chosen by preference.
        missing_shards: Such as ``3/4``.
        damage: A line for each run of which something could not be read.
    """

    run_id: str
    num_runs: int
    num_episodes: int
    num_failures: int
    num_equal: int = 0
    num_replayed: int = 0
    num_chosen: int = 0
    missing_shards: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()


def merge_runs(
    root: Path,
    logs: Sequence[RunLog],
    recording: Recording | None = None,
    *,
    prefer: Preference | None = None,
    partial: bool = False,
) -> MergedRun:
    """Writes a new run that has the episodes of several; these stay as they are.

    Args:
        root: Directory of the runs that the new one is added to.
        logs: What is merged.
        recording: How the new run is written.
        prefer: Whose result counts where the runs have different ones of an episode.
        partial: Whether shards may be missing.

    Raises:
        SettingsError: The runs were played differently, a shard is missing, or results differ and
            none is preferred.
        JournalError: A run is being played, or cannot be read; the new one cannot be written.
    """
    for log in logs:
        if log.state is RunState.RUNNING:
            raise JournalError(f"run {log.run_id} is being played; merge it when it has ended")
    _refuse_differences(logs)
    missing = _missing_shards(logs)
    if missing and not partial:
        raise SettingsError(
            f"no run of shard {', '.join(missing)} is among them; add it, or merge what there is "
            "with --partial"
        )
    choice = _Choice(prefer)
    for log in logs:
        choice.add(log)
    manifest, state = _merged_manifest(logs, choice, is_complete=not missing)
    journal = create_run(root, manifest, recording)
    try:
        for log in logs:
            journal.append_all(choice.kept(log))
        _copy_feedback(logs, journal.log.directory)
        journal.close(state)
    except BaseException:
        with contextlib.suppress(JournalError):
            journal.close()
        shutil.rmtree(journal.log.directory, ignore_errors=True)
        raise
    return dataclasses.replace(
        choice.merged(journal.run_id),
        num_runs=len(logs),
        missing_shards=missing,
        damage=tuple(line for log in logs if (line := log.damage())),
    )


class _Choice:
    """Which run gives which episode.

    Args:
        prefer: Whose result counts where several differ.
    """

    def __init__(self, prefer: Preference | None) -> None:
        self._prefer = prefer
        self._chosen: dict[EpisodeKey, tuple[RunLog, Entry]] = {}
        self._num_equal = self._num_replayed = self._num_chosen = 0
        self._written: set[str] = set()

    def add(self, log: RunLog) -> None:
        """Reads a run, and decides about the episodes that earlier ones have as well."""
        for key, entry in log.latest().items():
            known = self._chosen.get(key)
            if known is None or self._takes_place(log, entry, *known):
                self._chosen[key] = (log, entry)

    def kept(self, log: RunLog) -> Iterator[Entry]:
        """Yields what the new run takes from one; errors too, as they were paid for."""
        for entry in log.entries():
            winner, _ = self._chosen[entry.key]
            is_score = isinstance(entry.outcome, EpisodeResult)
            if entry.outcome.episode_id not in self._written and (winner is log or not is_score):
                yield entry
        self._written.update(e.outcome.episode_id for e in log.entries(with_steps=False))

    def num_selected(self, logs: Sequence[RunLog]) -> int:
        """Returns how many episodes were asked for, as far as it is known."""
        lacking = (log.manifest.session.num_selected - len(log.latest()) for log in logs)
        return len(self._chosen) + sum(max(0, number) for number in lacking)

    def merged(self, run_id: str) -> MergedRun:
        """Returns the numbers of episodes."""
        scores = sum(isinstance(e.outcome, EpisodeResult) for _, e in self._chosen.values())
        num_episodes = len(self._chosen)
        return MergedRun(
            run_id,
            num_runs=0,
            num_episodes=num_episodes,
            num_failures=num_episodes - scores,
            num_equal=self._num_equal,
            num_replayed=self._num_replayed,
            num_chosen=self._num_chosen,
        )

    def _takes_place(self, log: RunLog, entry: Entry, other_log: RunLog, other: Entry) -> bool:
        is_score, was_score = (isinstance(e.outcome, EpisodeResult) for e in (entry, other))
        if is_score and was_score:
            if _result(entry) == _result(other):
                self._num_equal += 1
                return False
            if self._prefer is None:
                raise SettingsError(
                    f"runs {other_log.run_id} and {log.run_id} have different results of "
                    f"{entry.key}; --prefer=first or --prefer=last takes one of them"
                )
            self._num_chosen += 1
            return self._prefer == "last"
        if is_score is not was_score:
            self._num_replayed += 1
        return not was_score


def _result(entry: Entry) -> tuple[Any, ...]:
    return tuple(getattr(entry.outcome, name) for name in _RESULT)


def _refuse_differences(logs: Sequence[RunLog]) -> None:
    first = logs[0].manifest
    for log in logs[1:]:
        manifest = log.manifest
        changes = configuration_changes(first, manifest)
        if manifest.model_label != first.model_label:
            changes.insert(0, f"model {first.model_label} → {manifest.model_label}")
        if changes:
            raise SettingsError(
                f"cannot merge runs {logs[0].run_id} and {log.run_id}, their episodes were played "
                f"differently: {'; '.join(dict.fromkeys(changes))}"
            )
        first = dataclasses.replace(first, variants={**manifest.variants, **first.variants})


def _missing_shards(logs: Sequence[RunLog]) -> tuple[str, ...]:
    found = {
        str(session.settings["shard"])
        for log in logs
        for session in log.manifest.sessions
        if session.settings.get("shard")
    }
    counts = sorted({shard.partition("/")[2] for shard in found}, key=lambda text: text.zfill(9))
    if len(counts) > 1:
        raise SettingsError(
            f"cannot merge shards of different runs: some are of {counts[0]}, others of {counts[1]}"
        )
    wanted = (f"{part}/{count}" for count in counts for part in range(1, int(count) + 1))
    return tuple(shard for shard in wanted if shard not in found)


def _merged_manifest(
    logs: Sequence[RunLog], choice: _Choice, *, is_complete: bool
) -> tuple[Manifest, RunState]:
    """Returns the manifest of the new run, and how far it came."""
    sessions = sorted(
        (session for log in logs for session in log.manifest.sessions),
        key=lambda session: session.started_at,
    )
    variants: Mapping[str, Any] = {}
    for log in logs:
        variants = {**log.manifest.variants, **variants}
    first = logs[0].manifest.session
    merging = dataclasses.replace(
        first,
        started_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        command_line=("merge", *(log.run_id for log in logs)),
        settings={**first.settings, "shard": None},
        num_selected=choice.num_selected(logs),
        notes={"merged": [log.run_id for log in logs]},
    )
    manifest = Manifest(
        model_label=logs[0].manifest.model_label,
        offline=logs[0].manifest.offline,
        variants=variants,
        sessions=(*sessions, merging),
    )
    is_finished = is_complete and all(log.state is RunState.FINISHED for log in logs)
    return manifest, RunState.FINISHED if is_finished else RunState.INTERRUPTED


def _copy_feedback(logs: Sequence[RunLog], directory: Path) -> None:
    """Copies what a store has acknowledged, so that it is not sent again."""
    known: dict[str, list[str]] = {}
    for log in logs:
        for episode_id, metric in sorted(acknowledged_feedback(log.directory)):
            known.setdefault(episode_id, []).append(metric)
    feedback_log = FeedbackLog(directory)
    try:
        feedback_log.acknowledge_all(known)
    finally:
        feedback_log.close()
