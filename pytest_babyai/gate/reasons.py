"""The reasons of gates: one line each, in ASCII, with the numbers that decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.statistics import seeds_for_half_width, seeds_for_margin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gate.rules import Rule
    from pytest_babyai.gate.scores import MetricValues
    from pytest_babyai.statistics import Evidence, Interval


@dataclass(frozen=True, slots=True)
class Cell:
    """One variant and task under one rule: the evidence, or why there is none."""

    rule: Rule
    values: MetricValues
    evidence: Evidence | None
    missing: str = ""
    num_errors: int = 0

    @property
    def is_bad(self) -> bool:
        """Whether the estimate lies on the bad side of the bound."""
        if self.evidence is None or self.evidence.estimate == self.rule.bound:
            return False
        return not self.rule.definition.is_better(self.evidence.estimate, self.rule.bound)

    @property
    def p_value(self) -> float:
        """Two-sided, for the bound being the truth; 1 on the good side, where nothing alarms."""
        if self.evidence is None or not self.is_bad:
            return 1.0
        return 0.0 if self.rule.is_absolute_end else self.evidence.p_value(self.rule.bound)

    def holds(self, interval: Interval | None) -> bool:
        """Returns whether a whole interval lies on the good side."""
        if interval is None:
            return False
        if self.rule.definition.lower_is_better:
            return interval.high <= self.rule.bound
        return interval.low >= self.rule.bound


_MAX_DECIMALS: Final = 8
_WANTED: Final = 0.05
"""Half width that plans are made for: five points of a share, 5 % of anything else."""


def could_turn(num_errors: int) -> str:
    """Says why a result is withheld."""
    return f"undecided: {_count(num_errors, 'error')} could turn it"


def missing_values(values: MetricValues, place: str, variant: str = "") -> str:
    """Says why values cannot be judged, nothing where they can.

    Args:
        values: The values.
        place: Where they come from, such as ``baseline main``.
        variant: Named where it has no episode, unless the reader knows it.
    """
    if values.problem:
        return f"{values.problem} in {place}"
    if values.by_pair:
        return ""
    if values.num_errors:
        return f"no episode in {place} has a score: {_count(values.num_errors, 'error')}"
    return f"{variant or 'it'} has no such episode in {place}"


def reason_of(
    cell: Cell, interval: Interval | None, outcome: str, *, num_comparisons: int, reference: str
) -> str:
    """Tells the estimate, what it rests on, and how it lies to the bound.

    Args:
        cell: What was judged; has evidence.
        interval: The interval that decided.
        outcome: ``passed``, ``failed`` or ``inconclusive``.
        num_comparisons: What the level of the interval allows for.
        reference: Label of what a change is measured against, empty for a limit.
    """
    evidence = cell.evidence
    assert evidence is not None  # the caller's promise
    shown = None if cell.rule.is_absolute_end else interval
    noun = "pair" if reference else "episode"
    basis = f"{_count(evidence.num_values, noun)} of {_count(evidence.num_seeds, 'seed')}"
    corrected = f" (Holm over {num_comparisons})" if shown and num_comparisons > 1 else ""
    estimate = _estimate_text(cell.rule, evidence.estimate, shown, reference)
    parts = [
        f"{estimate} on {basis}{corrected}: {_position(cell, interval, outcome)}",
        *(_plan(cell) if outcome != "passed" and not _is_broken(cell, interval) else ()),
    ]
    if cell.num_errors:
        parts.append(f"{_count(cell.num_errors, 'error')} left out")
    return "; ".join(parts)


def _estimate_text(rule: Rule, estimate: float, interval: Interval | None, reference: str) -> str:
    decimals = _decimals(rule, estimate, interval)
    text = _number(estimate, decimals, rule)
    if interval is not None:
        low, high = (_number(end, decimals, rule) for end in (interval.low, interval.high))
        text += f" [{low}, {high}]"
    change = f" changed by {text} against {reference}"
    return rule.metric + (change if rule.relative else f" {text}")


def _position(cell: Cell, interval: Interval | None, outcome: str) -> str:
    rule, evidence = cell.rule, cell.evidence
    bad, good = ("above", "below") if rule.definition.lower_is_better else ("below", "above")
    if rule.is_absolute_end:
        return "one episode against it is proof" if cell.is_bad else "no episode is against it"
    if outcome == "passed":
        return f"none of it {bad} {rule.bound_text}"
    if _is_broken(cell, interval):
        return f"all of it {bad} {rule.bound_text}"
    if interval is None:
        assert evidence is not None  # as in reason_of
        alone = evidence.num_seeds == 1
        doubt = "a single seed shows no spread" if alone else "few seeds that agree prove nothing"
    else:
        doubt = f"may lie {bad} or {good} {rule.bound_text}"
    return f"not proven, {doubt}" if rule.demands_proof else doubt


def _is_broken(cell: Cell, interval: Interval | None) -> bool:
    if cell.rule.is_absolute_end:
        return cell.is_bad
    if interval is None or cell.holds(interval):
        return False
    return not interval.low <= cell.rule.bound <= interval.high


def _plan(cell: Cell) -> Iterator[str]:
    """Tells the seeds for a margin or half width, from the spread alone."""
    rule, evidence = cell.rule, cell.evidence
    if evidence is None or not evidence.seed_sd:
        return
    if rule.relative and rule.bound:
        wanted = abs(rule.bound)
        found = seeds_for_margin(wanted, evidence.seed_sd, evidence.num_seeds, level=rule.level)
        what = f"to show a change of {rule.bound_text} (power 0.8)"
    else:
        wanted = 100 * _WANTED if rule.in_percent else _WANTED * _unit(cell)
        found = seeds_for_half_width(wanted, evidence.seed_sd, evidence.num_seeds, level=rule.level)
        what = f"for +/-{wanted:.2g}{'%' if rule.in_percent else ''}"
    yield f"{found[0]:,} to {found[1]:,} seeds {what}"


def _unit(cell: Cell) -> float:
    if math.isfinite(cell.rule.definition.high):
        return 1.0
    values = [value for group in cell.values.by_pair.values() for value in group]
    return math.fsum(values) / len(values) or 1.0


def _decimals(rule: Rule, estimate: float, interval: Interval | None) -> int:
    # An end that reads like the bound would contradict the outcome, so it gets more digits.
    fewest = 1 if rule.in_percent else rule.definition.decimals
    fewest = 3 if math.isfinite(rule.definition.high) else fewest
    ends = [estimate, *((interval.low, interval.high) if interval else ())]
    distances = [abs(end - rule.bound) for end in ends]
    differing = [distance for distance in distances if distance > 10**-_MAX_DECIMALS]
    shown = (
        decimals
        for decimals in range(fewest, _MAX_DECIMALS)
        if all(round(distance, decimals) > 0 for distance in differing)
    )
    return next(shown, _MAX_DECIMALS)


def _number(value: float, decimals: int, rule: Rule) -> str:
    rounded = round(value, decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    sign = "+" if rule.relative else ""
    return f"{rounded:{sign},.{decimals}f}{'%' if rule.in_percent else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
