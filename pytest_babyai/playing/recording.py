"""The journal of a run: what is written of it, and what it need not play again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import JournalError
from pytest_babyai.gateway.credentials import secrets_of, url_secrets
from pytest_babyai.journal import (
    Entry,
    EpisodeKey,
    Manifest,
    Recording,
    RunState,
    VariantDefinition,
    create_run,
    describe_session,
    resume_run,
    reusable,
)
from pytest_babyai.journal.redaction import Scrubber
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_babyai.journal import Journal
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.records import EpisodeOutcome, PlannedEpisode


class EpisodeJournal:
    """The journal on disk, in terms of planned episodes.

    Args:
        journal: Its open end.
        run: What is played.

    Attributes:
        log: The journal's reading side.
        spent: What earlier sessions of the run have consumed; None for a new run.
        problems: ``file:line: reason`` of every damaged line of a run that is gone on with.
    """

    def __init__(self, journal: Journal, run: RunSpec) -> None:
        self.log = journal.log
        self.spent = journal.log.spent() if run.settings.resume is not None else None
        self.problems = list(journal.log.problems)
        self._journal = journal
        self._run = run
        self._reused: dict[EpisodeKey, Entry] = {}

    @property
    def reused_ids(self) -> set[str]:
        """Episode ids of what earlier sessions have played."""
        return {entry.outcome.episode_id for entry in self._reused.values()}

    def reuse(self, episodes: Iterable[PlannedEpisode]) -> dict[PlannedEpisode, EpisodeOutcome]:
        """Returns the scores of episodes that need not be played again, without trajectories.

        Raises:
            JournalError: The run cannot be read.
        """
        keys = {self._run.key_of(episode): episode for episode in episodes}
        self._reused = reusable(self.log, keys)
        return {keys[key]: entry.outcome for key, entry in self._reused.items()}

    def with_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Adds the trajectory to the outcome of a reused episode, if the journal kept it."""
        if outcome.steps or not self._reused:
            return outcome
        entry = self._reused.get(self._run.key_of(episode))
        if entry is None or entry.outcome.episode_id != outcome.episode_id:
            return outcome
        return self.log.with_steps(entry).outcome

    async def record(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Returns once an episode is on disk; a later line of the same episode supersedes it.

        Raises:
            JournalError: It could not be written; the episodes before it are safe.
        """
        fingerprint = outcome.layout_fingerprint if isinstance(outcome, EpisodeResult) else None
        entry = Entry(
            key=self._run.key_of(episode),
            outcome=outcome,
            nodeid=self._run.nodeids.get(episode, str(episode.spec)),
            model_label=self._run.model_label,
            offline=self._run.plays_offline(outcome.spec.variant),
            layout_fingerprint=fingerprint,
        )
        await self._journal.append_async(entry)

    def add_notes(self, notes: Mapping[str, Any]) -> None:
        """Adds JSON types to the manifest; a full disk has been complained of already."""
        with suppress(JournalError):
            self._journal.add_notes(notes)

    def close(self, *, finished: bool) -> None:
        """Ends the writing.

        Args:
            finished: Whether every episode was played.
        """
        state = RunState.FINISHED if finished else RunState.INTERRUPTED
        # A full disk has been complained of; a run without the note counts as interrupted.
        with suppress(JournalError):
            self._journal.close(state)


def open_journal(run: RunSpec, *, run_id: str) -> EpisodeJournal | None:
    """Starts a run in the journal, or goes on with one; None where the journal is off.

    Args:
        run: What is played.
        run_id: Name of a new run; another one where there is a later run.

    Raises:
        SettingsError: There is no such run, or it was played differently.
        JournalError: The journal cannot be written.
    """
    settings = run.settings
    if settings.journal == "off" and settings.resume is None:
        return None
    urls = [url for url in (settings.gateway_url, settings.clickhouse_url) if url]
    secrets = secrets_of(run.configuration.tree, os.environ)
    secrets |= {secret for url in urls for secret in url_secrets(url)}
    recording = Recording(
        trajectories=settings.trajectories == "on", scrubber=Scrubber(os.environ, secrets)
    )
    manifest = _manifest(run)
    if settings.resume is None:
        journal = create_run(run.runs_dir, manifest, recording, proposed_id=run_id)
    else:
        journal = resume_run(run.runs_dir, settings.resume, manifest, recording)
    return EpisodeJournal(journal, run)


def _manifest(run: RunSpec) -> Manifest:
    session = describe_session(
        settings=run.settings.as_plain(),
        command_line=run.command_line,
        directory=run.root,
        num_selected=len(run.nodeids),
    )
    parts, contents = run.configuration.variant_parts, run.configuration.variant_contents
    variants = {
        name: VariantDefinition(hash_, parts[name], contents.get(name, {}))
        for name, hash_ in run.variant_hashes.items()
        if name in run.played
    }
    return Manifest(
        model_label=run.model_label,
        offline=run.is_offline,
        variants=variants,
        sessions=(session,),
    )
