"""Plays the episodes of a run in the background, within its bounds, and keeps what came of them."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, Final

from pytest_babyai.environment import STEP_LIMITS, environment_factory
from pytest_babyai.finetuning.variant import check_as_trained, check_unseen_by_tuned
from pytest_babyai.gateway.client import CLOSE_TIMEOUT_S, Gateway, open_gateway
from pytest_babyai.gateway.inference import NUM_DISTS_TAG, CacheOptions
from pytest_babyai.gateway.models import offline_fingerprints
from pytest_babyai.gateway.stored import NO_STORE, StoredRun, StoreLink, open_store
from pytest_babyai.journal import past_durations, propose_run_id
from pytest_babyai.journal.feedback_log import FeedbackLog
from pytest_babyai.offline.process import MODELS_DIRECTORY
from pytest_babyai.playing.controls import RunControls
from pytest_babyai.playing.loop_thread import LoopThread
from pytest_babyai.playing.ordering import DurationEstimates, model_seed
from pytest_babyai.playing.recording import open_journal
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.playing.scheduler import Scheduler
from pytest_babyai.playing.shutdown import Shutdown
from pytest_babyai.store.embedded import STOP_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from pytest_babyai.environment import Environment
    from pytest_babyai.gateway.inference import Inference, InferenceClient, InferenceRequest
    from pytest_babyai.gateway.stored import StorePlace
    from pytest_babyai.offline.process import OfflineServer
    from pytest_babyai.playing.recording import EpisodeJournal
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.playing.scheduler import Progress
    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec, PlannedEpisode

    Around = Callable[[PlannedEpisode], AbstractContextManager[object]]

BLOCKED_S: Final = 5.0
"""Longest wait for an event loop that an environment blocks, beyond what closing may take."""


class Player:
    """Plays episodes, each at most once; made by `open_player`.

    Args:
        run: What is played.
        thread: The event loop that it is played on.
        gateway: Answers the requests.
        journal: Where finished episodes are kept, None to keep none.
        link: What the store is told, None without a store.
        shutdown: How long closing may take.
        stack: Ends everything that was started for it.
        around: Entered around the playing of every episode.

    Attributes:
        run: What is played.
        run_id: Name of the run: the journal's, or where there is none, the one it would have.
        journal: As given.
        link: As given.
        server: The offline model's server; None where another model plays.
        controls: What holds the run back.
        scheduler: What plays the episodes.
        num_finished: Episodes that this session has played to their end.
        span_s: When the first of them started and the last one ended; None before.
    """

    def __init__(  # noqa: PLR0913 - built by `open_player` alone
        self,
        run: RunSpec,
        thread: LoopThread,
        gateway: Gateway,
        *,
        run_id: str,
        journal: EpisodeJournal | None,
        link: StoreLink | None,
        shutdown: Shutdown,
        stack: ExitStack,
        around: Around | None = None,
        server: OfflineServer | None = None,
    ) -> None:
        self.run = run
        self.server = server
        self.run_id = run_id
        self.journal = journal
        self.link = link
        self.controls = RunControls(run, journal.spent if journal else None)
        self.scheduler: Scheduler[PlannedEpisode] = Scheduler(
            thread,
            self._play,
            concurrency=self.controls.concurrency,
            stop_reason=self.controls.stop_reason,
            refusal_of=self.controls.refusal_of,
            finish=self._finish,
        )
        self.started_s = time.monotonic()
        self._thread = thread
        self.num_finished = 0
        self.span_s: tuple[float, float] | None = None
        self._client = _CountedClient(self.controls.observed(gateway))
        self._around: Around = around or (lambda _: nullcontext())
        self._environments = _Environments(run.settings.environment)
        self._confirming: set[asyncio.Task[None]] = set()
        self._shutdown = shutdown
        self._stack = stack
        self._is_closed = False

    def look_ahead(self, episodes: Iterable[PlannedEpisode]) -> None:
        """Starts episodes that will be asked for, those that will take longest first.

        Those that the journal has are not played again.

        Raises:
            JournalError: The run that is gone on with cannot be read.
        """
        wanted = dict.fromkeys(episodes)
        if self.journal is not None and self.run.settings.resume is not None:
            for episode, outcome in self.journal.reuse(wanted).items():
                self.scheduler.replace(episode, outcome)
                self.controls.count_reused(outcome)
                if self.link is not None:
                    self._thread.loop.call_soon_threadsafe(self.link.tell, outcome)
                del wanted[episode]
        estimates = DurationEstimates(
            past_durations(self.run.runs_dir, self.run.model_label), STEP_LIMITS
        )
        ordered = self.controls.in_order(wanted, lambda each: estimates.duration_of(each.spec))
        self.scheduler.submit(ordered)

    def outcome(self, episode: PlannedEpisode) -> EpisodeOutcome:
        """Waits for an episode, and starts it if nobody has.

        Raises:
            UsageError: The run cannot go on.
            NotStartedError: A bound of the run was reached before.
        """
        outcome = self.scheduler.future(episode).result()
        return self.journal.with_steps(episode, outcome) if self.journal else outcome

    def forget_steps(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> None:
        """Lets go of the trajectory of a finished episode."""
        self.scheduler.replace(episode, outcome.without_steps())

    def progress(self) -> Progress:
        """Counts the episodes."""
        return self.scheduler.progress()

    def close(self, *, finished: bool, is_interrupted: bool = False) -> None:
        """Cancels what still runs, and ends what runs behind; a second call does nothing.

        Args:
            finished: Whether every episode was played.
            is_interrupted: Whether a user waits for the end.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if is_interrupted:
            self._shutdown.hurry()
        self.scheduler.cancel()
        try:
            if self.link is not None:
                self._settle(self.link)
        finally:
            self._stack.close()
            if self.journal is not None:
                if self.link is not None and self.link.num_missing:
                    self.journal.add_notes({"inferences_missing_in_store": self.link.num_missing})
                if history := self.controls.history():
                    self.journal.add_notes({"concurrency": history})
                self.journal.close(finished=finished)

    def _settle(self, link: StoreLink) -> None:
        """Sees into the store what is still on its way."""
        patience_s = self._shutdown.at_most_s(CLOSE_TIMEOUT_S)
        # An environment that blocks the loop must not hang the end of the run.
        with suppress(TimeoutError):
            self._thread.run(self._confirm_rest(patience_s), patience_s + BLOCKED_S)
            self._thread.run(link.close(self._shutdown), 2 * patience_s + BLOCKED_S)

    async def _confirm_rest(self, patience_s: float) -> None:
        if self._confirming:
            await asyncio.wait(self._confirming, timeout=patience_s)

    @property
    def num_requests(self) -> int:
        """Requests that were sent to the model: what a cache has answered never was."""
        return self._client.num_requests

    async def _play(self, episode: PlannedEpisode) -> EpisodeOutcome:
        started_s = time.monotonic()
        with self._around(episode):
            outcome = await self._rollout(episode)
        self.num_finished += 1
        self.span_s = (min(started_s, (self.span_s or (started_s,))[0]), time.monotonic())
        self.controls.count_episode(outcome)
        return outcome

    async def _finish(self, episode: PlannedEpisode, outcome: EpisodeOutcome) -> EpisodeOutcome:
        """Keeps an episode; others are played meanwhile.

        Finished means on disk: nothing that was reported can be lost. The store is told behind,
        except that only it knows the tokens of cached answers, which stand in a second line.
        """
        if self.journal is not None:
            await self.journal.record(episode, outcome)
        if self.link is None:
            return outcome
        if outcome.num_cached:
            completed = await self.link.complete(outcome)
            if self.journal is not None and completed.outcome != outcome:
                await self.journal.record(episode, completed.outcome)
            self.link.tell(completed.outcome, is_stored=completed.is_stored)
            return completed.outcome
        task = asyncio.ensure_future(self._confirm(self.link, outcome))
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)
        return outcome

    async def _confirm(self, link: StoreLink, outcome: EpisodeOutcome) -> None:
        completed = await link.complete(outcome)
        link.tell(outcome, is_stored=completed.is_stored)

    async def _rollout(self, episode: PlannedEpisode) -> EpisodeOutcome:
        settings, spec = self.run.settings, episode.spec
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
            episode_id=await self.link.episode_id(spec, episode.repeat) if self.link else None,
        )

    def _tags(self, episode: PlannedEpisode) -> dict[str, str]:
        if self.link is None:
            return {}
        num_dists = {NUM_DISTS_TAG: str(episode.num_dists)} if episode.num_dists else {}
        return {**self.link.tags, **num_dists}


