"""The background of a run: event loop, local model server, gateway, scheduler."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from pytest_babyai.environment import STEP_LIMITS, environment_factory
from pytest_babyai.gateway.client import Gateway, open_gateway
from pytest_babyai.plugin.distribution import split_evenly
from pytest_babyai.plugin.progress import progress_text
from pytest_babyai.plugin.routing import HeldBack, Router, held_back
from pytest_babyai.rollout import RolloutOptions, run_episode
from pytest_babyai.scheduler import LoopThread, Scheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_babyai.environment import Environment
    from pytest_babyai.offline import OfflineServer
    from pytest_babyai.plugin.distribution import Share
    from pytest_babyai.plugin.recording import SessionJournal
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.records import EpisodeOutcome
    from pytest_babyai.settings.model import Settings


class EpisodeRun:
    """Plays planned episodes in the background.

    Args:
        selection: Settings and gateway configuration of the run.
        share: What this process plays, None for all.

    Attributes:
        num_steps: Steps played so far.
        journal: Where finished episodes are kept; None keeps none.
        scheduler: What plays them.

    Raises:
        ServerStartError: The offline model server did not start.
        ConfigurationError: The gateway refused its configuration.
        CredentialsError: An API key is missing.
        GatewayError: No gateway answers at the given URL.
        EnvironmentUnavailableError: The chosen environment is not installed.
    """

    def __init__(self, selection: Selection, share: Share | None = None) -> None:
        self.num_steps = 0
        self.journal: SessionJournal | None = None
        self._settings = selection.settings
        self._held: dict[PlannedEpisode, HeldBack] = {}
        self._router = Router()
        self._environments: dict[int, Callable[[str], Environment]] = {}
        self._environment_factory(0)
        self._server = _start_server(selection)
        self._thread = LoopThread()
        try:
            self._gateway = self._thread.run(_open(selection, self._server))
        except BaseException:
            self._thread.close()
            _stop(self._server)
            raise
        concurrency = self._settings.concurrency
        self.scheduler: Scheduler[PlannedEpisode] = Scheduler(
            self._thread,
            self._play,
            concurrency=split_evenly(concurrency, share) if share else concurrency,
        )
        self._started_s = time.monotonic()
        # Thousands of collected items would be searched for garbage again and again.
        gc.freeze()
        self._router.install()

    def look_ahead(self, episodes: Iterable[PlannedEpisode]) -> None:
        """Starts episodes that will be asked for, those that may take longest first.

        A long episode that starts last would run alone at the end.
        """
        wanted = dict.fromkeys(episodes)
        if self.journal is not None:
            for episode, outcome in self.journal.reuse(wanted).items():
                self.scheduler.replace(episode, outcome)
                del wanted[episode]
        order = sorted(wanted, key=lambda episode: -STEP_LIMITS[episode.spec.task])
        self.scheduler.submit(order)

    def outcome(self, episode: PlannedEpisode) -> EpisodeOutcome:
        """Waits for an episode, and starts it if nobody has.

        Raises:
            UsageError: The run cannot go on.
        """
        outcome = self.scheduler.future(episode).result()
        return self.journal.with_steps(episode, outcome) if self.journal else outcome

    def progress_text(self) -> str:
        """Tells how far the run is, in one line."""
        elapsed_s = time.monotonic() - self._started_s
        return progress_text(self.scheduler.progress(), self.num_steps, elapsed_s)

    def close(self) -> None:
        """Cancels what still runs, and ends gateway, server and thread."""
        gc.unfreeze()
        self._router.uninstall()
        self.scheduler.cancel()
        self._thread.run(self._gateway.close())
        self._thread.close()
        _stop(self._server)

    def let_out(self, episode: PlannedEpisode) -> None:
        """Prints, logs and warns what an episode did, in the item that it belongs to."""
        for call in self._held.pop(episode, ()):
            call()

    async def _play(self, episode: PlannedEpisode) -> EpisodeOutcome:
        with held_back() as held:
            outcome = await self._rollout(episode)
        if held:
            self._held[episode] = held
        # Finished means kept: nothing that was reported can be lost.
        if self.journal is not None:
            await self.journal.record(episode, outcome)
        return outcome

    async def _rollout(self, episode: PlannedEpisode) -> EpisodeOutcome:
        return await run_episode(
            episode.spec,
            client=self._gateway,
            make_environment=self._environment_factory(episode.num_dists),
            options=_rollout_options(self._settings, episode),
            on_step=self._count_step,
        )

    def _count_step(self, _step: object) -> None:
        self.num_steps += 1

    def _environment_factory(self, num_dists: int) -> Callable[[str], Environment]:
        if num_dists not in self._environments:
            kind = self._settings.environment
            self._environments[num_dists] = environment_factory(kind, num_dists=num_dists)
        return self._environments[num_dists]


def _rollout_options(settings: Settings, episode: PlannedEpisode) -> RolloutOptions:
    return RolloutOptions(
        history_length=episode.history_length,
        max_attempts=settings.max_attempts,
        on_error=settings.on_error,
    )


def _start_server(selection: Selection) -> OfflineServer | None:
    port = selection.configuration.offline_port
    if port is None or selection.settings.gateway_url is not None:
        return None
    from pytest_babyai.offline import OfflineServer  # nothing of it is needed elsewhere

    server = OfflineServer(port=port)
    server.start()
    return server


async def _open(selection: Selection, server: OfflineServer | None) -> Gateway:
    configuration = selection.configuration
    if server is not None:
        configuration = configuration.with_api_base(f"{server.url}/v1")
    settings = selection.settings
    return await open_gateway(
        configuration, gateway_url=settings.gateway_url, timeout_s=settings.timeout_s
    )


def _stop(server: OfflineServer | None) -> None:
    if server is not None:
        server.stop()
