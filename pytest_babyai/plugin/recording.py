"""The journal of a session: what is written of it, and what it need not play again."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import pytest

    from pytest_babyai.journal import Journal
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.records import EpisodeOutcome


class EpisodeJournal:
    """Writes episodes under their keys, and finds those that were played before.

    Args:
        journal: Its open end.
        selection: Settings and gateway configuration of the run.
        nodeids: Node id by episode.
    """

    def __init__(
        self, journal: Journal, selection: Selection, nodeids: Mapping[PlannedEpisode, str]
    ) -> None:
        self._journal = journal
        self._selection = selection
        self._nodeids = nodeids
        self._reused: dict[EpisodeKey, Entry] = {}

    @property
    def run_id(self) -> str:
        """Name of the run."""
        return self._journal.run_id

    @property
    def directory(self) -> Path:
        """Directory of the run."""
        return self._journal.log.directory

    @property
    def num_reused(self) -> int:
        """Episodes that an earlier session has played."""
        return len(self._reused)

    def reuse(self, episodes: Iterable[PlannedEpisode]) -> dict[PlannedEpisode, EpisodeOutcome]:
        """Returns the scores of episodes that need not be played again, without trajectories.

        Raises:
            JournalError: The run cannot be read.
        """
        keys = {self._key(episode): episode for episode in episodes}
        self._reused = reusable(self._journal.log, keys)
        return {keys[key]: entry.outcome for key, entry in self._reused.items()}

    def with_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Adds the trajectory to the outcome of a reused episode, if the journal kept it."""
        entry = self._reused.get(self._key(episode))
        if entry is None or outcome.steps:
            return outcome
        return self._journal.log.with_steps(entry).outcome

    async def record(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Returns once an episode is kept.

        Raises:
            JournalError: It could not be; the episodes before it are.
        """
        await self._journal.append_async(self._entry(episode, outcome))

    def record_now(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Blocks until an episode is kept.

        Raises:
            JournalError: As `record`.
        """
        self._journal.append(self._entry(episode, outcome))

    def close(self, *, finished: bool) -> None:
        """Ends the writing.

        Args:
            finished: Whether every episode was played.
        """
        state = RunState.FINISHED if finished else RunState.INTERRUPTED
        try:
            self._journal.close(state)
        except JournalError:
            # The disk is full and has been complained of; without the note the run counts as
            # interrupted, which it is.
            return

    def _entry(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> Entry:
        fingerprint = outcome.layout_fingerprint if isinstance(outcome, EpisodeResult) else None
        return Entry(
            key=self._key(episode),
            outcome=outcome,
            nodeid=self._nodeids.get(episode, str(episode.spec)),
            model_label=self._selection.model_label,
            offline=self._selection.is_offline,
            layout_fingerprint=fingerprint,
        )

    def _key(self, episode: PlannedEpisode) -> EpisodeKey:
        settings = self._selection.settings
        spec = episode.spec
        return EpisodeKey(
            variant=spec.variant,
            variant_hash=self._selection.variant_hashes.get(spec.variant, ""),
            task=spec.task,
            seed=spec.seed,
            repeat=episode.repeat,
            history_length=episode.history_length,
            num_dists=episode.num_dists,
            environment=settings.environment,
            on_error=settings.on_error,
        )


def open_journal(
    config: pytest.Config, selection: Selection, nodeids: Mapping[PlannedEpisode, str]
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
    manifest = _manifest(config, selection, num_selected=len(nodeids))
    if settings.resume is None:
        journal = create_run(root, manifest, recording)
    else:
        journal = resume_run(root, settings.resume, manifest, recording)
    return EpisodeJournal(journal, selection, nodeids)


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
        name: VariantDefinition(hashes[name], configuration.variant_parts[name])
        for name in hashes
        if name in selection.played_variants
    }
    return Manifest(
        model_label=selection.model_label,
        offline=selection.is_offline,
        variants=variants,
        sessions=(session,),
    )
