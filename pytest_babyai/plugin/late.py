"""What runs after the last episode: analyses and gates, with xdist on the controller alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.plugin import analysis, ordering
from pytest_babyai.plugin.distribution import share_of
from pytest_babyai.plugin.gates import GatePlan, make_items, plan_gates

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from pytest_babyai.plugin.session import EpisodeSession

LATE = "babyai_late"
"""Name under which a worker tells the controller what is to run after the episodes."""


class LateWork:
    """What is to run after the last episode.

    Attributes:
        gates: The gates.
        analyses: Node ids of analyses that the controller of worker processes has to run.
    """

    def __init__(self) -> None:
        self.gates: list[GatePlan] = []
        self.analyses: list[str] = []

    def to_plain(self) -> dict[str, Any]:
        """Returns JSON types, as they travel between processes."""
        return {"gates": [plan.to_plain() for plan in self.gates], "analyses": self.analyses}

    def take(self, plain: dict[str, Any]) -> None:
        """Takes what a worker process has told; all tell the same."""
        self.gates = [GatePlan.from_plain(plan) for plan in plain["gates"]]
        self.analyses = list(plain["analyses"])


class LateHooks:
    """Puts analyses and gates behind the episodes."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session
        self._has_told = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Orders the items once every other plugin has had its say."""
        before = list(items)
        yield
        analyses = [item for item in before if analysis.is_analysis(item)]
        if _is_controller(config):
            items[:] = analyses
            return
        late = _taken_out(config, analyses, items) if analyses else []
        if _plays_failures_alone(config, items):
            # A part that was chosen for having failed is no fair sample of the run.
            if late:
                config.hook.pytest_deselected(items=late)
            return
        self._plan_gates(items)
        if share_of(config) is not None:
            self._session.late.analyses = [item.nodeid for item in late]
            return
        items += late
        items += make_items(session, self._session)

    def _plan_gates(self, items: Iterable[pytest.Item]) -> None:
        planned = ((item, self._session.plan_of(item)) for item in items)
        plans = {item: plan for item, plan in planned if plan is not None}
        if plans and self._session.error is None:
            self._session.late.gates = plan_gates(self._session.selection, plans)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Lets the first report of a worker carry what is to run in the end."""
        report = yield
        if not self._has_told and share_of(self._session.config) is not None:
            self._has_told = True
            setattr(report, LATE, self._session.late.to_plain())
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Tells the controller of a worker that had nothing to report."""
        output: dict[str, Any] | None = getattr(self._session.config, "workeroutput", None)
        if output is not None:
            output[LATE] = self._session.late.to_plain()


def run_late(session: pytest.Session, episodes: EpisodeSession) -> None:
    """Runs on a controller what workers have left to it.

    Raises:
        pytest.Session.Failed: As pytest's own loop, by ``-x`` or ``--maxfail``.
        pytest.Session.Interrupted: As pytest's own loop.
    """
    nodeids = [str(session.config.rootpath / nodeid) for nodeid in episodes.late.analyses]
    num_collected = session.testscollected
    items = list(session.perform_collect(nodeids)) if nodeids else []
    items += make_items(session, episodes)
    session.testscollected = num_collected + len(items)
    ordering.run_block(session, items, order=items)


def _taken_out(
    config: pytest.Config, analyses: Sequence[pytest.Item], items: list[pytest.Item]
) -> list[pytest.Item]:
    """Takes the analyses out of the items; returns those that are to run all the same."""
    late = analysis.kept_analyses(config, analyses, items)
    analysis.count_as_selected(config, late)
    waiting = set(analyses)
    items[:] = [item for item in items if item not in waiting]
    return late


def _is_controller(config: pytest.Config) -> bool:
    return getattr(config.option, "dist", "no") != "no" and share_of(config) is None


def _plays_failures_alone(config: pytest.Config, items: Iterable[pytest.Item]) -> bool:
    # Where none of the items has failed before, pytest runs them all.
    if not config.getoption("lf", False) or not hasattr(config, "cache"):
        return False
    failed = config.cache.get("cache/lastfailed", {})
    return any(item.nodeid in failed for item in items)
