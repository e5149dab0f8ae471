"""What runs after the last episode: tests that analyse a run, and gates.

An analysis of variants would be deselected by ``-k goto``, which its name does not match, though it
is wanted for these episodes as well. So such a test is kept where the expression selects it
together with one of the selected episodes: ``-k goto`` and ``-k "history and not pickup"`` keep it,
``-k "not test_floor"`` leaves out a test of that name.

A gate is an item of its own. It judges the episodes that were selected by name or mark; a part that
another plugin or a shard has chosen is no fair sample, and is not judged. A gate that is run alone,
by its id or by ``--lf``, judges the latest run of the journal, and nothing is played.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from _pytest.mark import KeywordMatcher, MarkMatcher
from _pytest.mark.expression import Expression

from pytest_babyai.errors import JournalError
from pytest_babyai.gate import GateOutcome
from pytest_babyai.journal import newest_runs, reusable
from pytest_babyai.plugin.options import GATES
from pytest_babyai.plugin.outcomes import replay_command
from pytest_babyai.plugin.plan import ITEM_PLAN, function_of
from pytest_babyai.plugin.tally import GatePlan
from pytest_babyai.reporting.numbers import count_of
from pytest_babyai.reporting.results import EpisodeReport

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    import pandas as pd

    from pytest_babyai.gate import GateResult
    from pytest_babyai.journal import Entry, EpisodeKey
    from pytest_babyai.plugin.plan import FunctionRules
    from pytest_babyai.plugin.state import State
    from pytest_babyai.records import EpisodeSpec

MAX_RUNS: Final = 20
"""Runs of the journal that are searched for the episodes of a gate."""

MARK: Final = "babyai_analysis"
REQUESTED: Final = pytest.StashKey[list[str]]()
"""Node ids of the gates that the command line names, in the stash of the configuration."""


def results_frame(state: State, item: pytest.Item) -> pd.DataFrame:
    """Returns the episodes of a session as a frame; the work of the fixture ``babyai_results``."""
    if not _is_analysis(item):
        pytest.fail(f"babyai_results needs a test with @pytest.mark.{MARK}", pytrace=False)
    if not state.tally.episodes:
        pytest.skip("no episode was played; select the tests that play them as well")
    from pytest_babyai.reporting.tables_export import episodes_frame

    journal = state.player.journal if state.player else None
    return episodes_frame(state.tally.report(), run_id=journal.log.run_id if journal else None)


class LastHooks:
    """Puts analyses and gates behind the episodes."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Orders the items once every other plugin has had its say.

        Raises:
            pytest.UsageError: A setting was wrong.
        """
        before = list(items)
        self._state.plan_items(before)
        if self._state.error is not None:
            raise pytest.UsageError(str(self._state.error))
        yield
        analyses = [item for item in before if _is_analysis(item)]
        late = _taken_out(config, analyses, items) if analyses else []
        gates = _Gates(self._state, session, before, items)
        chosen = gates.chosen()
        if gates.is_recall:
            config.hook.pytest_deselected(items=[*items, *late])
            items[:] = []
        elif _runs_failures_alone(config, items):
            # A part that was chosen for having failed is no fair sample of the run.
            if late:
                config.hook.pytest_deselected(items=late)
        else:
            items += late
        items += chosen


class _Gates:
    """Which gates run, and whether they judge what was played before.

    Attributes:
        is_recall: Whether nothing is played, as gates alone were asked for.
    """

    def __init__(
        self,
        state: State,
        session: pytest.Session,
        before: Sequence[pytest.Item],
        selected: Sequence[pytest.Item],
    ) -> None:
        self.is_recall = False
        self._state = state
        self._session = session
        self._config = session.config
        self._before = before
        self._selected = selected

    def chosen(self) -> list[pytest.Item]:
        """Returns the gates to run; they are made once for this session."""
        config = self._config
        if wanted := self._requested() or self._failed():
            return self._recalled(wanted)
        if _runs_failures_alone(config, self._selected):
            return []
        gates = self._make(self._selected)
        reason = self._sliced() if gates else ""
        if reason:
            self._state.notices.append(f"{count_of(len(gates), 'gate')} not judged: {reason}")
            return []
        return self._without_deselected(gates)

    def _make(self, items: Iterable[pytest.Item]) -> list[pytest.Item]:
        plans = _plan_gates(self._state, items)
        return [gate for plan in plans for gate in _make_items(self._session, self._state, plan)]

    def _requested(self) -> list[str]:
        requested: list[str] = self._config.stash.get(REQUESTED, [])
        return requested

    def _failed(self) -> list[str]:
        """Returns the gates that failed last time, where those are asked for."""
        if not self._config.getoption("lf", default=False) or not hasattr(self._config, "cache"):
            return []
        failed: dict[str, bool] = self._config.cache.get("cache/lastfailed", {})
        return [nodeid for nodeid in failed if nodeid.startswith(f"{GATES}::")]

    def _recalled(self, wanted: Collection[str]) -> list[pytest.Item]:
        names = set(wanted)
        gates = [gate for gate in self._make(self._before) if gate.nodeid in names]
        missing = names - {gate.nodeid for gate in gates}
        if missing and self._requested():
            known = ", ".join(gate.nodeid for gate in self._make(self._before)) or "none"
            raise pytest.UsageError(f"there is no gate {min(missing)!r}; there are: {known}")
        plays = any(item.stash.get(ITEM_PLAN, None) for item in self._selected)
        failures_alone = _runs_failures_alone(self._config, self._selected)
        self.is_recall = bool(gates) and not (plays and failures_alone)
        if gates:
            self._recall()
        return gates

    def _recall(self) -> None:
        """Takes what the latest run has of the episodes that the gates judge."""
        state = self._state
        plans = {item: plan for item in self._before if (plan := item.stash.get(ITEM_PLAN, None))}
        keys = {state.run.key_of(plan.episode) for plan in plans.values()}
        run_id, found = self._newest_with(keys)
        for item, plan in plans.items():
            entry = found.get(state.run.key_of(plan.episode))
            if entry is not None:
                report = EpisodeReport(
                    item.nodeid, entry.outcome, plan.threshold, replay_command(item)
                )
                state.tally.add(repr(plan.episode), report)
        state.tally.num_unknown = len(keys) - len(found)
        state.notices.append(
            f"gates judge {count_of(len(found), 'episode')} of run {run_id}, not played again"
        )

    def _newest_with(self, keys: Collection[EpisodeKey]) -> tuple[str, dict[EpisodeKey, Entry]]:
        """Returns the newest run that has all episodes, else the one that has most of them."""
        best_id = ""
        best: dict[EpisodeKey, Entry] = {}
        for log in itertools.islice(newest_runs(self._state.run.runs_dir), MAX_RUNS):
            try:
                found = reusable(log, keys)
            except JournalError:
                continue
            if len(found) > len(best):
                best_id, best = log.run_id, found
            if len(found) == len(keys):
                break
        if not best:
            raise pytest.UsageError(
                f"gates that run alone judge a run of the journal, and none in "
                f"{self._state.run.runs_dir} has their episodes; play them first"
            )
        return best_id, best

    def _sliced(self) -> str:
        """Returns why the selected episodes are no fair sample, empty where they are one."""
        settings = self._state.plan.settings
        if getattr(settings, "shard", None):
            return "a shard is a part of the run; merge the shards, and judge the whole"
        asked = _Asked(self._config)
        selected = set(self._selected)
        prefixes = _deselected(self._config)
        left_out = [
            item
            for item in self._before
            if item.stash.get(ITEM_PLAN, None)
            and item not in selected
            and asked.select(item)
            and not item.nodeid.startswith(prefixes)
        ]
        if not left_out:
            return ""
        return f"{count_of(len(left_out), 'episode')} were left out by another plugin"

    def _without_deselected(self, gates: list[pytest.Item]) -> list[pytest.Item]:
        prefixes = _deselected(self._config)
        gone = [gate for gate in gates if gate.nodeid.startswith(prefixes)]
        if gone:
            self._config.hook.pytest_deselected(items=gone)
        return [gate for gate in gates if gate not in gone]


def _deselected(config: pytest.Config) -> tuple[str, ...]:
    return tuple(config.getoption("deselect", default=None) or ())


def _plan_gates(state: State, items: Iterable[pytest.Item]) -> list[GatePlan]:
    groups: dict[FunctionRules, dict[str, list[EpisodeSpec]]] = {}
    for item in items:
        plan, function = item.stash.get(ITEM_PLAN, None), function_of(item.nodeid)
        rules = state.plan.rules_of.get(function) if plan is not None else None
        if plan is not None and plan.is_asked and rules is not None and rules.rules:
            specs = groups.setdefault(rules, defaultdict(list))[function]
            specs.append(plan.episode.spec)
    return [
        GatePlan.of(
            rules.rules,
            functions,
            (spec for specs in functions.values() for spec in specs),
            is_of_marker=bool(rules.marker),
            reference=rules.reference,
        )
        for rules, functions in groups.items()
    ]


def _make_items(session: pytest.Session, state: State, plan: GatePlan) -> list[pytest.Item]:
    collector = GateCollector.from_parent(
        session,
        name=plan.title,
        nodeid=plan.title,
        # Test explorers make a file of it, which has to lie below the root.
        path=session.config.rootpath / GATES,
        state=state,
        plan=plan,
    )
    report = collector.ihook.pytest_make_collect_report(collector=collector)
    collector.ihook.pytest_collectreport(report=report)
    return list(report.result)


class GateCollector(pytest.Collector):
    """The gates of one place."""

    def __init__(self, *, state: State, plan: GatePlan, **of_node: Any) -> None:
        super().__init__(**of_node)
        self._state = state
        self._plan = plan

    def collect(self) -> Iterator[pytest.Item]:
        """Yields one item per gate."""
        for gate in self._plan.gates:
            yield GateItem.from_parent(self, name=str(gate))

    def judge(self, name: str) -> GateResult:
        """Judges the episodes that were played by the gate of an item."""
        player = self._state.player
        if player is not None:
            self._state.tally.num_left_out = len(player.controls.left_out)
        return self._state.tally.judge(self._plan)[name]


class GateItem(pytest.Item):
    """A gate: it fails, passes, or is skipped as inconclusive."""

    parent: GateCollector

    def runtest(self) -> None:
        """Judges the episodes that were played."""
        result = self.parent.judge(self.name)
        self.user_properties.append(("babyai_gate", result.outcome.value))
        if result.outcome is GateOutcome.FAILED:
            pytest.fail(result.reason, pytrace=False)
        if result.outcome is GateOutcome.INCONCLUSIVE:
            # The place of the item, not that of this line, stands in pytest's summary.
            raise pytest.skip.Exception(f"inconclusive: {result.reason}", _use_item_location=True)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **options: Any
    ) -> Any:
        """Returns the reason alone, without the name of an exception before it."""
        told = super().repr_failure(excinfo, *args, **options)
        crash = getattr(told, "reprcrash", None)
        if crash is not None and isinstance(excinfo.value, pytest.fail.Exception):
            crash.message = str(excinfo.value)
        return told

    def reportinfo(self) -> tuple[Path, int, str]:
        """Returns where the gate stands: under a name of its own, as it has no file."""
        return self.config.rootpath / GATES, 0, f"gate {self.name}"


def take_gates(arguments: list[str]) -> list[str]:
    """Takes the ids of gates out of the arguments of a command line, in place.

    pytest would look for a file of that name. Test explorers put the root's path before it.
    """
    requested: list[str] = []
    kept: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        path, separator, rest = argument.partition("::")
        is_value = before == "--deselect" or argument.startswith("-")
        if separator and not is_value and Path(path).name == GATES:
            requested.append(f"{GATES}::{rest}")
        else:
            kept.append(argument)
    arguments[:] = kept
    return requested


def _is_analysis(item: pytest.Item) -> bool:
    return item.get_closest_marker(MARK) is not None


def _taken_out(
    config: pytest.Config, analyses: Sequence[pytest.Item], items: list[pytest.Item]
) -> list[pytest.Item]:
    """Takes the analyses out of the items; returns those that are to run all the same."""
    late = _kept_analyses(config, analyses, items)
    _count_as_selected(config, late)
    waiting = set(analyses)
    items[:] = [item for item in items if item not in waiting]
    return late


def _kept_analyses(
    config: pytest.Config, analyses: Sequence[pytest.Item], selected: Sequence[pytest.Item]
) -> list[pytest.Item]:
    """Returns the analyses to run: those selected, and those that follow selected episodes."""
    left = set(selected)
    missing = [item for item in analyses if item not in left]
    if not missing:
        return list(analyses)
    episodes = [item for item in selected if item.get_closest_marker("babyai") is not None]
    asked = _Asked(config)
    follow = {
        item
        for item in missing
        # Else something other than names and marks took it out, such as --deselect.
        if not asked.select(item) and any(asked.select(item, episode) for episode in episodes)
    }
    return [item for item in analyses if item in left or item in follow]


class _Asked:
    """What ``-k`` and ``-m`` ask for."""

    def __init__(self, config: pytest.Config) -> None:
        keywords = (config.getoption("keyword", default="") or "").strip()
        marks = (config.getoption("markexpr", default="") or "").strip()
        self._by_keyword = Expression.compile(keywords) if keywords else None
        self._by_mark = Expression.compile(marks) if marks else None
        # Thousands of episodes are asked about once for every analysis.
        self._names = functools.cache(KeywordMatcher.from_item)
        self._marks = functools.cache(_mark_matcher)

    def select(self, *items: pytest.Item) -> bool:
        """Returns whether they select an item with the names and marks of all the given ones."""
        names, marks = self._by_keyword, self._by_mark
        return (
            names is None or names.evaluate(_Either([self._names(each) for each in items]))
        ) and (marks is None or marks.evaluate(_Either([self._marks(each) for each in items])))


def _mark_matcher(item: pytest.Item) -> MarkMatcher:
    return MarkMatcher.from_markers(item.iter_markers())


class _Either:
    """Matches what one of several matchers does."""

    def __init__(self, matchers: Sequence[Any]) -> None:
        self._matchers = matchers

    def __call__(self, name: str, /, **arguments: str | int | bool | None) -> bool:
        return any(matcher(name, **arguments) for matcher in self._matchers)


def _count_as_selected(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Takes items out of those that the terminal counts as deselected."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    deselected = reporter.stats.get("deselected", []) if reporter else []
    selected = set(items)
    deselected[:] = [item for item in deselected if item not in selected]
    if reporter and not deselected:
        reporter.stats.pop("deselected", None)


def _runs_failures_alone(config: pytest.Config, items: Iterable[pytest.Item]) -> bool:
    # Where none of the items has failed before, pytest runs them all.
    if not config.getoption("lf", default=False) or not hasattr(config, "cache"):
        return False
    failed = config.cache.get("cache/lastfailed", {})
    return any(item.nodeid in failed for item in items)
