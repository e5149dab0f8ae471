"""Runs of the journal in the form that reports take, and where their numbers come from."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_babyai.gate import RunSnapshot, take_snapshot
from pytest_babyai.reporting.results import EpisodeReport, RunReport, RunSetup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.journal import Entry, Manifest, RunLog

_HASH_DIGITS: Final = 12
_THRESHOLD: Final = 1.0


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers of a run come from; whatever is not known is None or empty.

    Attributes:
        run_id: The journal's name of the run.
        started_at: UTC time in ISO format.
        versions: Version by distribution; None if it was not installed.
        commit: Hash of the commit it was started from, with a word on changes to it.
        command_line: Arguments as typed, without secrets.
    """

    run_id: str | None = None
    started_at: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    commit: str | None = None
    command_line: tuple[str, ...] = ()


NO_PROVENANCE: Final = Provenance()


def provenance_of(manifest: Manifest) -> Provenance:
    """Reads provenance from a run's manifest; of a resumed run it is its last session's."""
    session = manifest.session
    commit = None
    if session.git is not None:
        changed = " with uncommitted changes" if session.git.dirty else ""
        commit = f"{session.git.commit[:_HASH_DIGITS]}{changed}"
    return Provenance(
        run_id=manifest.run_id or None,
        started_at=manifest.created_at or None,
        versions=dict(session.versions),
        commit=commit,
        command_line=session.command_line,
    )


def recorded_run(log: RunLog, tasks: Sequence[str] = (), *, with_steps: bool = True) -> RunReport:
    """Reads a run of the journal as a report.

    Thresholds are no part of the journal: episodes count as failed where the task was not solved.

    Args:
        log: The run.
        tasks: In the order of the tables; others follow by name.
        with_steps: False leaves the trajectories on disk, which takes a fraction of the time.

    Raises:
        JournalError: The run cannot be read.
    """
    manifest = log.manifest
    settings = manifest.session.settings
    entries = list(log.latest(with_steps=with_steps).values())
    return RunReport(
        setup=RunSetup(
            model_label=manifest.model_label,
            offline=manifest.offline,
            environment=str(settings.get("environment", "builtin")),
            variants=tuple(manifest.variants),
            tasks=tuple(tasks),
            gate=str(settings.get("gate", "episodes")),
            on_error=str(settings.get("on_error", "raise")),
        ),
        episodes=tuple(_episode(entry) for entry in entries),
        num_selected=max(manifest.session.num_selected, len(entries)),
        wall_time_s=_wall_time_s(entries),
    )


def with_steps(report: RunReport, log: RunLog) -> RunReport:
    """Returns a report whose episodes have the trajectories that the journal kept.

    Raises:
        JournalError: The run cannot be read.
    """
    kept = {entry.outcome.episode_id: entry.outcome for entry in log.entries()}
    episodes = (
        dataclasses.replace(each, outcome=kept.get(each.outcome.episode_id, each.outcome))
        for each in report.episodes
    )
    return dataclasses.replace(report, episodes=tuple(episodes))


def recorded_snapshot(log: RunLog, tasks: Sequence[str] = ()) -> RunSnapshot:
    """Reads a run of the journal as gates and comparisons take it.

    An episode that failed and was then played counts once, with its score; repeats count each.

    Args:
        log: The run.
        tasks: In the order of the tables; others follow by name.

    Raises:
        JournalError: The run cannot be read.
        BaselineError: As `take_snapshot`.
    """
    manifest = log.manifest
    return take_snapshot(
        [entry.outcome for entry in log.latest().values()],
        model_label=manifest.model_label,
        offline=manifest.offline,
        settings=manifest.session.settings,
        versions=manifest.session.versions,
        variant_hashes={name: each.hash for name, each in manifest.variants.items()},
        variants=tuple(manifest.variants),
        tasks=tasks,
    )


def _episode(entry: Entry) -> EpisodeReport:
    replay = f"pytest '{entry.nodeid}'"
    return EpisodeReport(entry.nodeid, entry.outcome, _THRESHOLD, replay)


def _wall_time_s(entries: Sequence[Entry]) -> float:
    """Returns the time from the first start to the last end of an episode."""
    outcomes = [entry.outcome for entry in entries]
    if not outcomes:
        return 0.0
    started_s = min(outcome.started_at_s for outcome in outcomes)
    return max(outcome.started_at_s + outcome.duration_s for outcome in outcomes) - started_s


def readable_time(iso: str) -> str:
    """Writes an ISO time for readers: ``2026-01-31 14:05 UTC``; what is none stays as it is."""
    try:
        moment = dt.datetime.fromisoformat(iso.replace("Z", "+00:00"))
    except ValueError:
        return iso
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    return f"{moment.astimezone(dt.timezone.utc):%Y-%m-%d %H:%M} UTC"
