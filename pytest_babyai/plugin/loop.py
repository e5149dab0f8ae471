"""The run loop: plays ahead, and runs whichever item's episode has finished next."""

from __future__ import annotations

import itertools
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import pytest
from _pytest.skipping import evaluate_skip_marks, evaluate_xfail_marks

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.artifacts import check_artifacts
from pytest_babyai.plugin.options import distributes
from pytest_babyai.plugin.output import routed_output
from pytest_babyai.plugin.plan import ITEM_PLAN, PARAMETERS, REPEAT
from pytest_babyai.plugin.planning import print_plan
from pytest_babyai.plugin.progress import ProgressLine, progress_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence

    from pytest_babyai.playing.scheduler import Scheduler
    from pytest_babyai.plugin.state import State
    from pytest_babyai.records import PlannedEpisode

BUDGET_EXIT: Final = 8
"""Exit code of a run whose budget was used up before all episodes were played."""

POLL_S: Final = 0.1
"""Longest time between two calls of what runs while no episode finishes."""

_OF_EPISODES: Final = frozenset({*PARAMETERS, REPEAT})


class LoopHooks:
    """Plays the episodes of the selected items, and runs the items as their episodes finish."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._progress: ProgressLine | None = None
        self._signals = Signals()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Plays and runs the session's items; with xdist the controller's hooks do."""
        if distributes(session.config):
            return None
        if not self.begin(session, session.items):
            return None
        if self._state.plan.settings.plan == "on":
            print_plan(self._state)
            return True
        if _keeps_item_order(session.config):
            return None
        self.run_items(session, session.items)
        return True

    def begin(self, session: pytest.Session, items: Sequence[pytest.Item]) -> bool:
        """Starts to play the episodes of items; returns whether there are any to play here.

        Raises:
            pytest.UsageError: The run cannot begin; the line says why.
        """
        state, option = self._state, session.config.getoption
        plays_nothing = ("collectonly", "setuponly", "setupplan")
        if any(option(name, default=False) for name in plays_nothing):
            return False
        if session.testsfailed and not option("continue_on_collection_errors"):
            return False
        state.agenda.add(items)
        if not state.agenda.nodeids:
            return False
        if state.plan.settings.plan == "on":
            return True
        early = [item for item in items if not _is_skipped(item)]
        plans = (item.stash.get(ITEM_PLAN, None) for item in early)
        try:
            state.tally.check_baseline()
            check_artifacts(state)
            self._signals.take()
            with routed_output():
                player = state.open_player()
                player.look_ahead(plan.episode for plan in plans if plan and plan.is_asked)
        except UsageError as error:
            state.error = error
            raise pytest.UsageError(str(error)) from None
        return True

    def run_items(self, session: pytest.Session, items: Sequence[pytest.Item]) -> None:
        """Runs items, episodes of one block in the order of their ends.

        Raises:
            pytest.Session.Failed: As pytest's own loop, by ``-x`` or ``--maxfail``.
            pytest.Session.Interrupted: As pytest's own loop.
        """
        player = self._state.open_player()
        paint = self._painter()
        blocks = [list(block) for _, block in itertools.groupby(items, _block_key)]
        with routed_output():
            for block, following in itertools.zip_longest(blocks, blocks[1:]):
                order: Iterable[pytest.Item] = block
                if _episode_of(block[0]) is not None:
                    order = _by_completion(block, player.scheduler, paint)
                _run_block(session, block, order, following[0] if following else None)

    def _painter(self) -> Callable[[], None]:
        config, player = self._state.config, self._state.open_player()
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or not reporter.isatty:
            return lambda: None
        self._progress = ProgressLine(config.get_terminal_writer(), lambda: progress_text(player))
        return self._progress.paint

    def _clear_progress(self) -> None:
        if self._progress is not None:
            self._progress.clear()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Makes room for pytest's own output."""
        self._clear_progress()
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Makes room for pytest's own output, and lets a second Ctrl-C wait for the orderly end."""
        self._clear_progress()
        self._signals.ignore()
        drop_unknown_lines(excinfo)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Ends what runs in the background; a used up budget has an exit code of its own."""
        self._clear_progress()
        self._signals.ignore()
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        self._state.close(is_interrupted=interrupted)
        player = self._state.player
        ended = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
        if player is None or session.exitstatus not in ended:
            return
        if player.controls.budget_reason() and player.scheduler.refusal:
            session.exitstatus = BUDGET_EXIT

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        """Heeds signals again, now that reports and summary are written."""
        self._signals.give_back()


class Signals:
    """Ctrl-C, SIGTERM and SIGHUP: each ends a run in order; only the main thread can heed them."""

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}

    def take(self) -> None:
        """Makes SIGTERM and SIGHUP interrupt the run, where nobody else handles them."""
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                self._set(number, _interrupt)

    def ignore(self) -> None:
        """Begins to ignore them, for the while that an orderly end takes."""
        for number in (signal.SIGINT, *self._handlers):
            self._set(number, signal.SIG_IGN)

    def give_back(self) -> None:
        """Puts the former handlers back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _set(self, number: int, handler: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            former = signal.signal(number, handler)
            self._handlers.setdefault(number, former)


def _interrupt(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def drop_unknown_lines(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leaves the places out of a traceback that have no line number.

    Ctrl-C can arrive between two lines, where the compiler has put instructions of its own. pytest
    computes with the number and would end with an error of its own, without a summary.
    """
    excinfo.traceback = excinfo.traceback.filter(
        lambda entry: entry._rawentry.tb_lineno is not None  # noqa: SLF001 - no public name
    )


def _keeps_item_order(config: pytest.Config) -> bool:
    # The debugger and --stepwise point at a place in the order of the items.
    names = ("usepdb", "trace", "stepwise", "stepwise_skip")
    return any(config.getoption(name, default=None) for name in names)


def _is_skipped(item: pytest.Item) -> bool:
    """Returns whether an item will not run, so that no episode is paid for it."""
    marks = ("skip", "skipif", "xfail")
    has_mark = any(item.get_closest_marker(name) for name in marks)
    if not has_mark or not item.config.pluginmanager.hasplugin("skipping"):
        return False
    try:
        xfail = evaluate_xfail_marks(item)
        return evaluate_skip_marks(item) is not None or (xfail is not None and not xfail.run)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - its setup will tell of the condition
        return True


def _episode_of(item: pytest.Item) -> PlannedEpisode | None:
    plan = item.stash.get(ITEM_PLAN, None)
    return plan.episode if plan is not None and plan.is_asked else None


def _block_key(item: pytest.Item) -> Hashable:
    # Items may change places only where no fixture of a wider scope notices.
    if _episode_of(item) is None:
        return id(item)
    indices = getattr(item, "callspec").indices  # noqa: B009 - only functions have one
    others = (pair for pair in indices.items() if pair[0] not in _OF_EPISODES)
    return id(item.parent), tuple(others)


def _by_completion(
    block: Sequence[pytest.Item],
    scheduler: Scheduler[PlannedEpisode],
    while_waiting: Callable[[], None],
) -> Iterator[pytest.Item]:
    waiting: dict[PlannedEpisode, list[pytest.Item]] = {}
    for item in block:
        if (episode := _episode_of(item)) is not None:
            waiting.setdefault(episode, []).append(item)
    # What has not been submitted starts when its item asks for it: nothing to wait for.
    ready = deque(episode for episode in waiting if not scheduler.is_pending(episode))
    while waiting:
        while_waiting()
        with routed_output():
            finished = ready.popleft() if ready else scheduler.next_finished(POLL_S)
        if finished is not None:
            yield from waiting.pop(finished, ())


def _run_block(
    session: pytest.Session,
    block: Sequence[pytest.Item],
    order: Iterable[pytest.Item],
    after: pytest.Item | None,
) -> None:
    """Runs items that may change places; ``after`` follows them, None at the end of the session."""
    remaining = dict.fromkeys(block)
    for item in order:
        del remaining[item]
        # Any other item of the block stands for the next one: they share every wider fixture.
        nextitem = next(iter(remaining), after)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
