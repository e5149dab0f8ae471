"""The rules of gates, in the one text form of option, ini value, marker and YAML.

```
[SCOPE:]METRIC COMPARATOR BOUND[@LEVEL%][!]

success>=0.8               a floor: what has to hold
steps<=40                  a ceiling, for metrics of which less is better
progression<-0.05@95%      a change against the reference that must not be: by more than 0.05
steps>+10%                 the same in percent of the reference
success>=0.8!              a floor that has to be proven
success<-0.05!             non-inferiority: a fall by more than 0.05 has to be ruled out
history:success>=0.8       one variant; without a scope every variant is judged by itself
history/goto:success>=0.8  one variant on one task
*/goto:success>=0.8        every variant on one task
*/*:success>=0.5           every variant on every task
```

A rule fails where it is surely broken, and passes where it surely holds; in between it is
inconclusive. With a ``!`` at its end it fails unless it surely holds. *Surely* means that the whole
confidence interval lies on that side.

Blanks are free, several rules are separated by commas, semicolons or line ends. The level is that
of the two-sided confidence interval, 95 % where none is given. A floor or ceiling has an ``=``, a
change has a sign, so neither can be taken for the other.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import RuleError, did_you_mean
from pytest_babyai.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_babyai.metrics import Metric

EACH: Final = "*"
"""In a scope: every variant, or every task, by itself."""
DEFAULT_LEVEL: Final = 0.95

_LEVEL_DECIMALS: Final = 10
_MIN_LEVEL: Final = 0.5
_NUMBER: Final = re.compile(r"([+-]?)\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)")
_LEVEL: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HEAD: Final = re.compile(r"[^<>=!~≤≥]*")
_COMPARATOR: Final = re.compile(r"[<>=!~≤≥]*")
_ASCII_OF: Final = {"≥": ">=", "≤": "<="}
_SCOPES: Final = "write 'history:', 'history/goto:' or '*/goto:'"


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
        demands_proof: Whether it fails unless it surely holds.
    """

    metric: str
    relative: bool
    bound: float
    in_percent: bool = False
    level: float = DEFAULT_LEVEL
    variant: str = EACH
    task: str | None = None
    demands_proof: bool = False

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
    def is_absolute_end(self) -> bool:
        """Whether the bound is the end of what there is, such as ``success>=1``.

        One episode against it is proof, and statistics have no part in it.
        """
        end = 0.0 if self.definition.lower_is_better else self.definition.high
        return not self.relative and self.bound == end

    def for_cell(self, variant: str, task: str | None) -> Rule:
        """Returns the rule for one variant, on one task or on all of them together."""
        return dataclasses.replace(self, variant=variant, task=task)

    def __str__(self) -> str:
        """The shortest text that `parse_rule` reads as this rule."""
        scope = "" if self.variant == EACH and self.task is None else f"{self.variant}:"
        if self.task is not None:
            scope = f"{self.variant}/{self.task}:"
        percentage = repr(round(100 * self.level, _LEVEL_DECIMALS)).removesuffix(".0")
        level = "" if self.level == DEFAULT_LEVEL else f"@{percentage}%"
        proof = "!" if self.demands_proof else ""
        return f"{scope}{self.metric}{self.comparator}{self.bound_text}{level}{proof}"


def parse_rules(value: Any, place: str = "") -> tuple[Rule, ...]:
    """Reads rules from text or from a sequence of texts; repeats count once.

    Args:
        value: As an option, ini value, marker argument or YAML entry gives it.
        place: Where it stands, such as ``--babyai-fail``, for error lines.

    Raises:
        RuleError: One of them is no rule, or there is none; the line says what was found where,
            and what would be right.
    """
    prefix = f"{place}: " if place else ""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise RuleError(f"{prefix}{value!r} is not a rule; write for example 'success>=0.8'")
    try:
        rules = tuple(dict.fromkeys(rule for part in parts for rule in _split_and_parsed(part)))
    except RuleError as error:
        raise RuleError(f"{prefix}{error}") from None
    if not rules:
        raise RuleError(f"{prefix}there is no rule; write for example 'success>=0.8'")
    return rules


def parse_rule(text: str) -> Rule:
    """Reads one rule.

    Raises:
        RuleError: It is none; as `parse_rules`.
    """
    try:
        return _parsed(text)
    except ValueError as error:
        raise RuleError(f"rule {text!r}: {error}") from None


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
        yield (
            "a change needs a second variant, or a baseline (--babyai-compare=NAME); "
            f"a limit would be {rule.definition.example!r}"
        )


def _split_and_parsed(text: str) -> Iterator[Rule]:
    # A comma separates rules, so 'a,b:success>=.8' falls apart into 'a' and 'b:success>=.8'.
    scopes: list[str] = []
    for part in (part.strip() for part in re.split(r"[,;\n]", text)):
        if part and part == _HEAD.match(part)[0] and part not in METRICS and ":" not in part:  # type: ignore[index]
            scopes.append(part)
            continue
        if scopes and ":" in part:
            rest = part.partition(":")[2].strip()
            both = ", ".join(f"{name}:{rest}" for name in (*scopes, part.partition(":")[0]))
            raise RuleError(f"rule {text!r}: a scope names one variant; write {both!r}")
        if part:
            yield parse_rule(part)
    if scopes:
        parse_rule(scopes[0])


