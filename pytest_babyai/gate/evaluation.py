"""Judges a run by rules. Every rule is one of three: failed, passed or inconclusive.

* *failed*: the estimate lies on the bad side of the bound, and the whole confidence interval does.
* *passed*: the whole interval lies on the good side, its end on the bound included. So does a run
  whose seeds all agree exactly on the good side, as two runs of a deterministic agent do.
* *inconclusive*: the interval contains the bound, or there is none (no score, a single seed,
  unknown values). The reason says what is missing, and how many more seeds would decide with
  probability 0.8 if the estimate is the truth.

A limit at the end of what a share can be, ``success>=1`` or ``errors<=0``, needs no statistics: one
episode against it is proof, and without one the rule has passed.

A rule judges every variant (and task) of its scope by itself. The more it judges, the likelier one
of them looks bad by chance, so within a rule a failure also has to hold after Holm's correction
(Holm 1979, on one-sided p-values): a rule at 95 % fails wrongly with probability at most 5 %
however many variants it judges (2.5 % in fact: its intervals are two-sided, and one side fails).
Passing is no alarm and is not corrected. Between rules nothing is corrected: to add a rule about
tokens must not weaken the one about success.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.gate.evidence import mean_evidence, share_evidence
from pytest_babyai.gate.metrics import MetricValues, metric_values
from pytest_babyai.gate.rules import EACH
from pytest_babyai.gate.wording import Judgement, missing_values, reason_of
from pytest_babyai.statistics import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate.evidence import Evidence
    from pytest_babyai.gate.metrics import Pair
    from pytest_babyai.gate.rules import Rule
    from pytest_babyai.gate.scores import RunScores


class GateOutcome(str, enum.Enum):
    """What a rule came to."""

    PASSED = "passed"
    """The evidence is clear that all is well."""
    FAILED = "failed"
    """The evidence is clear that it is not."""
    INCONCLUSIVE = "inconclusive"
    """Too few episodes to tell; fails nothing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What changes are measured against.

    Attributes:
        label: Names it in reasons: ``baseline main``, ``variant baseline``.
        run: Its episodes.
        variant: The one variant that all others are compared with; None where each is compared
            with its namesake.
    """

    label: str
    run: RunScores
    variant: str | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a rule came to for one variant, on one task or on all of them together.

    Attributes:
        rule: The rule, its scope narrowed to what was judged.
        variant: The variant, ``*`` where the run has none.
        task: The task, None for all of them together.
        outcome: What it came to.
        reason: One line of ASCII.
        num_more_seeds: Seeds to be added for a decision; None unless inconclusive, and where no
            number of seeds within reason decides.
    """

    rule: Rule
    variant: str
    task: str | None
    outcome: GateOutcome
    reason: str
    num_more_seeds: int | None = None

    @property
    def name(self) -> str:
        """Names the gate among others: ``history/goto:success>=0.8``."""
        return str(self.rule)


@dataclass(frozen=True, slots=True)
class _Cell:
    """One variant and task under one rule: the evidence, or why there is none."""

    rule: Rule
    values: MetricValues
    evidence: Evidence | None
    missing: str = ""


def evaluate_rules(
    rules: Iterable[Rule], run: RunScores, reference: Reference | None = None
) -> tuple[GateResult, ...]:
    """Judges a run; the outcomes are told at the top of this module.

    Args:
        rules: As `parse_rules` gives them.
        run: The episodes that were played.
        reference: What changes are measured against; without it they are inconclusive.

    Returns:
        At least one result per rule, one per variant and task that it judges.
    """
    return tuple(result for rule in rules for result in _evaluate(rule, run, reference))


def planned_gates(
    rules: Iterable[Rule], run: RunScores, reference: Reference | None = None
) -> tuple[Rule, ...]:
    """Returns the gates that `evaluate_rules` would judge: each rule by variant and task.

    Args:
        rules: As `parse_rules` gives them.
        run: The episodes that will be played; they need no scores.
        reference: What changes will be measured against.
    """
    found = (narrowed for rule in rules for narrowed in _narrowed(rule, run, reference) or [rule])
    return tuple(dict.fromkeys(found))


def _evaluate(rule: Rule, run: RunScores, reference: Reference | None) -> Iterator[GateResult]:
    cells = [_cell(narrowed, run, reference) for narrowed in _narrowed(rule, run, reference)]
    if not cells:
        reason = "nothing to judge: no episode was played that it could be held against"
        yield GateResult(rule, rule.variant, rule.task, GateOutcome.INCONCLUSIVE, reason)
    for cell, p_value in zip(cells, _adjusted(cells), strict=True):
        yield _result(cell, reference, p_value, len(cells))


def _narrowed(rule: Rule, run: RunScores, reference: Reference | None) -> list[Rule]:
    itself = reference.variant if reference is not None and rule.relative else None
    each = [variant for variant in run.variants if variant != itself]
    return [
        rule.for_cell(variant, task)
        for variant in (each if rule.variant == EACH else [rule.variant])
        for task in (run.tasks if rule.task == EACH else [rule.task])
    ]


