"""The episodes of a session, played in the background."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_babyai.environment import STEP_LIMITS, environment_factory
from pytest_babyai.gateway.inference import NUM_DISTS_TAG
from pytest_babyai.gateway.store_place import NO_STORE
from pytest_babyai.plugin.background import Background
from pytest_babyai.plugin.controls import RunControls
from pytest_babyai.plugin.progress import progress_text
from pytest_babyai.plugin.routing import HeldBack, held_back
from pytest_babyai.plugin.storing import StoreLink
from pytest_babyai.reporting.results import Effort
from pytest_babyai.rollout import RolloutOptions, run_episode
from pytest_babyai.scheduler import Scheduler
from pytest_babyai.scheduling import DurationEstimates, model_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from pytest_babyai.environment import Environment
    from pytest_babyai.gateway.inference import Inference, InferenceClient, InferenceRequest
    from pytest_babyai.plugin.distribution import Share
    from pytest_babyai.plugin.recording import SessionJournal
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.plugin.storing import StoredRun
    from pytest_babyai.records import EpisodeOutcome


class EpisodeRun:
    """Plays planned episodes in the background.

    Args:
        selection: Settings and gateway configuration of the run.
        share: What this process plays, None for all.
        planned: Episodes that are to be played.

    Attributes:
        controls: What holds the run back.
        journal: Where finished episodes are kept; None keeps none.
        scheduler: What plays them.
        link: What the store is told; None before `connect`.

    Raises:
        EnvironmentUnavailableError: The chosen environment is not installed.
        UsageError: As `Background`.
    """

    def __init__(
        self,
        selection: Selection,
        share: Share | None = None,
        planned: Collection[PlannedEpisode] = (),
    ) -> None:
        settings = selection.settings
        self._settings = settings
        self._environments = _Environments(settings.environment)
        self._environments.of(0)
        self._background = Background(selection)
        self.journal: SessionJournal | None = None
        self.link: StoreLink | None = None
        self.controls = RunControls(selection, share, planned)
        self.scheduler: Scheduler[PlannedEpisode] = Scheduler(
            self._background.thread,
            self._play,
            concurrency=self.controls.concurrency,
            stop_reason=self.controls.stop_reason,
            refusal_of=self.controls.refusal_of,
            finish=self._finish,
        )
        self._client = _CountedClient(self.controls.observed(self._background.gateway))
        self._num_finished = 0
        self._span_s: tuple[float, float] | None = None
        self._held: dict[PlannedEpisode, HeldBack] = {}
        self._started_s = time.monotonic()

    def connect(self, run: StoredRun, *, plays_a_part: bool) -> None:
        """Joins episodes and store; to be called before the first one starts.

        Args:
            run: What the store is told of.
            plays_a_part: Whether other processes play the rest.
        """
        gateway, place = self._background.gateway, self._background.place
        if place != NO_STORE:
            self.link = StoreLink(gateway, place, run, plays_a_part=plays_a_part)

    def look_ahead(
        self,
        episodes: Iterable[PlannedEpisode],
        past_s: Mapping[tuple[str | int, ...], float],
    ) -> None:
        """Starts episodes that will be asked for, those that will take longest first.

        Args:
            episodes: The episodes; those that the journal has are not played again.
            past_s: How long they took before, as `journal.past_durations` gives it.
        """
        wanted = dict.fromkeys(episodes)
        if self.journal is not None:
            for episode, outcome in self.journal.reuse(wanted).items():
                self.scheduler.replace(episode, outcome)
                self.controls.count_reused(outcome)
                self._tell_store(outcome)
                del wanted[episode]
        estimates = DurationEstimates(past_s, STEP_LIMITS)
        self.scheduler.submit(self.controls.in_order(wanted, estimates))

    def outcome(self, episode: PlannedEpisode) -> EpisodeOutcome:
        """Waits for an episode, and starts it if nobody has.

        Raises:
            UsageError: The run cannot go on.
            NotStartedError: A bound of the run was reached before.
        """
        outcome = self.scheduler.future(episode).result()
        return self.journal.with_steps(episode, outcome) if self.journal else outcome

    def let_out(self, episode: PlannedEpisode) -> None:
        """Prints, logs and warns what an episode did, in the item that it belongs to."""
        for call in self._held.pop(episode, ()):
            call()

    def progress_text(self) -> str:
        """Tells how far the run is, in one line."""
        elapsed_s = time.monotonic() - self._started_s
        return progress_text(self.scheduler.progress(), self.controls.num_steps, elapsed_s)

    def close(self, *, is_interrupted: bool = False) -> None:
        """Cancels what still runs, and ends what runs behind."""
        if is_interrupted:
            self._background.ending.hurry()
        self.scheduler.cancel()
        if self.link is not None:
            self._background.thread.run(self.link.close(self._background.ending))
        self._background.close()

    @property
    def effort(self) -> Effort:
        """What playing took so far."""
        start_s, end_s = self._span_s or (0.0, 0.0)
        return Effort(self._num_finished, self._client.num_requests, end_s - start_s)

    async def _play(self, episode: PlannedEpisode) -> EpisodeOutcome:
        started_s = time.monotonic()
        with held_back() as held:
            outcome = await self._rollout(episode)
        self._num_finished += 1
        self._span_s = (min(started_s, (self._span_s or (started_s,))[0]), time.monotonic())
        if held:
            self._held[episode] = held
        self.controls.count_episode(outcome)
        return outcome

    async def _finish(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Sees an episode into the store and the journal; others are played meanwhile."""
        is_stored = False
        if self.link is not None:
            completed = await self.link.complete(outcome)
            outcome, is_stored = completed.outcome, completed.is_stored
        # Finished means kept: nothing that was reported can be lost.
        if self.journal is not None:
            await self.journal.record(episode, outcome)
        if self.link is not None:
            self.link.tell(outcome, is_stored=is_stored)
        return outcome

    async def _rollout(self, episode: PlannedEpisode) -> EpisodeOutcome:
        settings, spec = self._settings, episode.spec
        # Without repeats the provider's own chance is left alone, and its cache as well.
        seed = model_seed(spec.seed, spec.task, episode.repeat) if episode.is_repeated else None
        options = RolloutOptions(
            history_length=episode.history_length,
            max_attempts=settings.max_attempts,
            on_error=settings.on_error,
            episode_timeout_s=settings.episode_timeout_s,
            model_seed=seed,
            tags=self._tags(episode),
        )
        return await run_episode(
            spec,
            client=self._client,
            make_environment=self._environments.of(episode.num_dists),
            options=options,
            on_step=self.controls.count_step,
            episode_id=await self.link.episode_id(episode) if self.link else None,
        )

    def _tags(self, episode: PlannedEpisode) -> dict[str, str]:
        if self.link is None:
            return {}
        num_dists = {NUM_DISTS_TAG: str(episode.num_dists)} if episode.num_dists else {}
        return {**self.link.tags, **num_dists}

    def _tell_store(self, outcome: EpisodeOutcome) -> None:
        if self.link is not None:
            self._background.thread.loop.call_soon_threadsafe(self.link.tell, outcome)


class _CountedClient:
    """Counts the requests that were sent: what a cache has answered never was."""

    def __init__(self, client: InferenceClient) -> None:
        self._client = client
        self.num_requests = 0

    async def infer(self, request: InferenceRequest, /) -> Inference:
        """Asks the client; see `InferenceClient.infer`."""
        self.num_requests += 1
        inference = await self._client.infer(request)
        self.num_requests -= inference.cached
        return inference


class _Environments:
    """Makes the factories of environments, one for each number of distractors."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._factories: dict[int, Callable[[str], Environment]] = {}

    def of(self, num_dists: int) -> Callable[[str], Environment]:
        if num_dists not in self._factories:
            self._factories[num_dists] = environment_factory(self._kind, num_dists=num_dists)
        return self._factories[num_dists]
