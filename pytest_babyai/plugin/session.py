"""One session with episodes: made by its first marked test, kept in pytest's stash."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.environment import environment_factory
from pytest_babyai.errors import JournalError, NotStartedError, UsageError
from pytest_babyai.finetuning.tuned_variant import check_unseen_by_tuned
from pytest_babyai.journal import RUNS_DIRECTORY, EpisodeKey, past_durations, propose_run_id
from pytest_babyai.plugin.distribution import share_of
from pytest_babyai.plugin.late import LateHooks, LateWork
from pytest_babyai.plugin.recording import CarriedJournal, open_journal
from pytest_babyai.plugin.reports import (
    OUTCOME,
    WAITED_S,
    describe_episode,
    end_run,
    episode_of,
    failure_of,
)
from pytest_babyai.plugin.results import Results
from pytest_babyai.plugin.selection import ItemPlan, Selection
from pytest_babyai.plugin.store_opening import tells_store
from pytest_babyai.plugin.storing import ControllerLink, StoredRun
from pytest_babyai.records import Episode, EpisodeFailure, outcome_from_record
from pytest_babyai.reporting.artifacts import verdicts_of
from pytest_babyai.reporting.numbers import count_of
from pytest_babyai.reporting.recorded import CI_NOTE, VERDICTS_NOTE, ci_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_babyai.plugin.recording import Carried, EpisodeJournal, SessionJournal
    from pytest_babyai.plugin.run import EpisodeRun
    from pytest_babyai.plugin.selection import PlannedEpisode
    from pytest_babyai.plugin.storing import StoreLink
    from pytest_babyai.records import EpisodeSpec
    from pytest_babyai.reporting.results import EpisodeReport


PLAN = pytest.StashKey[ItemPlan | None]()


class Agenda:
    """Which episodes the items of a session will ask for.

    Attributes:
        nodeids: Node id by episode, of the first item that asks for it.
        num_selected: Number of different episodes.
    """

    def __init__(self) -> None:
        self.nodeids: dict[PlannedEpisode, str] = {}
        self.num_selected = 0
        self._num_items: Counter[PlannedEpisode] = Counter()

    def add(self, plans: Mapping[pytest.Item, ItemPlan]) -> None:
        """Adds the episodes of items."""
        for item, plan in plans.items():
            self.nodeids.setdefault(plan.episode, item.nodeid)
            self._num_items[plan.episode] += 1
        self.num_selected = len(self.nodeids)

    def is_last(self, episode: PlannedEpisode) -> bool:
        """Counts an item of an episode as done; whether it was the last one."""
        self._num_items[episode] -= 1
        return self._num_items[episode] == 0


class EpisodeSession:
    """Joins what the hooks need: the selection, and the run once there is one."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: EpisodeRun | None = None
        self.error: UsageError | None = None
        self.journal: EpisodeJournal | None = None
        self.agenda = Agenda()
        self.late = LateWork()
        self.results = Results(self)
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.episodes: dict[str, EpisodeReport] = {}
        self.askers: defaultdict[str, set[str]] = defaultdict(set)
        self._selection: Selection | None = None
        self._proposed_id: str | None = None
        self._link: ControllerLink | None = None

    @property
    def num_decided_early(self) -> int:
        """Episodes that need not be played, as their variant is known well enough."""
        return len(self.run.controls.left_out) if self.run else 0

    @property
    def selection(self) -> Selection:
        """The settings of the session, read at their first use.

        Raises:
            UsageError: They are wrong.
        """
        if self._selection is None:
            self._selection = Selection(self.config)
        return self._selection

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Gives a marked test its episodes; what is wrong ends the session after collection."""
        try:
            self.selection.parametrize(metafunc)
        except UsageError as error:
            if hasattr(self.config, "workerinput"):
                # A worker cannot end the run, so the controller is told of a failed collection.
                raise pytest.Collector.CollectError(str(error)) from None
            self.error = self.error or error

    def plan_of(self, item: pytest.Item) -> ItemPlan | None:
        """Returns what an item asks of its episode, None for an item without one."""
        if PLAN not in item.stash:
            asks = "babyai_episode" in getattr(item, "fixturenames", ())
            asks = asks and self._selection is not None
            item.stash[PLAN] = self.selection.plan_of(item) if asks else None
        return item.stash[PLAN]

    def collect(self, report: pytest.TestReport) -> None:
        """Gathers a report's episode; two items of one episode count once."""
        episode = episode_of(report)
        if episode is not None:
            self.episodes[episode.outcome.episode_id] = episode
            self.askers[episode.outcome.episode_id].add(episode.nodeid)
            self.results.count_anew()

    def release(self, item: pytest.Item) -> None:
        """Lets go of an item's trajectory, once no other item needs it."""
        plan, outcome = self.plan_of(item), item.stash.get(OUTCOME, None)
        if plan is None or outcome is None or self.run is None:
            return
        item.stash[OUTCOME] = outcome.without_steps()
        if self.agenda.is_last(plan.episode):
            self.run.scheduler.replace(plan.episode, item.stash[OUTCOME])

    def check_unseen(self) -> None:
        """Refuses to evaluate a fine-tuned variant on what it was trained on.

        Raises:
            LeakageError: The line names the overlap.
        """
        by_num_dists: defaultdict[int, list[EpisodeSpec]] = defaultdict(list)
        for episode in self.agenda.nodeids:
            by_num_dists[episode.num_dists].append(episode.spec)
        for num_dists, specs in by_num_dists.items():
            environment = self.selection.settings.environment
            make_environment = environment_factory(environment, num_dists=num_dists)
            check_unseen_by_tuned(self.selection.config_dir, specs, make_environment)

    def start_run(self) -> EpisodeRun:
        """Returns the background of the run, started at the first call.

        Raises:
            UsageError: Server, gateway, environment or journal cannot be had.
        """
        if self.run is None:
            from pytest_babyai.plugin.run import EpisodeRun

            share = share_of(self.config)
            run = EpisodeRun(self.selection, share, self.agenda.nodeids)
            try:
                run.journal = self._journal_of_this_process()
                run.connect(self._stored_run, plays_a_part=share is not None)
            except BaseException:
                run.close()
                raise
            self.run = run
        return self.run

    def _journal_of_this_process(self) -> SessionJournal | None:
        share = share_of(self.config)
        if share is None:
            return self.open_journal()
        return CarriedJournal(self.selection, self.agenda.nodeids, share.reused)

    def propose_run_id(self, run_id: str | None) -> None:
        """Sets the name that a new run gets, as worker processes have been told it."""
        self._proposed_id = run_id

    @property
    def run_id(self) -> str:
        """Name of the run: the journal's, or where there is none, the one it would have."""
        if self.journal is not None:
            return self.journal.log.run_id
        if self._proposed_id is None:
            share = share_of(self.config)
            root = self.config.rootpath / RUNS_DIRECTORY
            self._proposed_id = share.run_id if share and share.run_id else propose_run_id(root)
        return self._proposed_id

    @property
    def _stored_run(self) -> StoredRun:
        return StoredRun(self.selection, self.run_id, self.journal)

    def open_journal(self) -> EpisodeJournal | None:
        """Returns the journal on disk, opened at the first call; None where it is off.

        Raises:
            SettingsError: There is no run to go on with, or it was played differently.
            JournalError: It cannot be written.
        """
        if self.journal is None:
            self.journal = open_journal(
                self.config, self.selection, self.agenda, proposed_id=self._proposed_id
            )
        return self.journal

    def keep(self, carried: Iterable[Carried]) -> None:
        """Writes episodes that worker processes have played; ends the run if it cannot."""
        try:
            journal = self.open_journal()
            link = self._controller_link()
            for episode in carried:
                if journal is not None:
                    journal.record_carried(episode)
                if link is not None:
                    outcome = outcome_from_record(episode["record"])
                    link.enter(outcome, EpisodeKey(*episode["key"]).repeat)
        except UsageError as error:
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)

    def _controller_link(self) -> ControllerLink | None:
        if self._link is None and tells_store(self.selection):
            self._link = ControllerLink(self._stored_run)
        return self._link

    @property
    def store_link(self) -> StoreLink | None:
        """What the store is told by this process; None without a store."""
        if self._link is not None:
            return self._link.link
        return self.run.link if self.run else None

    def past_durations(self) -> Mapping[tuple[str | int, ...], float]:
        """Returns how long episodes took in the last runs of the same model."""
        root = self.config.rootpath / RUNS_DIRECTORY
        return past_durations(root, self.selection.model_label) if root.is_dir() else {}

    def close(self, *, is_interrupted: bool = False) -> None:
        """Ends the run's background and the journal, if there are any."""
        if self.run is not None:
            self.run.close(is_interrupted=is_interrupted)
        if self._link is not None:
            self._link.close(is_interrupted=is_interrupted)
        if self.journal is not None:
            self._keep_verdicts(is_interrupted=is_interrupted)
            history = self.run.controls.history() if self.run else self.histories
            if history:
                self.journal.add_notes({"concurrency": history})
            self.journal.close(finished=not self.results.num_missing)

    def notices(self) -> Iterator[str]:
        """Yields what reports have to say beyond the episodes."""
        if self.run is not None:
            if self.run.controls.early_stop is not None:
                yield from self.run.controls.early_stop.lines("±")
            yield from self.run.controls.notes()
        if self.journal is not None and (reused := self.journal.reused_ids & self.episodes.keys()):
            yield f"{count_of(len(reused), 'episode')} played before, and not played again"

    def _keep_verdicts(self, *, is_interrupted: bool) -> None:
        """Keeps what is said of the run with it, so that a later report says the same."""
        if self.journal is None or not self.episodes:
            return
        verdicts = verdicts_of(self.results.summary(interrupted=is_interrupted))
        notes = {VERDICTS_NOTE: verdicts.to_plain(), CI_NOTE: ci_url(os.environ)}
        with contextlib.suppress(JournalError):  # a report can do without, the episodes are safe
            self.journal.add_notes(notes)

    def episode(self, item: pytest.Item) -> Episode:
        """Waits for the episode of an item; the fixture's work."""
        plan = self.plan_of(item)
        if plan is None:
            pytest.fail("babyai_episode needs a test with @pytest.mark.babyai", pytrace=False)
        started_s = time.perf_counter()
        try:
            run = self.start_run()
            outcome = run.outcome(plan.episode)
            run.let_out(plan.episode)
        except UsageError as error:
            end_run(item, error)
        except NotStartedError as error:
            pytest.skip(f"not played: {error}")
        finally:
            item.stash[WAITED_S] = time.perf_counter() - started_s
        item.stash[OUTCOME] = outcome
        describe_episode(item, plan, outcome)
        if isinstance(outcome, EpisodeFailure):
            pytest.fail(failure_of(self, item, outcome), pytrace=False)
        return Episode(outcome, plan.threshold)


SESSION = pytest.StashKey[EpisodeSession]()


def activate(config: pytest.Config) -> EpisodeSession:
    """Returns the session of a config; the first call registers the hooks that episodes need."""
    if SESSION not in config.stash:
        from pytest_babyai.plugin.artifacts import ArtifactHooks
        from pytest_babyai.plugin.hooks import EpisodeHooks
        from pytest_babyai.plugin.summary import SummaryHooks, TrimHooks

        session = config.stash[SESSION] = EpisodeSession(config)
        config.pluginmanager.register(EpisodeHooks(session), "babyai-episodes")
        config.pluginmanager.register(LateHooks(session), "babyai-late")
        config.pluginmanager.register(ArtifactHooks(session), "babyai-artifacts")
        config.pluginmanager.register(SummaryHooks(session), "babyai-summary")
        config.pluginmanager.register(TrimHooks(session), "babyai-trim")
    return config.stash[SESSION]
