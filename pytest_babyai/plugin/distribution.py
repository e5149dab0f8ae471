"""Several processes with pytest-xdist: who plays what, and how episodes reach the controller.

Every worker collects all items, so each computes the same partition and looks ahead in its own part
alone; the controller hands it exactly these items. What has finished travels to the controller on
the next report of any item, and the controller alone writes the journal.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_babyai.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from pytest_babyai.plugin.session import EpisodeSession

WORKER_INPUT = "babyai"
"""Key under which the controller tells a worker its `Share`."""

_EPISODE = re.compile(
    r"\[(?P<name>.*-(?:goto|pickup|open|putnext|pick_up_seq_go_to)-\d+)(?P<other>.*)\]$"
)


class Share(NamedTuple):
    """What one worker plays.

    Attributes:
        part: Which part, from 0; None if it has no part and plays what it is handed.
        num_parts: Number of parts.
        done: Node ids of the part that a crashed worker has reported.
        reused: Records of the episodes that an earlier session played, by key.
        run_id: Name of the run.
    """

    part: int | None
    num_parts: int
    done: list[str]
    reused: list[list[Any]]
    run_id: str = ""


def share_of(config: pytest.Config) -> Share | None:
    """Returns the share of this process, None for one that is no worker."""
    told = getattr(config, "workerinput", {}).get(WORKER_INPUT)
    if told is not None:
        return Share(*told)
    return Share(None, 1, [], []) if hasattr(config, "workerinput") else None


def split_evenly(total: int, share: Share) -> int:
    """Returns a worker's share of a bound; everyone gets at least 1."""
    if share.part is None:
        return 1
    return max(1, total // share.num_parts + (share.part < total % share.num_parts))


def partition(nodeids: Sequence[str], num_parts: int) -> list[list[int]]:
    """Deals the items out, items of one episode to the same part.

    Returns:
        Indices into ``nodeids`` by part; their order within a part is kept.
    """
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    groups: dict[str, int] = {}
    for index, nodeid in enumerate(nodeids):
        match = _EPISODE.search(nodeid)
        group = match["name"] if match else nodeid
        parts[groups.setdefault(group, len(groups)) % num_parts].append(index)
    return parts


def num_episodes(nodeids: Sequence[str]) -> int:
    """Counts the different episodes among items."""
    matches = (_EPISODE.search(nodeid) for nodeid in nodeids)
    return len({(match["name"], match["other"]) for match in matches if match})


def own_items(items: Sequence[pytest.Item], share: Share) -> list[pytest.Item]:
    """Returns the items that this worker will be handed."""
    if share.part is None:
        return []
    own = partition([item.nodeid for item in items], share.num_parts)[share.part]
    done = set(share.done)
    return [items[index] for index in own if items[index].nodeid not in done]


class ControllerHooks:
    """What the controller does; nothing of it is noticed where nobody plays episodes."""

    def __init__(self, config: pytest.Config) -> None:
        if config.getoption("babyai_plan"):
            raise pytest.UsageError("--babyai-plan plays nothing; leave out -n")
        self._config = config
        self._session: EpisodeSession | None = None
        self._parts: dict[str, int] = {}
        self._orphaned: list[int] = []
        self._reported: set[str] = set()
        self._rerun: set[str] = set()
        self._has_checked = False
        self._proposed_id: str | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a worker its share; one that replaces a crashed worker gets that one's."""
        num_parts = len(node.nodemanager.specs)
        is_replacement = len(self._parts) >= num_parts
        part = self._orphaned.pop() if is_replacement and self._orphaned else len(self._parts)
        self._parts[node.gateway.id] = part
        done = sorted(self._reported) if is_replacement else []
        own_part = part if part < num_parts else None
        share = Share(own_part, num_parts, done, self._reused(), self._run_id())
        node.workerinput[WORKER_INPUT] = list(share)

    def _run_id(self) -> str:
        # Asking the session would make one, in a project that perhaps plays no episode.
        if self._session is not None:
            return self._session.run_id
        if self._proposed_id is None:
            # The journal's own way would be imported by projects that have no use for it.
            now = dt.datetime.now(tz=dt.timezone.utc)
            self._proposed_id = f"{now:%Y%m%d-%H%M%S}-{secrets.randbelow(0x8000):04x}"
        return self._proposed_id

    def _reused(self) -> list[list[Any]]:
        asks = self._config.getoption("babyai_resume") or self._config.getini("babyai_resume")
        if not asks:
            return []
        try:
            journal = self._active_session().open_journal()
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
        return journal.reused_records() if journal else []

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Hands out items by parts, where items play episodes."""
        if config.getoption("dist") != "load":
            return None
        from pytest_babyai.plugin.partition_scheduling import PartitionScheduling

        return PartitionScheduling(config, log, self._parts)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learns how many episodes were selected."""
        if not (num_selected := num_episodes(ids)):
            return
        session = self._active_session()
        session.agenda.num_selected = num_selected
        if self._has_checked:  # every worker tells the same
            return
        self._has_checked = True
        from pytest_babyai.plugin.artifacts import check_artifacts
        from pytest_babyai.plugin.store_opening import check_store

        if session.selection.settings.until is not None:
            raise pytest.UsageError(
                "--babyai-until needs all episodes in one process; leave out -n"
            )
        try:
            session.results.check_baseline(())
            check_artifacts(session)
            check_store(session.selection)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Runs analyses and gates here, once the workers have played."""
        result = yield
        if self._session is not None:
            from pytest_babyai.plugin.late import run_late

            run_late(session, self._session)
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Takes a worker's last episodes, and remembers the part of a crashed one."""
        output = getattr(node, "workeroutput", {})
        if finished := output.get("babyai_finished", []):
            self._active_session().keep(finished)
        if history := output.get("babyai_concurrency"):
            self._active_session().histories[node.gateway.id] = history
        if late := output.get("babyai_late"):
            self._active_session().late.take(late)
        if error is not None and node.gateway.id in self._parts:
            self._orphaned.append(self._parts[node.gateway.id])

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Runs the item of an episode once more, if its worker crashed."""
        if crashitem in self._rerun or not num_episodes([crashitem]):
            return
        self._rerun.add(crashitem)
        sched.mark_test_pending(crashitem)
        # This makes the report one that pytest keeps silent about.
        report.outcome, report.when, report.longrepr = "passed", "setup", None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps the episodes that travelled on a report; ends a run that cannot go on."""
        from pytest_babyai.plugin.late import LATE
        from pytest_babyai.plugin.reports import ATTRIBUTE, FINISHED, REFUSED

        if hasattr(report, LATE):
            self._active_session().late.take(report.__dict__.pop(LATE))
        if hasattr(report, FINISHED):
            self._active_session().keep(report.__dict__.pop(FINISHED))
        if hasattr(report, ATTRIBUTE):
            self._reported.add(report.nodeid)
            self._active_session().collect(report)
        if hasattr(report, REFUSED):
            pytest.exit(report.__dict__.pop(REFUSED), returncode=pytest.ExitCode.USAGE_ERROR)

    def _active_session(self) -> EpisodeSession:
        if self._session is None:
            from pytest_babyai.plugin.session import activate

            self._session = activate(self._config)
            self._session.propose_run_id(self._proposed_id)
        return self._session