def open_player(run: RunSpec, *, around: Around | None = None) -> Player:
    """Starts what a run needs: store, model server, gateway, journal.

    Args:
        run: What is to be played.
        around: Entered around the playing of every episode.

    Raises:
        EnvironmentUnavailableError: The chosen environment is not installed.
        LeakageError: A fine-tuned variant was trained on what it is to play.
        ServerStartError: The offline model server, or the embedded store, did not start.
        ConfigurationError: The gateway refused its configuration.
        CredentialsError: An API key is missing.
        SettingsError: Options of the store are wrong, no gateway answers at the given URL, or there
            is no such run to go on with.
        JournalError: The journal cannot be written.
    """
    environment_factory(run.settings.environment)
    check_unseen(run)
    # A gateway that runs elsewhere has keys of its own.
    run.configuration.check_playable(
        run.played, os.environ, has_own_keys=run.settings.gateway_url is None
    )
    with ExitStack() as stack:
        shutdown = Shutdown()
        # The store first: a wrong option is told before anything has been started.
        place = open_store(run.settings, run.store_dir, on_progress=_say)
        stack.callback(_leave_store, place, shutdown)
        server = _start_server(run, stack)
        api_base = f"{server.url}/v1" if server else None
        thread = LoopThread()
        stack.callback(thread.close)
        gateway = thread.run(_open_gateway(run, api_base, place.clickhouse_url))
        stack.callback(_close_gateway, thread, gateway, shutdown)
        run_id = propose_run_id(run.runs_dir)
        journal = open_journal(run, run_id=run_id)
        run_id = journal.log.run_id if journal else run_id
        try:
            link = None
            if place != NO_STORE:
                link = StoreLink(gateway, place, _stored_run(run, run_id, journal))
            # Thousands of collected items would be searched for garbage again and again.
            gc.freeze()
            stack.callback(gc.unfreeze)
            return Player(
                run,
                thread,
                gateway,
                run_id=run_id,
                journal=journal,
                link=link,
                shutdown=shutdown,
                stack=stack.pop_all(),
                around=around,
                server=server,
            )
        except BaseException:
            if journal is not None:
                journal.close(finished=False)
            raise


