"""The reasons of gates: one line each, in ASCII, with the numbers that decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gate.evidence import Evidence
    from pytest_babyai.gate.metrics import MetricValues
    from pytest_babyai.gate.rules import Rule
    from pytest_babyai.statistics import Interval

_MAX_DECIMALS: Final = 8
_PERCENT_DECIMALS: Final = 1


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a reason is made of.

    Attributes:
        outcome: ``passed``, ``failed`` or ``inconclusive``.
        values: The run's values.
        evidence: What they say about the bound.
        is_proof: Whether the bound is the end of what there is, where statistics have no part.
        num_more_seeds: Seeds to be added for a decision.
        num_comparisons: What the rule judges in all.
        reference: Label of what a change is measured against, empty for a limit.
    """

    outcome: str
    values: MetricValues
    evidence: Evidence
    is_proof: bool
    num_more_seeds: int | None
    num_comparisons: int
    reference: str


def missing_values(values: MetricValues, place: str, variant: str = "") -> str:
    """Says why values cannot be judged, nothing where they can.

    Args:
        values: The values.
        place: Where they come from, such as ``baseline main``.
        variant: Named where it has no episode, unless the reader knows it.
    """
    if values.undefined:
        episode, value = values.undefined
        found = "unknown" if value is None else f"{value}"
        return f"the value of {episode} in {place} is {found}"
    if values.by_pair:
        return ""
    if values.num_errors:
        return f"no episode in {place} has a score: {_count(values.num_errors, 'error')}"
    return f"{variant or 'it'} has no such episode in {place}"


def reason_of(rule: Rule, judgement: Judgement) -> str:
    """Tells the estimate, what it rests on, and how it lies to the bound."""
    parts = [
        f"{_estimate_text(rule, judgement)} {_basis(judgement)}: {_position(rule, judgement)}",
        *_notes(judgement),
    ]
    return "; ".join(parts)


def _estimate_text(rule: Rule, judgement: Judgement) -> str:
    excess, interval = judgement.evidence.excess, judgement.evidence.interval
    shown = None if judgement.is_proof else interval
    decimals = _decimals(rule, excess, shown)
    estimate = _number(rule.bound + excess, decimals, rule)
    ends = ""
    if shown is not None:
        low = _number(rule.bound + shown.low, decimals, rule)
        high = _number(rule.bound + shown.high, decimals, rule)
        ends = f" [{low}, {high}]"
    change = f" changed by {estimate}{ends} against {judgement.reference}"
    return rule.metric + (change if rule.relative else f" {estimate}{ends}")


def _basis(judgement: Judgement) -> str:
    evidence, noun = judgement.evidence, "pair" if judgement.reference else "episode"
    return f"on {_count(evidence.num_values, noun)} of {_count(evidence.num_seeds, 'seed')}"


def _position(rule: Rule, judgement: Judgement) -> str:
    bad, good = ("above", "below") if rule.definition.lower_is_better else ("below", "above")
    if judgement.is_proof:
        broken = judgement.outcome == "failed"
        return "one episode against it is proof" if broken else "no episode is against it"
    if judgement.outcome == "failed":
        return f"all of it {bad} {rule.bound_text}"
    if judgement.outcome == "passed":
        agreement = "every seed agrees, " if judgement.evidence.unanimous else ""
        return f"{agreement}none of it {bad} {rule.bound_text}"
    return _doubt(judgement, f"{bad} or {good} {rule.bound_text}", f"{bad} {rule.bound_text}")


def _doubt(judgement: Judgement, either: str, bad: str) -> str:
    interval = judgement.evidence.interval
    if interval is None:
        return _no_interval(judgement)
    if interval.low <= 0 <= interval.high:
        return f"may lie {either}"
    return f"{bad}, but not after correction for {_count(judgement.num_comparisons, 'comparison')}"


def _no_interval(judgement: Judgement) -> str:
    if judgement.evidence.num_seeds == 1:
        return "a single seed shows no spread"
    return "so few seeds prove nothing even if they agree"


def _notes(judgement: Judgement) -> Iterator[str]:
    if judgement.outcome == "inconclusive":
        if judgement.num_more_seeds is None:
            yield "the estimate lies too close to the bound for more seeds to decide"
        else:
            yield f"about {_count(judgement.num_more_seeds, 'more seed')} would decide"
    if judgement.values.num_errors:
        yield f"{_count(judgement.values.num_errors, 'error')} left out"


def _decimals(rule: Rule, excess: float, interval: Interval | None) -> int:
    # An end that reads like the bound would contradict the outcome, so it gets more digits.
    fewest = _PERCENT_DECIMALS if rule.in_percent else rule.definition.decimals
    distances = [excess, *((interval.low, interval.high) if interval else ())]
    differing = [abs(distance) for distance in distances if abs(distance) > 10**-_MAX_DECIMALS]
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