def _cell(rule: Rule, run: RunScores, reference: Reference | None) -> _Cell:
    values = metric_values(run, rule.definition, rule.variant, rule.task)
    missing = missing_values(values, "this run")
    if missing:
        return _Cell(rule, values, None, missing)
    if not rule.relative:
        return _Cell(rule, values, _limit_evidence(rule, values))
    if reference is None:
        return _Cell(rule, values, None, "a change needs a reference, and there is none")
    if reference.variant == rule.variant:
        return _Cell(rule, values, None, f"{rule.variant} is itself what others are compared with")
    return _against(rule, values, reference)


def _limit_evidence(rule: Rule, values: MetricValues) -> Evidence:
    binary = all(value in (0.0, 1.0) for group in values.by_pair.values() for value in group)
    if rule.definition.is_share and binary and 0 < rule.bound < 1:
        return share_evidence(values.by_pair, rule.bound, level=rule.level)
    means = values.means
    return mean_evidence(means, dict.fromkeys(means, rule.bound), level=rule.level)


def _against(rule: Rule, values: MetricValues, reference: Reference) -> _Cell:
    variant = reference.variant or rule.variant
    old = metric_values(reference.run, rule.definition, variant, rule.task)
    missing = missing_values(old, reference.label, variant)
    common = values.by_pair.keys() & old.by_pair.keys()
    if not missing and not common:
        missing = f"no (task, seed) in common with {reference.label}"
    if missing:
        return _Cell(rule, values, None, missing)
    means = {pair: mean for pair, mean in old.means.items() if pair in common}
    return _change_evidence(rule, values, means, reference.label)


def _change_evidence(
    rule: Rule, values: MetricValues, old: Mapping[Pair, float], label: str
) -> _Cell:
    if not rule.in_percent:
        target = {pair: value + rule.bound for pair, value in old.items()}
        return _Cell(rule, values, mean_evidence(values.means, target, level=rule.level))
    center = sum(old.values()) / len(old)
    if center <= 0:
        return _Cell(rule, values, None, f"there is no percentage of {center:g} in {label}")
    # Comparing with the reference times a factor, not with a fixed number of steps or tokens,
    # lets the reference's own uncertainty count (Fieller 1954).
    target = {pair: value * (1 + rule.bound / 100) for pair, value in old.items()}
    evidence = mean_evidence(values.means, target, level=rule.level, unit=center / 100)
    return _Cell(rule, values, evidence)


def _adjusted(cells: Sequence[_Cell]) -> tuple[float, ...]:
    # On the good side the one-sided p-value is 0.5 or more, and twice that at most 1.
    return holm([_p_value(cell) if _bad(cell) else 1.0 for cell in cells])


def _p_value(cell: _Cell) -> float:
    if _is_proof(cell.rule):
        return 0.0
    found = cell.evidence.p_value if cell.evidence else None
    return 1.0 if found is None else found


def _bad(cell: _Cell) -> bool:
    if cell.evidence is None:
        return False
    excess = cell.evidence.excess
    return excess > 0 if cell.rule.definition.lower_is_better else excess < 0


def _is_proof(rule: Rule) -> bool:
    end = 0.0 if rule.definition.lower_is_better else 1.0
    return not rule.relative and rule.definition.is_share and rule.bound == end


def _is_fine(cell: _Cell, evidence: Evidence) -> bool:
    if _is_proof(cell.rule) or evidence.unanimous:
        return not _bad(cell)
    interval = evidence.interval
    if interval is None:
        return False
    return interval.high <= 0 if cell.rule.definition.lower_is_better else interval.low >= 0


def _result(cell: _Cell, reference: Reference | None, p_value: float, num_cells: int) -> GateResult:
    rule, evidence = cell.rule, cell.evidence
    if evidence is None:
        return GateResult(rule, rule.variant, rule.task, GateOutcome.INCONCLUSIVE, cell.missing)
    outcome, num_more = GateOutcome.INCONCLUSIVE, None
    if p_value <= 1 - rule.level:
        outcome = GateOutcome.FAILED
    elif _is_fine(cell, evidence):
        outcome = GateOutcome.PASSED
    else:
        # A failure has to hold after correction; a pass needs none.
        level = 1 - (1 - rule.level) / (num_cells if _bad(cell) else 1)
        needed = evidence.seeds_to_decide(level)
        num_more = None if needed is None else max(1, needed - evidence.num_seeds)
    judgement = Judgement(
        outcome=outcome.value,
        values=cell.values,
        evidence=evidence,
        is_proof=_is_proof(rule),
        num_more_seeds=num_more,
        num_comparisons=num_cells,
        reference=reference.label if reference and rule.relative else "",
    )
    reason = reason_of(rule, judgement)
    return GateResult(rule, rule.variant, rule.task, outcome, reason, num_more)
