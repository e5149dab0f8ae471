"""The journal of a session: what is written of it, and what it need not play again."""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Protocol

from pytest_babyai.errors import JournalError
from pytest_babyai.journal import (
    RUNS_DIRECTORY,
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
from pytest_babyai.records import EpisodeResult, outcome_from_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from pytest_babyai.journal import Journal
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.plugin.session import Agenda
    from pytest_babyai.records import EpisodeOutcome

Carried = dict[str, Any]
"""A finished episode as plain types: its key, node id and record."""


class SessionJournal(Protocol):
    """Where finished episodes go."""

    def reuse(self, episodes: Iterable[PlannedEpisode]) -> dict[PlannedEpisode, EpisodeOutcome]:
        """Returns the scores of episodes that need not be played again, without trajectories."""
        ...

    def with_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Adds the trajectory to the outcome of a reused episode, if it was kept."""
        ...

    async def record(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Returns once an episode is kept."""
        ...

    def close(self, *, finished: bool) -> None:
        """Ends the writing; ``finished`` says whether every episode was played."""
        ...


class EpisodeJournal:
    """The journal on disk.

    Args:
        journal: Its open end.
        selection: Settings and gateway configuration of the run.
        nodeids: Node id by episode.
    """

    def __init__(
        self, journal: Journal, selection: Selection, nodeids: Mapping[PlannedEpisode, str]
    ) -> None:
        self.log = journal.log
        self._journal = journal
        self._selection = selection
        self._nodeids = nodeids
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
        keys = {key_of(episode, self._selection): episode for episode in episodes}
        self._reused = reusable(self.log, keys)
        return {keys[key]: entry.outcome for key, entry in self._reused.items()}

    def with_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Adds the trajectory to the outcome of a reused episode, if the journal kept it."""
        entry = self._reused.get(key_of(episode, self._selection))
        if entry is None or outcome.steps:
            return outcome
        return self.log.with_steps(entry).outcome

    async def record(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Returns once an episode is on disk.

        Raises:
            JournalError: It could not be written; the episodes before it are safe.
        """
        nodeid = self._nodeids.get(episode, str(episode.spec))
        key = key_of(episode, self._selection)
        await self._journal.append_async(self._entry(key, nodeid, outcome))

    def record_carried(self, carried: Carried) -> None:
        """Writes what a worker process has played; returns once it is on disk.

        Raises:
            JournalError: As `record`.
        """
        key = EpisodeKey(*carried["key"])
        outcome = outcome_from_record(carried["record"])
        self._journal.append(self._entry(key, carried["nodeid"], outcome))

    def reused_records(self) -> list[list[Any]]:
        """Returns every score of the run as plain types, for worker processes to reuse."""
        latest = self.log.latest().items()
        self._reused = {k: e for k, e in latest if isinstance(e.outcome, EpisodeResult)}
        return [[list(astuple(k)), e.outcome.to_record()] for k, e in self._reused.items()]

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

    def _entry(self, key: EpisodeKey, nodeid: str, outcome: EpisodeOutcome) -> Entry:
        fingerprint = outcome.layout_fingerprint if isinstance(outcome, EpisodeResult) else None
        return Entry(
            key=key,
            outcome=outcome,
            nodeid=nodeid,
            model_label=self._selection.model_label,
            offline=self._selection.is_offline,
            layout_fingerprint=fingerprint,
        )


class CarriedJournal:
    """The journal of a worker process: episodes wait for a report that carries them.

    Args:
        selection: Settings and gateway configuration of the run.
        nodeids: Node id by episode.
        reused: What `EpisodeJournal.reused_records` gave.
    """

    def __init__(
        self,
        selection: Selection,
        nodeids: Mapping[PlannedEpisode, str],
        reused: Iterable[list[Any]],
    ) -> None:
        self._selection = selection
        self._nodeids = nodeids
        self._reused = {EpisodeKey(*key): record for key, record in reused}
        self._waiting: queue.SimpleQueue[Carried] = queue.SimpleQueue()

    def reuse(self, episodes: Iterable[PlannedEpisode]) -> dict[PlannedEpisode, EpisodeOutcome]:
        """Returns the scores of episodes that need not be played again, without trajectories."""
        keys = {episode: key_of(episode, self._selection) for episode in episodes}
        return {
            episode: outcome_from_record(self._reused[key])
            for episode, key in keys.items()
            if key in self._reused
        }

    def with_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:  # noqa: ARG002 - the protocol's
        """Returns the outcome as it is: trajectories of earlier sessions stay on the controller."""
        return outcome

    async def record(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Lets an episode wait for the next report."""
        self._waiting.put(
            {
                "key": list(astuple(key_of(episode, self._selection))),
                "nodeid": self._nodeids.get(episode, str(episode.spec)),
                "record": outcome.to_record(),
            }
        )

    def carry(self) -> list[Carried]:
        """Takes what has waited."""
        return [self._waiting.get() for _ in range(self._waiting.qsize())]

    def close(self, *, finished: bool) -> None:
        """Does nothing: the controller's journal is the one that ends."""


def carry_finished(journal: SessionJournal | None) -> list[Carried]:
    """Takes what waits in the journal of a worker process; any other has nothing waiting."""
    return journal.carry() if isinstance(journal, CarriedJournal) else []


def key_of(episode: PlannedEpisode, selection: Selection) -> EpisodeKey:
    """Returns what has to be equal for an episode to be reused."""
    spec = episode.spec
    return EpisodeKey(
        variant=spec.variant,
        variant_hash=selection.variant_hashes.get(spec.variant, ""),
        task=spec.task,
        seed=spec.seed,
        repeat=episode.repeat,
        history_length=episode.history_length,
        num_dists=episode.num_dists,
        environment=selection.settings.environment,
        on_error=selection.settings.on_error,
    )


def open_journal(
    config: pytest.Config, selection: Selection, agenda: Agenda, *, proposed_id: str | None = None
) -> EpisodeJournal | None:
    """Starts a run in the journal, or goes on with one; None where the journal is off.

    Raises:
        SettingsError: There is no such run, or it was played differently.
        JournalError: The journal cannot be written.
    """
    settings = selection.settings
    if settings.journal == "off" and settings.resume is None:
        return None
    root = config.rootpath / RUNS_DIRECTORY
    recording = Recording(trajectories=settings.trajectories == "on")
    manifest = _manifest(config, selection, num_selected=agenda.num_selected)
    if settings.resume is None:
        journal = create_run(root, manifest, recording, proposed_id=proposed_id)
    else:
        journal = resume_run(root, settings.resume, manifest, recording)
    return EpisodeJournal(journal, selection, agenda.nodeids)


def _manifest(config: pytest.Config, selection: Selection, *, num_selected: int) -> Manifest:
    configuration = selection.configuration
    session = describe_session(
        settings=selection.settings.as_plain(),
        command_line=[str(argument) for argument in config.invocation_params.args],
        directory=config.rootpath,
        num_selected=num_selected,
    )
    hashes = selection.variant_hashes
    variants = {
        name: VariantDefinition(
            hashes[name],
            configuration.variant_parts[name],
            configuration.variant_contents.get(name, {}),
        )
        for name in hashes
        if name in (selection.played_variants or selection.variants(selection.settings))
    }
    return Manifest(
        model_label=selection.model_label,
        offline=selection.is_offline,
        variants=variants,
        sessions=(session,),
    )