def check_unseen(run: RunSpec) -> None:
    """Refuses to evaluate a fine-tuned variant on what it was trained on, or otherwise.

    Raises:
        LeakageError: The line names the overlap.
        SettingsError: Its teacher would play with another model than it taught with.
        ConfigurationError: Its prompts are not those that it was trained with.
    """
    if run.settings.gateway_url is None:
        played = {episode.spec.variant for episode in run.nodeids}
        check_as_trained(run.configuration, run.settings.model, played)
    by_num_dists: defaultdict[int, list[EpisodeSpec]] = defaultdict(list)
    for episode in run.nodeids:
        by_num_dists[episode.num_dists].append(episode.spec)
    for num_dists, specs in by_num_dists.items():
        make_environment = environment_factory(run.settings.environment, num_dists=num_dists)
        check_unseen_by_tuned(run.configuration.config_dir, specs, make_environment)


def _start_server(run: RunSpec, stack: ExitStack) -> OfflineServer | None:
    port = run.configuration.playing(run.played).offline_port
    if port is None or run.settings.gateway_url is not None:
        return None
    # Nothing of it is needed elsewhere.
    from pytest_babyai.offline.process import OfflineServer

    models = run.root / MODELS_DIRECTORY
    server = OfflineServer(port=port, models_dir=models if models.is_dir() else None)
    stack.callback(server.stop)
    server.start()
    return server


async def _open_gateway(run: RunSpec, api_base: str | None, clickhouse_url: str | None) -> Gateway:
    configuration = run.configuration.playing(run.played)
    if run.settings.cache != "off":
        # What answers is part of the cache's key.
        salt = offline_fingerprints(configuration.tree, run.root / MODELS_DIRECTORY)
        configuration = configuration.with_model_hashes(salt)
    if api_base is not None:
        configuration = configuration.with_api_base(api_base)
    return await open_gateway(
        configuration,
        gateway_url=run.settings.gateway_url,
        clickhouse_url=clickhouse_url,
        timeout_s=run.settings.timeout_s,
        cache=CacheOptions(run.settings.cache),
    )


def _stored_run(run: RunSpec, run_id: str, journal: EpisodeJournal | None) -> StoredRun:
    stored = StoredRun(
        run_id,
        run.model_label,
        function=run.configuration.function.name,
        record=run.settings.record == "on",
    )
    if journal is None:
        return stored
    manifest = journal.log.manifest
    git = manifest.session.git
    return stored._replace(
        git_commit=git.commit if git else None,
        acknowledgements=FeedbackLog(journal.log.directory),
        notes=[each.notes for each in manifest.sessions],
        add_notes=journal.add_notes,
    )


def _leave_store(place: StorePlace, shutdown: Shutdown) -> None:
    place.leave(shutdown.at_most_s(STOP_TIMEOUT_S), kill=not shutdown.is_hurried)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _close_gateway(thread: LoopThread, gateway: Gateway, shutdown: Shutdown) -> None:
    patience_s = shutdown.at_most_s(CLOSE_TIMEOUT_S)
    with suppress(TimeoutError):
        thread.run(gateway.close(patience_s), patience_s + BLOCKED_S)


class _CountedClient:
    """Counts the requests that were sent."""

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
