"""A planned run as lines: its episodes, what they will take, and what they can show."""

from __future__ import annotations

import math
import textwrap
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
    RATE,
    SCORE,
    UNICODE,
    Symbols,
    count_of,
    format_duration,
    format_number,
    format_seeds,
)
from pytest_babyai.reporting.tables import table_lines
from pytest_babyai.reporting.terminal import NO_STYLE, WARNING_STYLE, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_MIN_WIDTH = 20
_HEADERS = ("variant", "task", "episodes", "requests", "tokens", "cost", "from")


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
    yield from _wrapped([_scope(plan, symbols)], width)
    if plan.groups:
        rows = [_cells(group, symbols) for group in plan.groups]
        yield Line("")
        for line in table_lines(_HEADERS, rows, width=width, ellipsis=symbols.ellipsis):
            yield Line(line)
    yield Line("")
    yield from _wrapped([_totals(plan, symbols)], width, {"bold": True})
    yield from _wrapped([_detects(plan, symbols)], width)
    yield from _wrapped(_basis(plan), width)
    yield from _wrapped(_unknown_prices(plan.groups), width, WARNING_STYLE)


def _scope(plan: RunPlan, symbols: Symbols) -> str:
    parts = [f"plan: {count_of(_num_episodes(plan.groups), 'episode')}"]
    if plan.num_reused:
        parts.append(f"{plan.num_reused:,} more taken over from the resumed run")
    parts.append(f"seeds: {format_seeds(plan.seeds, symbols)}")
    if plan.repeats > 1:
        parts.append(f"each played {plan.repeats} times")
    return f" {symbols.dot} ".join(parts)


def _cells(group: PlannedGroup, symbols: Symbols) -> list[str]:
    forecast, number = group.forecast, group.num_episodes
    basis = count_of(forecast.num_past, "episode") if forecast.num_past else "assumption"
    return [
        group.variant,
        group.task,
        f"{number:,}",
        _rounded(number * forecast.num_requests),
        _amount(number, forecast.num_tokens, symbols),
        _dollars(None if forecast.cost is None else number * forecast.cost, symbols),
        basis,
    ]


def _totals(plan: RunPlan, symbols: Symbols) -> str:
    groups = plan.groups
    num_requests = sum(group.num_episodes * group.forecast.num_requests for group in groups)
    tokens = _total((group.num_episodes, group.forecast.num_tokens) for group in groups)
    cost = _total((group.num_episodes, group.forecast.cost) for group in groups)
    duration = format_duration(wall_time_s(groups, plan.concurrency))
    parts = [
        f"about {_rounded(num_requests)} requests",
        f"{_amount(1, tokens, symbols)} tokens",
        f"cost {_dollars(cost, symbols)}",
        f"{duration} with {count_of(plan.concurrency, 'request')} in flight",
    ]
    return f" {symbols.dot} ".join(parts)


def _detects(plan: RunPlan, symbols: Symbols) -> str:
    success = format_number(plan.detectable.success, RATE, symbols)
    progression = format_number(plan.detectable.progression, SCORE, symbols)
    return (
        "smallest difference between two variants that it can detect "
        f"(80 % power, 95 % confidence): success {success} {symbols.dot} progression {progression}"
    )


def _basis(plan: RunPlan) -> Iterator[str]:
    num_past = sum(group.forecast.num_past for group in plan.groups)
    if num_past:
        yield f"Requests, tokens, cost and time rest on {count_of(num_past, 'past episode')}."
    if any(not group.forecast.num_past for group in plan.groups):
        where = " where none was played before" if num_past else ""
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


def _amount(number: int, each: float | None, symbols: Symbols) -> str:
    return symbols.dash if each is None else _rounded(number * each)


def _rounded(value: float) -> str:
    return f"{math.ceil(value):,}"


def _dollars(cost: float | None, symbols: Symbols) -> str:
    if cost is None:
        return symbols.dash
    return f"${cost:,.2f}" if cost >= 1 or not cost else f"${cost:.4f}"


def _wrapped(
    texts: Iterable[str], width: int, style: Mapping[str, bool] = NO_STYLE
) -> Iterator[Line]:
    wrapper = textwrap.TextWrapper(
        max(width, _MIN_WIDTH), subsequent_indent="  ", break_on_hyphens=False
    )
    for text in texts:
        for line in wrapper.wrap(text):
            yield Line(line, style)
