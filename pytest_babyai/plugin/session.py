"""One session with episodes: made by its first marked test, kept in pytest's stash."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.recording import open_journal
from pytest_babyai.plugin.reports import OUTCOME, WAITED_S, failure_of
from pytest_babyai.plugin.selection import ItemPlan, Selection
from pytest_babyai.records import Episode, EpisodeFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_babyai.plugin.recording import EpisodeJournal
    from pytest_babyai.plugin.run import EpisodeRun
    from pytest_babyai.plugin.selection import PlannedEpisode


PLAN = pytest.StashKey[ItemPlan | None]()


class EpisodeSession:
    """Joins what the hooks need: the selection, and the run once there is one."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run: EpisodeRun | None = None
        self.error: UsageError | None = None
        self.num_selected = 0
        self._num_expected: Counter[PlannedEpisode] = Counter()
        self._nodeids: dict[PlannedEpisode, str] = {}
        self._selection: Selection | None = None

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

    def expect(self, plans: Mapping[pytest.Item, ItemPlan]) -> None:
        """Tells which episodes the items of the session will ask for."""
        self._num_expected.update(plan.episode for plan in plans.values())
        self.num_selected = len(self._num_expected)
        for item, plan in plans.items():
            self._nodeids.setdefault(plan.episode, item.nodeid)

    def release(self, item: pytest.Item) -> None:
        """Lets go of an item's trajectory, once no other item needs it."""
        plan, outcome = self.plan_of(item), item.stash.get(OUTCOME, None)
        if plan is None or outcome is None or self.run is None:
            return
        item.stash[OUTCOME] = outcome.without_steps()
        self._num_expected[plan.episode] -= 1
        if self._num_expected[plan.episode] == 0:
            self.run.scheduler.replace(plan.episode, item.stash[OUTCOME])

    def start_run(self) -> EpisodeRun:
        """Returns the background of the run, started at the first call.

        Raises:
            UsageError: Server, gateway or environment cannot be had.
        """
        if self.run is None:
            from pytest_babyai.plugin.run import EpisodeRun

            run = EpisodeRun(self.selection)
            try:
                run.journal = self._open_journal()
            except BaseException:
                run.close()
                raise
            self.run = run
        return self.run

    def _open_journal(self) -> EpisodeJournal | None:
        if hasattr(self.config, "workerinput"):
            return None
        return open_journal(self.config, self.selection, self._nodeids)

    def close(self) -> None:
        """Ends the run's background, if there is one."""
        if self.run is not None:
            self.run.close()

    def episode(self, item: pytest.Item) -> Episode:
        """Waits for the episode of an item; the fixture's work."""
        plan = self.plan_of(item)
        if plan is None:
            pytest.fail("babyai_episode needs a test with @pytest.mark.babyai", pytrace=False)
        started_s = time.perf_counter()
        try:
            outcome = self.start_run().outcome(plan.episode)
        except UsageError as error:
            self._end(error)
        finally:
            item.stash[WAITED_S] = time.perf_counter() - started_s
        item.stash[OUTCOME] = outcome
        if isinstance(outcome, EpisodeFailure):
            pytest.fail(failure_of(self, item, outcome), pytrace=False)
        return Episode(outcome, plan.threshold)

    def _end(self, error: UsageError) -> None:
        if hasattr(self.config, "workerinput"):
            pytest.fail(str(error), pytrace=False)
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)


SESSION = pytest.StashKey[EpisodeSession]()


def activate(config: pytest.Config) -> EpisodeSession:
    """Returns the session of a config; the first call registers the hooks that episodes need."""
    if SESSION not in config.stash:
        from pytest_babyai.plugin.hooks import EpisodeHooks
        from pytest_babyai.plugin.summary import SummaryHooks, TrimHooks

        session = config.stash[SESSION] = EpisodeSession(config)
        config.pluginmanager.register(EpisodeHooks(session), "babyai-episodes")
        config.pluginmanager.register(SummaryHooks(session), "babyai-summary")
        config.pluginmanager.register(TrimHooks(session), "babyai-trim")
    return config.stash[SESSION]
