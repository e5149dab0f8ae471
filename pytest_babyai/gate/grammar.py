"""Reads rules of gates; their form is told in `pytest_babyai.gate.rules`."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import RuleError, did_you_mean
from pytest_babyai.gate.metrics import METRICS
from pytest_babyai.gate.rules import DEFAULT_LEVEL, EACH, LEVEL_DECIMALS, Rule

if TYPE_CHECKING:
    from pytest_babyai.gate.metrics import Metric

_MIN_LEVEL: Final = 0.5
_NUMBER: Final = re.compile(r"([+-]?)\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(%?)")
_LEVEL: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HEAD: Final = re.compile(r"[^<>=!~]*")
_COMPARATOR: Final = re.compile(r"[<>=!~]*")


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
    texts = [text.strip() for part in parts for text in re.split(r"[,;\n]", part)]
    try:
        rules = tuple(dict.fromkeys(parse_rule(text) for text in texts if text))
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


def _parsed(text: str) -> Rule:
    body, at, level = text.partition("@")
    head = _matched(_HEAD, body, 0)
    comparator = _matched(_COMPARATOR, body, len(head))
    variant, task, name = _scope_and_name(head)
    if not name:
        raise ValueError(f"it names no metric; choose from {', '.join(METRICS)}")
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}; {did_you_mean(name, METRICS)}")
    rule = _bounded(METRICS[name], comparator, body[len(head) + len(comparator) :].strip())
    return dataclasses.replace(
        rule, level=_level(level.strip()) if at else DEFAULT_LEVEL, variant=variant, task=task
    )


def _matched(pattern: re.Pattern[str], text: str, start: int) -> str:
    match = pattern.match(text, start)
    return match[0] if match else ""


def _scope_and_name(head: str) -> tuple[str, str | None, str]:
    scope, colon, name = (part.strip() for part in head.rpartition(":"))
    variant, slash, task = (part.strip() for part in scope.partition("/"))
    if (colon and not variant) or (slash and not task):
        raise ValueError(f"the scope {scope!r} is incomplete; {_SCOPES}")
    if not colon and re.search(r"[/\s]", name):
        raise ValueError(f"{name!r} is no metric, and a scope ends in a colon; {_SCOPES}")
    return variant or EACH, task or None, name


_SCOPES: Final = "write 'history:', 'history/goto:' or '*/goto:'"


def _bounded(metric: Metric, comparator: str, text: str) -> Rule:
    examples = f"write {metric.example!r} or {metric.example_of_change!r}"
    if not comparator:
        raise ValueError(f"no comparison after {metric.name!r}; {examples}")
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
        bound, percent = round(bound / 100, LEVEL_DECIMALS + 2), ""
        if not metric.is_share:
            raise ValueError(f"{metric.name!r} is no share, so {text!r} is a percentage of nothing")
    _check_range(metric, bound, text, relative=relative, in_percent=bool(percent))
    return Rule(metric.name, relative, bound, bool(percent))


def _check_direction(metric: Metric, comparator: str, *, relative: bool) -> None:
    wanted = ("<=", ">") if metric.lower_is_better else (">=", "<")
    if comparator in wanted:
        return
    better = "less" if metric.lower_is_better else "more"
    if relative:
        raise ValueError(
            f"{comparator!r} would fail an improvement: {better} {metric.name!r} is better; "
            f"write {metric.example_of_change!r}"
        )
    raise ValueError(
        f"{comparator!r} would ask for a bad run: {better} {metric.name!r} is better; "
        f"write {metric.example!r}"
    )


def _check_range(
    metric: Metric, bound: float, text: str, *, relative: bool, in_percent: bool
) -> None:
    if not math.isfinite(bound):
        raise ValueError(f"{text!r} is too large")
    if in_percent and metric.is_share:
        points = repr(round(bound / 100, LEVEL_DECIMALS))
        raise ValueError(
            f"{text!r} could mean points or a percentage of the reference; for points write "
            f"'{points if bound < 0 else '+' + points}'"
        )
    if in_percent and bound <= -100:  # noqa: PLR2004 -- percent
        raise ValueError(f"nothing falls by {text!r} or more; stay above -100%")
    if relative and metric.is_share and not -1 < bound < 1:
        raise ValueError(f"a change of {metric.name!r} lies between -1 and 1, found {text!r}")
    if not relative and metric.is_share and not 0 <= bound <= 1:
        raise ValueError(f"{metric.name!r} lies between 0 and 1, found {text!r}")
    if not relative and metric.lower_is_better and bound < 0:
        raise ValueError(f"{metric.name!r} is never negative, found {text!r}")


def _level(text: str) -> float:
    match = _LEVEL.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a level such as '@95%', found {'@' + text!r}")
    level = round(float(match[1]) / 100, LEVEL_DECIMALS + 2)
    if not _MIN_LEVEL <= level < 1:
        raise ValueError(f"a level lies from 50% to below 100%, found {'@' + text!r}")
    return level
