"""A planned run as lines: its episodes, what they will take, and what they can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.reporting.forecast import (
    ASSUMED_CORRELATION,
    ASSUMED_INPUT_TOKENS,
    ASSUMED_LATENCY_S,
    ASSUMED_OUTPUT_TOKENS,
    ASSUMED_SUCCESS,
    Detectable,
    PlannedGroup,
    wall_time_s,
)
from pytest_babyai.reporting.numbers import (
    DASH,
    SCORE,
    UNICODE,
    NumberFormat,
    Symbols,
    count_of,
    format_cost,
    format_duration,
    format_number,
    format_seeds,
    translated,
)
from pytest_babyai.reporting.tables import table_lines
from pytest_babyai.reporting.terminal import BOLD, WARNING_STYLE, Line, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_HEADERS = ("variant", "task", "episodes", "requests", "tokens", "cost")
_GAP = 2
_NUM_NAMED = 3
_POINTS = NumberFormat(1, 100.0, " percentage points")
_THOUSAND = 1_000
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What a run would do.

    Attributes:
        groups: Its episodes by variant and task, as `plan_groups` gives them; with a resumed run
            those that are left.
        seeds: Its seeds.
        repeats: How often each episode is played.
        concurrency: Requests in flight at most.
        detectable: What it can show, as `plan_detectable` gives it.
        num_reused: Episodes that a resumed run takes over.
    """

    groups: Sequence[PlannedGroup]
    seeds: Sequence[int]
    repeats: int
    concurrency: int
    detectable: Detectable
    num_reused: int = 0


def plan_lines(plan: RunPlan, *, width: int = 80, symbols: Symbols = UNICODE) -> Iterator[Line]:
    """Yields the plan: a table by variant and task, totals, and what the numbers rest on.

    Args:
        plan: What would be played.
        width: Columns of the terminal; a table that is too wide is turned.
        symbols: What the terminal can print.
    """
    yield from wrapped([translated(_scope(plan), symbols)], width)
    if plan.groups:
        rows = [[translated(cell, symbols) for cell in _cells(group)] for group in plan.groups]
        yield Line("")
        for line in _table(rows, width, symbols.ellipsis):
            yield Line(line)
    yield Line("")
    yield from wrapped([translated(_totals(plan), symbols)], width, BOLD)
    yield from wrapped([translated(_detects(plan), symbols)], width)
    yield from wrapped(_basis(plan), width)
    yield from wrapped(_unknown_prices(plan.groups), width, WARNING_STYLE)


def _scope(plan: RunPlan) -> str:
    parts = [f"plan: {count_of(_num_episodes(plan.groups), 'episode')}"]
    if plan.num_reused:
        parts.append(f"{plan.num_reused:,} more taken over from the resumed run")
    parts.append(f"seeds: {format_seeds(plan.seeds)}")
    if plan.repeats > 1:
        parts.append(f"each played {plan.repeats} times")
    return " · ".join(parts)


def _table(rows: Sequence[Sequence[str]], width: int, ellipsis: str) -> Iterator[str]:
    # The usual table pads its headers; without that the longest packaged names fit 80 columns.
    table = [_HEADERS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADERS))]
    if sum(widths) + _GAP * (len(widths) - 1) > width:
        yield from table_lines(_HEADERS, rows, width=width, ellipsis=ellipsis)
        return
    for row in (table[0], ["-" * each for each in widths], *rows):
        names = [row[column].ljust(widths[column]) for column in (0, 1)]
        numbers = [cell.rjust(each) for cell, each in zip(row[2:], widths[2:], strict=True)]
        yield (" " * _GAP).join([*names, *numbers])


def _cells(group: PlannedGroup) -> list[str]:
    forecast, number = group.forecast, group.num_episodes
    return [
        group.variant,
        group.task,
        f"{number:,}",
        _rounded(number * forecast.num_requests),
        _tokens(None if forecast.num_tokens is None else number * forecast.num_tokens),
        format_cost(None if forecast.cost is None else number * forecast.cost),
    ]


def _totals(plan: RunPlan) -> str:
    groups = plan.groups
    num_requests = sum(group.num_episodes * group.forecast.num_requests for group in groups)
    tokens = _total((group.num_episodes, group.forecast.num_tokens) for group in groups)
    cost = _total((group.num_episodes, group.forecast.cost) for group in groups)
    duration = format_duration(wall_time_s(groups, plan.concurrency))
    parts = [
        f"about {_rounded(num_requests)} requests",
        f"{_tokens(tokens)} tokens",
        f"cost {format_cost(cost)}",
        f"{duration} with {count_of(plan.concurrency, 'request')} in flight",
    ]
    return " · ".join(parts)


def _detects(plan: RunPlan) -> str:
    success = format_number(plan.detectable.success, _POINTS)
    progression = format_number(plan.detectable.progression, SCORE)
    return (
        "smallest difference between two variants that it can detect "
        f"(80 % power, 95 % confidence): success {success} · progression {progression}"
    )


def _basis(plan: RunPlan) -> Iterator[str]:
    num_past = sum(group.forecast.num_past for group in plan.groups)
    if num_past:
        yield f"Requests, tokens, cost and time rest on {count_of(num_past, 'past episode')}."
    assumed = [group for group in plan.groups if not group.forecast.num_past]
    if assumed:
        where = f" for {_named(assumed)}, not played before" if num_past else ""
        yield (
            f"Assumed{where}: every episode plays to its step limit, "
            f"{ASSUMED_INPUT_TOKENS:,} + {ASSUMED_OUTPUT_TOKENS:,} tokens and "
            f"{ASSUMED_LATENCY_S:g} s a request."
        )
    if plan.detectable.from_past:
        yield "The detectable difference rests on how past seeds scattered."
    else:
        yield (
            f"The detectable difference is assumed: success {ASSUMED_SUCCESS:.0%}, variants "
            f"unrelated, tasks of one seed correlated by {ASSUMED_CORRELATION:g}; too few seeds "
            "were played by two variants before."
        )


def _unknown_prices(groups: Iterable[PlannedGroup]) -> Iterator[str]:
    unknown = [group for group in groups if group.forecast.cost is None]
    variants = ", ".join(dict.fromkeys(group.variant for group in unknown))
    if variants:
        yield f"No price is known for {variants}: the cost is unknown."


def _num_episodes(groups: Iterable[PlannedGroup]) -> int:
    return sum(group.num_episodes for group in groups)


def _total(parts: Iterable[tuple[int, float | None]]) -> float | None:
    values = [None if each is None else number * each for number, each in parts]
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _named(groups: Sequence[PlannedGroup]) -> str:
    names = [f"{group.variant} on {group.task}" for group in groups[:_NUM_NAMED]]
    if len(groups) > _NUM_NAMED:
        names.append(f"{len(groups) - _NUM_NAMED} more")
    return ", ".join(names)


def _tokens(number: float | None) -> str:
    if number is None:
        return DASH
    if number < _THOUSAND:
        return _rounded(number)
    if round(number / _THOUSAND, 1) < _THOUSAND:
        return f"{number / _THOUSAND:.1f}k"
    return f"{number / _MILLION:,.1f}M"


def _rounded(value: float) -> str:
    return f"{math.ceil(value):,}"
