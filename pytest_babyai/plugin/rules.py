"""The rules of a test's gates, out of its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.gate import check_rules, parse_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.gate import Rule
    from pytest_babyai.settings.model import Settings


@dataclass(frozen=True, slots=True)
class AskedRules:
    """Rules as they were written, and where.

    Attributes:
        settings: Of the test.
        place: Where the rules stand.
        is_typed: Whether that is the command line.
        is_marked: Whether it is the test's marker.
        has_own_reference: Whether the marker names the variant that changes refer to.
    """

    settings: Settings
    place: str
    is_typed: bool
    is_marked: bool
    has_own_reference: bool


class FunctionRules(NamedTuple):
    """The gates of a test; tests with equal ones are judged together.

    Attributes:
        rules: The rules.
        marker: Place of the marker that gives them, empty where all tests share them.
        reference: The variant that changes refer to, None for the baseline.
    """

    rules: tuple[Rule, ...]
    marker: str
    reference: str | None


def read_rules(
    asked: AskedRules, *, variants: Sequence[str], declared: Sequence[str]
) -> FunctionRules:
    """Reads the rules of a test.

    A rule that was typed has to judge something. One that stands in a file or at a marker waits
    where its variant, its task or what it compares with is not there today.

    Args:
        asked: The rules as they were written.
        variants: Variants that the test plays.
        declared: All variants that there are; of a running gateway, which keeps them to itself,
            none.

    Raises:
        RuleError: One of them is no rule, or judges nothing.
    """
    settings = asked.settings
    rules = parse_rules(settings.rules, asked.place)
    # What stands nearest to a test counts: its marker's reference, then a baseline.
    is_variant = asked.has_own_reference or settings.compare is None
    reference = settings.reference if is_variant else None
    if is_variant and reference is None and len(variants) > 1:
        reference = variants[0]  # as in the table under the run
    has_reference = settings.compare is not None or reference is not None
    tasks = [resolve_task(task) for task in settings.tasks or TASKS]
    check_rules(
        rules,
        variants=variants if asked.is_typed and declared else declared,
        tasks=tasks if asked.is_typed else TASKS,
        has_reference=has_reference or not asked.is_typed,
        place=asked.place,
    )
    names, places = {"*", *variants}, {"*", None, *tasks}
    judging = (rule for rule in rules if rule.variant in names and rule.task in places)
    return FunctionRules(
        rules=tuple(rule for rule in judging if has_reference or not rule.relative),
        marker=asked.place if asked.is_marked else "",
        reference=reference,
    )
