"""Hooks of a session that has episodes; each translates and delegates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin import ordering, reports
from pytest_babyai.plugin.artifacts import check_artifacts
from pytest_babyai.plugin.distribution import own_items, share_of
from pytest_babyai.plugin.interrupts import Interrupts, drop_unknown_lines
from pytest_babyai.plugin.planning import print_plan
from pytest_babyai.plugin.progress import ProgressLine
from pytest_babyai.plugin.routing import routed_output

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from pytest_babyai.plugin.distribution import Share
    from pytest_babyai.plugin.selection import ItemPlan
    from pytest_babyai.plugin.session import EpisodeSession


BUDGET_EXIT = 8
"""Exit code of a run whose budget was used up before all episodes were played."""


class EpisodeHooks:
    """Starts the episodes, orders the items, and turns outcomes into reports."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session
        self._progress: ProgressLine | None = None
        self._interrupts = Interrupts()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self) -> None:
        """Ends the session if a setting was wrong."""
        if self._session.error is not None:
            raise pytest.UsageError(str(self._session.error))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Plays the episodes of all selected items; runs the items, unless somebody else does."""
        if not _plays_here(session):
            return None
        share = share_of(session.config)
        items = session.items if share is None else own_items(session.items, share)
        plans = self._plans(items)
        if not plans:
            return None
        self._session.agenda.add(plans)
        if self._session.selection.settings.plan == "on":
            print_plan(self._session)
            return True
        with routed_output():
            return self._play(session, plans, share)

    def _play(
        self, session: pytest.Session, plans: Mapping[pytest.Item, ItemPlan], share: Share | None
    ) -> bool | None:
        try:
            if share is None:
                self._session.results.check_baseline(self._session.agenda.nodeids)
                check_artifacts(self._session)
            self._session.check_unseen()
            run = self._session.start_run()
            early = (plan.episode for item, plan in plans.items() if not _may_be_skipped(item))
            run.look_ahead(early, self._session.past_durations())
        except UsageError as error:
            if share is not None:
                return None  # the first item of this worker will tell of it
            raise pytest.UsageError(str(error)) from None
        if share is not None or _keeps_item_order(session.config):
            return None
        ordering.run_items(session, plans, run.scheduler, self._painter())
        return True

    def _plans(self, items: Iterable[pytest.Item]) -> dict[pytest.Item, ItemPlan]:
        planned = ((item, self._session.plan_of(item)) for item in items)
        return {item: plan for item, plan in planned if plan is not None}

    def _painter(self) -> Callable[[], None]:
        reporter = self._session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not reporter.isatty:
            return lambda: None
        writer = self._session.config.get_terminal_writer()
        self._progress = ProgressLine(writer, self._session.start_run().progress_text)
        return self._progress.paint

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Makes room for pytest's own output, and lets go of the trajectory in the end."""
        self._clear_progress()
        with routed_output():
            result = yield
        self._session.release(item)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None, object, object]:
        """Keeps the output of background episodes off the terminal."""
        with routed_output():
            return (yield)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        """Keeps the output of background episodes off this item."""
        with routed_output():
            yield

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """Keeps the output of background episodes off this item."""
        with routed_output():
            yield

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fails a test whose episode stayed below the threshold."""
        try:
            with routed_output():
                yield
        except (AssertionError, pytest.fail.Exception) as error:
            reports.enforce_threshold(self._session, item, error)
            raise
        reports.enforce_threshold(self._session, item, None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Gives the report its episode and the episode's own time."""
        reports.set_times(item, call)
        with routed_output():
            report = yield
        if call.excinfo is None or call.excinfo.errisinstance(AssertionError):
            reports.expect_failure(self._session, item, report)
        reports.attach_episode(self._session, item, report)
        reports.attach_refusal(item, report)
        reports.attach_finished(self._session, report)
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends what runs in the background; a used up budget has an exit code of its own."""
        self._clear_progress()
        self._interrupts.ignore()
        try:
            interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
            self._session.close(is_interrupted=interrupted)
            if self._session.num_unstored and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        finally:
            self._interrupts.heed()
        reports.hand_over_finished(self._session)
        ended = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
        run = self._session.run
        if run and run.controls.budget_reason() and run.scheduler.refusal:
            session.exitstatus = BUDGET_EXIT if session.exitstatus in ended else session.exitstatus

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Makes room for pytest's own output, and lets a second Ctrl-C wait for the orderly end."""
        self._clear_progress()
        self._interrupts.ignore()
        drop_unknown_lines(excinfo)

    def _clear_progress(self) -> None:
        if self._progress is not None:
            self._progress.clear()


def _plays_here(session: pytest.Session) -> bool:
    option = session.config.option
    collects_only = option.collectonly or option.setuponly or option.setupplan
    distributes = getattr(option, "dist", "no") != "no" and share_of(session.config) is None
    return not (collects_only or distributes or session.testsfailed)


def _keeps_item_order(config: pytest.Config) -> bool:
    # The debugger and --stepwise point at a place in the order of the items.
    names = ("usepdb", "trace", "stepwise", "stepwise_skip")
    return any(config.getoption(name, None) for name in names)


def _may_be_skipped(item: pytest.Item) -> bool:
    # Such an item starts its episode when it is reached, lest a skipped one be paid for.
    return any(item.get_closest_marker(name) for name in ("skip", "skipif", "xfail"))
