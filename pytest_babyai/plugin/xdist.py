"""Several processes with pytest-xdist: the controller plays and runs the items with episodes.

An episode waits for its model, so one process plays as fast as several. Workers leave the items
that play or analyse episodes alone and share all other tests, however they are distributed.

A controller does not collect. It begins to when a worker has come upon a marked test, so that a
project without episodes notices nothing; the worker says so through a channel of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from pytest_babyai.plugin.loop import LoopHooks

_CHANNEL: Final = "babyai_channel"
_MARKS: Final = ("babyai", "babyai_analysis")


class WorkerHooks:
    """Leaves the items of episodes to the controller."""

    def __init__(self, config: pytest.Config) -> None:
        channel = getattr(config, "workerinput")[_CHANNEL]  # noqa: B009 - xdist's
        channel.send(True)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Takes them out, once other plugins have chosen from all items."""
        yield
        items[:] = [item for item in items if not _is_ours(item)]


class ControllerHooks:
    """Collects, plays and runs the items of episodes, where there are any."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._is_marked = False
        self._items: list[pytest.Item] | None = None
        self._is_collecting = False
        self._is_counted = False
        self._num_errors = 0
        self._session: pytest.Session | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Gives a worker the channel on which it tells of a marked test."""
        channel = node.gateway.newchannel()
        channel.setcallback(self._learn)
        node.workerinput[_CHANNEL] = channel

    def _learn(self, _: object) -> None:
        self._is_marked = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remembers the session, for whose items there is no hook."""
        self._session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        """Collects and begins to play, as soon as the first worker has found marked tests."""
        session = self._session
        if not self._is_marked or self._items is not None or session is None:
            return
        num_collected = session.testscollected
        self._is_collecting = True
        try:
            self._items = list(session.perform_collect())
        finally:
            self._is_collecting = False
            session.testscollected = num_collected
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            self._num_errors = session.testsfailed
        else:
            self._loop.begin(session, self._items)

    @property
    def _loop(self) -> LoopHooks:
        loop: LoopHooks | None = self._config.pluginmanager.get_plugin("babyai-loop")
        assert loop is not None  # there is a marked test
        return loop

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Leaves failed collections to the workers, which tell of them as well."""
        report = yield
        if self._is_collecting and report.failed:
            report.outcome, report.longrepr, report.result = "passed", None, []
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Leaves all other items to the workers."""
        yield
        if self._is_collecting:
            items[:] = [each for each in items if _is_ours(each)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        """Counts the controller's own items too, as xdist counts those of its workers alone."""
        if self._items and self._session is not None and not self._is_counted:
            self._is_counted = True
            self._session.testscollected += len(self._items)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Runs the controller's own items, once the workers are done."""
        result = yield
        if self._num_errors:  # in the words of pytest's own loop
            errors = "error" if self._num_errors == 1 else "errors"
            raise session.Interrupted(f"{self._num_errors} {errors} during collection")
        if self._items:
            if session.testsfailed and session.shouldfail:
                raise session.Failed(session.shouldfail)
            self._loop.run_items(session, self._items)
        return result


def _is_ours(item: pytest.Item) -> bool:
    return any(map(item.get_closest_marker, _MARKS))
