"""The rules of gates, in the one text form of option, ini value, marker and YAML.

```
[SCOPE:]METRIC COMPARATOR BOUND[@LEVEL%]

success>=0.8               a floor: what has to hold
steps<=40                  a ceiling, for metrics of which less is better
progression<-0.05@95%      a change against the reference that must not be: by more than 0.05
steps>+10%                 the same in percent of the reference
history:success>=0.8       one variant; without a scope every variant is judged by itself
history/goto:success>=0.8  one variant on one task
*/goto:success>=0.8        every variant on one task
*/*:success>=0.5           every variant on every task
```

Blanks are free, several rules are separated by commas, semicolons or line ends. The level is that
of the two-sided confidence interval, 95 % where none is given. A floor or ceiling has an ``=``, a
change has a sign, so neither can be taken for the other.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import RuleError, did_you_mean
from pytest_babyai.gate.metrics import METRICS, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EACH: Final = "*"
"""In a scope: every variant, or every task, by itself."""

DEFAULT_LEVEL: Final = 0.95
LEVEL_DECIMALS: Final = 10
"""Digits after the point of a percentage, beyond which only rounding is left."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as `parse_rule` makes it; ``str`` gives its text back.

    Attributes:
        metric: A name of `METRICS`.
        relative: Whether the bound is a change against the reference.
        bound: The floor, ceiling or change; of a change in percent, the percentage.
        in_percent: Whether the change is a percentage of the reference's mean.
        level: Confidence level of the interval that has to clear the bound.
        variant: The variant judged, `EACH` for each.
        task: The task judged, `EACH` for each, None for all of them together.
    """

    metric: str
    relative: bool
    bound: float
    in_percent: bool = False
    level: float = DEFAULT_LEVEL
    variant: str = EACH
    task: str | None = None

    @property
    def definition(self) -> Metric:
        """The metric itself."""
        return METRICS[self.metric]

    @property
    def comparator(self) -> str:
        """``>=`` or ``<=`` before what has to hold, ``<`` or ``>`` before what must not be."""
        if self.relative:
            return ">" if self.definition.lower_is_better else "<"
        return "<=" if self.definition.lower_is_better else ">="

    @property
    def bound_text(self) -> str:
        """The bound as rules write it: ``0.8``, ``-0.05``, ``+10%``."""
        text = repr(float(self.bound)).removesuffix(".0") if self.bound else "0"
        sign = "+" if self.relative and self.bound > 0 else ""
        return f"{sign}{text}{'%' if self.in_percent else ''}"

    @property
    def scope(self) -> str:
        """The scope as rules write it, empty for every variant over all tasks."""
        if self.task is not None:
            return f"{self.variant}/{self.task}"
        return "" if self.variant == EACH else self.variant

    def for_cell(self, variant: str, task: str | None) -> Rule:
        """Returns the rule for one variant, on one task or on all of them together."""
        return dataclasses.replace(self, variant=variant, task=task)

    def __str__(self) -> str:
        """The shortest text that `parse_rule` reads as this rule."""
        prefix = f"{self.scope}:" if self.scope else ""
        percentage = repr(round(100 * self.level, LEVEL_DECIMALS)).removesuffix(".0")
        suffix = "" if self.level == DEFAULT_LEVEL else f"@{percentage}%"
        return f"{prefix}{self.metric}{self.comparator}{self.bound_text}{suffix}"


def check_rules(
    rules: Iterable[Rule],
    *,
    variants: Sequence[str],
    tasks: Sequence[str],
    has_reference: bool,
    place: str = "",
) -> None:
    """Finds what would make a rule judge nothing, before an episode is played.

    Args:
        rules: The rules.
        variants: Variants that there are; of a remote gateway, whose variants are unknown, none.
        tasks: Short names of the tasks that there are.
        has_reference: Whether there is something that changes are measured against.
        place: Where the rules stand, for error lines.

    Raises:
        RuleError: A scope names no variant or task, or a change has no reference.
    """
    prefix = f"{place}: " if place else ""
    for rule in rules:
        for problem in _problems(rule, variants, tasks, has_reference=has_reference):
            raise RuleError(f"{prefix}rule {str(rule)!r}: {problem}")


def _problems(
    rule: Rule, variants: Sequence[str], tasks: Sequence[str], *, has_reference: bool
) -> Iterator[str]:
    if variants and rule.variant not in {EACH, *variants}:
        yield f"unknown variant {rule.variant!r}; {did_you_mean(rule.variant, variants)}"
    if rule.task not in {None, EACH, *tasks}:
        yield f"unknown task {rule.task!r}; {did_you_mean(str(rule.task), tasks)}"
    if rule.relative and not has_reference:
        limit = rule.definition.example
        yield f"a change needs a baseline (--babyai-compare=NAME); a limit would be {limit!r}"
