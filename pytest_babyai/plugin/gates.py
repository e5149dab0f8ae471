"""Gates as pytest items: which there are, and how each ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from pytest_babyai.environment import TASKS
from pytest_babyai.gate import (
    GateOutcome,
    Reference,
    RunScores,
    parse_rules,
    planned_gates,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.gate import GateResult, Rule
    from pytest_babyai.plugin.rules import FunctionRules
    from pytest_babyai.plugin.selection import ItemPlan, Selection
    from pytest_babyai.plugin.session import EpisodeSession

GATES = "babyai-gates"
"""Node id under which the gates stand."""


@dataclass(frozen=True, slots=True)
class GatePlan:
    """Rules, the tests whose episodes they judge together, and the items that this makes.

    Attributes:
        rules: The rules.
        functions: Node ids of the tests.
        gates: What the items judge: each rule by variant and task.
        title: Node id of the items' collector.
        reference: The variant that changes refer to, None for the baseline.
    """

    rules: tuple[Rule, ...]
    functions: tuple[str, ...]
    gates: tuple[Rule, ...]
    title: str
    reference: str | None

    def to_plain(self) -> list[Any]:
        """Returns JSON types, as they travel between processes."""
        rules, gates = ([str(rule) for rule in each] for each in (self.rules, self.gates))
        return [rules, list(self.functions), gates, self.title, self.reference]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> GatePlan:
        """Rebuilds what `to_plain` gave."""
        rules, functions, gates, title, reference = plain
        return cls(parse_rules(rules), tuple(functions), parse_rules(gates), title, reference)

    def covers(self, nodeids: Iterable[str]) -> bool:
        """Whether it judges an episode that these items have asked for."""
        return any(function_of(nodeid) in self.functions for nodeid in nodeids)


def plan_gates(selection: Selection, plans: Mapping[pytest.Item, ItemPlan]) -> list[GatePlan]:
    """Returns the gates of a session.

    Args:
        selection: The rules by test.
        plans: The items that will play, and what.
    """
    groups: dict[FunctionRules, dict[str, list[ItemPlan]]] = {}
    for item, plan in plans.items():
        function = function_of(item.nodeid)
        if function in selection.rules_of and selection.rules_of[function].rules:
            group = groups.setdefault(selection.rules_of[function], {})
            group.setdefault(function, []).append(plan)
    return [_plan(rules, functions) for rules, functions in groups.items()]


def _plan(asked: FunctionRules, functions: Mapping[str, list[ItemPlan]]) -> GatePlan:
    specs = {plan.episode.spec for plans in functions.values() for plan in plans}
    planned = RunScores.planned(specs, tasks=TASKS)
    reference = Reference("what it is compared with", planned, asked.reference)
    return GatePlan(
        rules=asked.rules,
        functions=tuple(functions),
        gates=planned_gates(asked.rules, planned, reference),
        title=f"{GATES}::{next(iter(functions))}" if asked.marker else GATES,
        reference=asked.reference,
    )


def function_of(nodeid: str) -> str:
    """Returns the node id of a test without its parameters."""
    return nodeid.partition("[")[0]


class GateCollector(pytest.Collector):
    """The gates of one place."""

    def __init__(self, *, episodes: EpisodeSession, plan: GatePlan, **of_node: Any) -> None:
        super().__init__(**of_node)
        self._episodes = episodes
        self._plan = plan

    def collect(self) -> Iterator[pytest.Item]:
        """Yields one item per gate."""
        for gate in self._plan.gates:
            yield GateItem.from_parent(self, name=str(gate))

    @property
    def inconclusive(self) -> Literal["pass", "skip", "fail"]:
        """What becomes of a gate that is inconclusive."""
        return self._episodes.selection.settings.inconclusive

    def judge(self, name: str) -> GateResult:
        """Judges the episodes that were played by the gate of an item."""
        return self._episodes.results.judge(self._plan)[name]


class GateItem(pytest.Item):
    """A gate: it fails, passes, or is skipped as inconclusive."""

    parent: GateCollector

    def runtest(self) -> None:
        """Judges the episodes that were played."""
        result = self.parent.judge(self.name)
        self.user_properties.append(("babyai_gate", result.outcome.value))
        outcome = settled(result, self.parent.inconclusive)
        if outcome is GateOutcome.FAILED:
            pytest.fail(result.reason, pytrace=False)
        if outcome is GateOutcome.INCONCLUSIVE:
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


def make_items(session: pytest.Session, episodes: EpisodeSession) -> list[pytest.Item]:
    """Makes the items of all planned gates, and counts them as collected."""
    items: list[pytest.Item] = []
    for plan in episodes.late.gates:
        collector = GateCollector.from_parent(
            session,
            name=plan.title,
            nodeid=plan.title,
            path=session.config.rootpath,
            episodes=episodes,
            plan=plan,
        )
        report = collector.ihook.pytest_make_collect_report(collector=collector)
        collector.ihook.pytest_collectreport(report=report)
        items += report.result
    return items