def _parsed(text: str) -> Rule:
    body, is_proof = text.strip(), False
    if body.endswith("!"):
        body, is_proof = body[:-1].rstrip(), True
    body, at, level = body.partition("@")
    head = _matched(_HEAD, body, 0)
    comparator = _matched(_COMPARATOR, body, len(head))
    variant, task, name = _scope_and_name(head)
    if not name:
        raise ValueError(f"it names no metric; choose from {', '.join(METRICS)}")
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; {did_you_mean(name, METRICS)}")
    rest = body[len(head) + len(comparator) :].strip()
    rule = dataclasses.replace(
        _bounded(METRICS[name], comparator, rest),
        level=_level(level.strip()) if at else DEFAULT_LEVEL,
        variant=variant,
        task=task,
        demands_proof=is_proof,
    )
    if is_proof and rule.is_absolute_end:
        raise ValueError(
            f"no number of episodes proves {rule.comparator}{rule.bound_text}; "
            f"write a bound that can be proven, such as {rule.definition.example + '!'!r}"
        )
    return rule


def _matched(pattern: re.Pattern[str], text: str, start: int) -> str:
    match = pattern.match(text, start)
    return match[0] if match else ""


def _scope_and_name(head: str) -> tuple[str, str | None, str]:
    scope, colon, name = (part.strip() for part in head.rpartition(":"))
    parts = [part.strip() for part in scope.split("/")]
    if colon and (len(parts) > 2 or not all(parts)):  # noqa: PLR2004 -- variant and task
        problem = "has more than variant and task" if all(parts) else "is incomplete"
        raise ValueError(f"the scope {scope!r} {problem}; {_SCOPES}")
    if not colon and re.search(r"[/\s]", name):
        raise ValueError(f"{name!r} is no metric, and a scope ends in a colon; {_SCOPES}")
    return parts[0] or EACH, parts[1] if len(parts) > 1 else None, name


def _bounded(metric: Metric, comparator: str, text: str) -> Rule:
    examples = f"write {metric.example!r} or {metric.example_of_change!r}"
    if not comparator:
        raise ValueError(f"no comparison after {metric.name!r}; {examples}")
    if comparator in _ASCII_OF:
        right = f"{metric.name}{_ASCII_OF[comparator]}{text}"
        raise ValueError(f"{comparator!r} is written {_ASCII_OF[comparator]!r}; write {right!r}")
    if "!" in comparator:
        plain = comparator.replace("!", "")
        limit = "" if plain.endswith("=") or text[:1] in "+-" else "="
        right = f"{metric.name}{plain}{limit}{text}!"
        raise ValueError(f"the '!' of a rule that demands proof is its end; write {right!r}")
    relative = comparator in {"<", ">"}
    if comparator not in {"<", ">", "<=", ">="}:
        raise ValueError(f"{comparator!r} is no comparison of rules; {examples}")
    match = _NUMBER.fullmatch(text)
    if match is None:
        found = repr(text) if text else "nothing"
        raise ValueError(f"expected a number after {comparator!r}, found {found}; {examples}")
    sign, digits, percent = match.groups()
    bound = float(sign + digits)
    if relative and not sign and bound != 0:
        raise ValueError(
            f"{comparator + text!r} has no sign: a change has one, a limit has an '='; {examples}"
        )
    _check_direction(metric, comparator, relative=relative)
    if percent and not relative:
        bound, percent = round(bound / 100, _LEVEL_DECIMALS + 2), ""
        if not metric.is_share:
            raise ValueError(f"{metric.name!r} is no share, so {text!r} is a percentage of nothing")
    _check_range(metric, bound, text, relative=relative, in_percent=bool(percent))
    return Rule(metric.name, relative, bound + 0.0, bool(percent))


def _check_direction(metric: Metric, comparator: str, *, relative: bool) -> None:
    if comparator in (("<=", ">") if metric.lower_is_better else (">=", "<")):
        return
    better = "less" if metric.lower_is_better else "more"
    wish = "would fail an improvement" if relative else "would ask for a bad run"
    example = metric.example_of_change if relative else metric.example
    raise ValueError(
        f"{comparator!r} {wish}: {better} {metric.name!r} is better; write {example!r}"
    )


def _check_range(
    metric: Metric, bound: float, text: str, *, relative: bool, in_percent: bool
) -> None:
    if not math.isfinite(bound):
        raise ValueError(f"{text!r} is too large")
    if in_percent and metric.is_share:
        points = repr(round(bound / 100, _LEVEL_DECIMALS))
        raise ValueError(
            f"{text!r} could mean points or a percentage of the reference; for points write "
            f"'{points if bound < 0 else '+' + points}'"
        )
    if in_percent and bound <= -100:  # noqa: PLR2004 -- percent
        raise ValueError(f"nothing falls by {text!r} or more; stay above -100%")
    if relative and not in_percent and not -metric.high < bound < metric.high:
        raise ValueError(f"a change of {metric.name!r} lies between -1 and 1, found {text!r}")
    if not relative and metric.high == 1 and not 0 <= bound <= 1:
        raise ValueError(f"{metric.name!r} lies between 0 and 1, found {text!r}")
    if not relative and bound < 0:
        raise ValueError(f"{metric.name!r} is never negative, found {text!r}")


def _level(text: str) -> float:
    match = _LEVEL.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a level such as '@95%', found {'@' + text!r}")
    level = round(float(match[1]) / 100, _LEVEL_DECIMALS + 2)
    if not _MIN_LEVEL <= level < 1:
        raise ValueError(f"a level lies from 50% to below 100%, found {'@' + text!r}")
    return level
