"""Runs of the journal in the form that reports take, and where their numbers come from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import shlex
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gate import RunSnapshot, take_snapshot
from pytest_babyai.reporting.results import (
    Effort,
    EpisodeReport,
    RunReport,
    RunSetup,
    num_requests,
)
from pytest_babyai.settings.definitions import DEFINITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.journal import Entry, Manifest, RunLog
    from pytest_babyai.records import EpisodeOutcome

CI_NOTE: Final = "ci_url"
VERDICTS_NOTE: Final = "verdicts"
"""Notes of a session in a manifest."""

_HASH_DIGITS: Final = 12
_GITHUB: Final = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
_CI_VARIABLES: Final = ("CI_JOB_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL", "BUILD_URL")


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers of a run come from; whatever is not known is None or empty.

    Attributes:
        run_id: The journal's name of the run.
        started_at: UTC time in ISO format.
        versions: Version by distribution; None if it was not installed.
        commit: Hash of the commit it was started from, with a word on changes to it.
        command_line: Arguments as typed, without secrets.
        ci_url: The run of continuous integration that it was, where the environment named one.
        definitions: Content by part of every variant: templates, settings.
        history_length: Past steps that requests carried.
    """

    run_id: str | None = None
    started_at: str | None = None
    versions: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    commit: str | None = None
    command_line: tuple[str, ...] = ()
    ci_url: str | None = None
    definitions: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    history_length: int = 8


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
        ci_url=session.notes.get(CI_NOTE),
        definitions={name: each.contents for name, each in manifest.variants.items()},
        history_length=int(session.settings.get("history_length", 8)),
    )


def ci_url(environ: Mapping[str, str]) -> str | None:
    """Returns the address of the run of continuous integration that this process is part of.

    Args:
        environ: Environment variables, in which GitHub Actions, GitLab, CircleCI, Buildkite and
            Jenkins name it.
    """
    if all(environ.get(name) for name in _GITHUB):
        server, repository, run = (environ[name] for name in _GITHUB)
        return f"{server}/{repository}/actions/runs/{run}"
    found = (environ.get(name) for name in _CI_VARIABLES)
    return next((url for url in found if url and url.startswith(("https://", "http://"))), None)


def recorded_run(
    log: RunLog,
    tasks: Sequence[str] = (),
    *,
    with_steps: bool = True,
    thresholds: Mapping[str, float] | None = None,
) -> RunReport:
    """Reads a run of the journal as a report.

    Args:
        log: The run.
        tasks: In the order of the tables; others follow by name.
        with_steps: False leaves the trajectories on disk, which takes a fraction of the time.
        thresholds: By node id, under the empty one of all that are not named; else that of the
            run's settings.

    Raises:
        JournalError: The run cannot be read.
    """
    manifest = log.manifest
    settings = manifest.session.settings
    entries = list(log.latest(with_steps=with_steps).values())
    known, arguments = thresholds or {}, manifest.session.command_line
    usual = known.get("", float(settings.get("threshold", 1.0)))
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
        episodes=tuple(
            _episode(each, known.get(each.nodeid, usual), arguments) for each in entries
        ),
        num_selected=max(manifest.session.num_selected, len(entries)),
        wall_time_s=span_s([entry.outcome for entry in entries]),
        played=_last_session(manifest, entries),
    )


def _last_session(manifest: Manifest, entries: Sequence[Entry]) -> Effort | None:
    """Returns what the last session has played; None where it played all of it."""
    if len(manifest.sessions) == 1:
        return None
    started_s = _seconds(manifest.session.started_at)
    own = [entry.outcome for entry in entries if entry.outcome.started_at_s >= started_s]
    return Effort(len(own), sum(map(num_requests, own)), span_s(own))


def _seconds(iso: str) -> float:
    try:
        return dt.datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def with_steps(report: RunReport, log: RunLog) -> RunReport:
    """Returns a report whose episodes have the trajectories that the journal kept.

    Raises:
        JournalError: The run cannot be read.
    """
    kept = {entry.outcome.episode_id: entry for entry in log.entries()}
    episodes = (
        _completed(each, kept[each.outcome.episode_id]) if each.outcome.episode_id in kept else each
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


def _episode(entry: Entry, threshold: float, arguments: Sequence[str]) -> EpisodeReport:
    replay = replay_command(entry.nodeid, arguments)
    if entry.model_label == entry.key.variant == "human":
        replay = f"python -m pytest_babyai play {entry.key.task} --seed={entry.key.seed}"
    return _completed(EpisodeReport(entry.nodeid, entry.outcome, threshold, replay), entry)


def _completed(report: EpisodeReport, entry: Entry) -> EpisodeReport:
    key = entry.key
    return dataclasses.replace(
        report,
        outcome=entry.outcome,
        history_length=key.history_length,
        num_dists=key.num_dists,
    )


def span_s(outcomes: Sequence[EpisodeOutcome]) -> float:
    """Returns the time from the first start to the last end of an episode."""
    if not outcomes:
        return 0.0
    started_s = min(outcome.started_at_s for outcome in outcomes)
    return max(outcome.started_at_s + outcome.duration_s for outcome in outcomes) - started_s


def replay_command(nodeid: str, arguments: Sequence[str]) -> str:
    """Returns the command line that plays the episode of an item again.

    Args:
        nodeid: The item's node id.
        arguments: Those of the run; its ``--babyai-…`` options are repeated.
    """
    flags = {definition.flag for definition in DEFINITIONS}
    given: list[str] = []
    for index, argument in enumerate(arguments):
        if argument in flags:
            given.extend(arguments[index : index + 2])
        elif argument.startswith("--babyai-") and "=" in argument:
            given.append(argument)
    return shlex.join(["pytest", nodeid, *given])


def readable_time(iso: str) -> str:
    """Writes an ISO time for readers: ``2026-01-31 14:05 UTC``; what is none stays as it is."""
    try:
        moment = dt.datetime.fromisoformat(iso.replace("Z", "+00:00"))
    except ValueError:
        return iso
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    return f"{moment.astimezone(dt.timezone.utc):%Y-%m-%d %H:%M} UTC"
