"""Judges a run: gates, and comparisons, which are gates with bound 0. One path for both.

Every rule comes to one of three:

* *failed*: the whole confidence interval lies on the bad side of the bound.
* *passed*: the whole interval lies on the good side, its end on the bound included.
* *inconclusive*: the interval contains the bound, or there is none (no score, a single seed, few
  seeds that all agree). A rule that demands proof fails instead.

A limit at the end of what a share can be, ``success>=1`` or ``errors<=0``, needs no statistics: one
episode against it is proof, and without one the rule has passed.

A rule judges every variant (and task) of its scope by itself, and a comparison every variant. The
more there are, the likelier one looks bad by chance, so alarms are tested by Holm's procedure:
each interval that is printed has the level at which it was tested, and says just what the verdict
says. A rule at 95 % fails wrongly with probability at most 2.5 % however many variants it judges,
as its intervals are two-sided and one side fails. Passing is no alarm and is not corrected; nor
is anything between rules.

Errors have no score. A result that would be another one if every error were a failed episode is
withheld: ``undecided: 4 errors could turn it``.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import StatisticsError
from pytest_babyai.gate import reasons
from pytest_babyai.gate.reasons import Cell
from pytest_babyai.gate.rules import DEFAULT_LEVEL, EACH
from pytest_babyai.gate.scores import metric_values
from pytest_babyai.metrics import METRICS, PRIMARY
from pytest_babyai.statistics import (
    detectable_difference,
    difference_evidence,
    holm,
    holm_alphas,
    mean,
    mean_evidence,
    ratio_evidence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate.rules import Rule
    from pytest_babyai.gate.scores import MetricValues, RunScores
    from pytest_babyai.metrics import Metric
    from pytest_babyai.statistics import Evidence, Interval

    Spend = Callable[[float, str], float]

NO_MARGINS: Final[Mapping[str, float]] = MappingProxyType({})


def spend_all(alpha: float, variant: str) -> float:  # noqa: ARG001 -- as every `Spend`
    """Returns all of an alpha: the run is looked at once."""
    return alpha


class GateOutcome(str, enum.Enum):
    """What a rule came to."""

    PASSED = "passed"
    """The evidence is clear that all is well."""
    FAILED = "failed"
    """It is clear that it is not, or proof was demanded and there is none."""
    INCONCLUSIVE = "inconclusive"
    """Too few episodes to tell."""


class Verdict(str, enum.Enum):
    """What an interval says about a difference."""

    BETTER = "better"
    WORSE = "worse"
    TIED = "tied"
    """No difference that matters: the whole interval lies within the margin."""
    UNDECIDED = "undecided"
    """Too few episodes to tell."""


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

    def partner(self, variant: str) -> str:
        """Returns the variant of the reference that a variant is compared with."""
        return self.variant or variant


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a rule came to for one variant, on one task or on all of them together.

    Attributes:
        rule: The rule, its scope narrowed to what was judged.
        variant: The variant, ``*`` where the run has none.
        task: The task, None for all of them together.
        outcome: What it came to.
        reason: One line of ASCII.
    """

    rule: Rule
    variant: str
    task: str | None
    outcome: GateOutcome
    reason: str

    @property
    def name(self) -> str:
        """Names the gate among others: ``history/goto:success>=0.8``."""
        return str(self.rule)


def unjudged(rule: Rule, reason: str) -> GateResult:
    """Returns the result of a rule that cannot be judged; one that demands proof has failed."""
    outcome = GateOutcome.FAILED if rule.demands_proof else GateOutcome.INCONCLUSIVE
    return GateResult(rule, rule.variant, rule.task, outcome, reason)


def settled(result: GateResult, inconclusive: str = "skip") -> GateOutcome:
    """Returns the outcome of a gate under ``--babyai-inconclusive``: pass, skip or fail."""
    if result.outcome is not GateOutcome.INCONCLUSIVE or inconclusive == "skip":
        return result.outcome
    return GateOutcome.PASSED if inconclusive == "pass" else GateOutcome.FAILED


def evaluate_rules(
    rules: Iterable[Rule],
    run: RunScores,
    reference: Reference | None = None,
    *,
    spend: Spend = spend_all,
) -> tuple[GateResult, ...]:
    """Judges a run; the outcomes are told at the top of this module.

    Args:
        rules: As `parse_rules` gives them.
        run: The episodes that were played.
        reference: What changes are measured against; without it they cannot be judged.
        spend: What of an error probability a variant may use by now; all of it unless the run is
            looked at several times.

    Returns:
        At least one result per rule, one per variant and task that it judges.
    """
    return tuple(result for rule in rules for result in _evaluate(rule, run, reference, spend))


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


def cells_of(rule: Rule, run: RunScores, reference: Reference | None) -> list[Cell]:
    """Returns what a rule judges, variant by variant and task by task."""
    return [_cell(narrowed, run, reference) for narrowed in _narrowed(rule, run, reference)]


def _evaluate(
    rule: Rule, run: RunScores, reference: Reference | None, spend: Spend
) -> Iterator[GateResult]:
    cells = cells_of(rule, run, reference)
    if not cells:
        yield unjudged(
            rule, "nothing to judge: no episode was played that it could be held against"
        )
    results = _results(cells, reference, spend)
    if rule.definition.is_score and any(cell.num_errors for cell in cells):
        worst = cells_of(rule, *_with_errors_as_failures(run, reference))
        results = [
            _steady(*each)
            for each in zip(results, _results(worst, reference, spend), cells, strict=True)
        ]
    yield from results


def _with_errors_as_failures(
    run: RunScores, reference: Reference | None
) -> tuple[RunScores, Reference | None]:
    against = reference and dataclasses.replace(
        reference, run=reference.run.with_errors_as_failures()
    )
    return run.with_errors_as_failures(), against


def _steady(result: GateResult, worst: GateResult, cell: Cell) -> GateResult:
    if not cell.num_errors or result.outcome in {GateOutcome.INCONCLUSIVE, worst.outcome}:
        return result
    return unjudged(result.rule, f"{reasons.could_turn(cell.num_errors)}; {result.reason}")


def _narrowed(rule: Rule, run: RunScores, reference: Reference | None) -> list[Rule]:
    itself = reference.variant if reference is not None and rule.relative else None
    each = [variant for variant in run.variants if variant != itself]
    return [
        rule.for_cell(variant, task)
        for variant in (each if rule.variant == EACH else [rule.variant])
        for task in (run.tasks if rule.task == EACH else [rule.task])
    ]


def _cell(rule: Rule, run: RunScores, reference: Reference | None) -> Cell:
    values = metric_values(run, rule.definition, rule.variant, rule.task)
    if not rule.relative:
        missing = reasons.missing_values(values, "this run")
        evidence = (
            None if missing else mean_evidence(values.by_pair, low=0, high=rule.definition.high)
        )
        return Cell(rule, values, evidence, missing, values.num_errors)
    if reference is None:
        return Cell(rule, values, None, "a change needs a reference, and there is none")
    if reference.variant == rule.variant:
        reason = f"{rule.variant} is itself what others are compared with"
        return Cell(rule, values, None, reason)
    partner = reference.partner(rule.variant)
    theirs = metric_values(reference.run, rule.definition, partner, rule.task)
    num_errors = values.num_errors + theirs.num_errors
    missing = reasons.missing_values(values, "this run")
    missing = missing or reasons.missing_values(theirs, reference.label, partner)
    if not missing and not values.by_pair.keys() & theirs.by_pair.keys():
        missing = f"no (task, seed) in common with {reference.label}"
    if missing:
        return Cell(rule, values, None, missing, num_errors)
    try:
        evidence = change_evidence(rule.definition, values, theirs, in_percent=rule.in_percent)
    except StatisticsError as error:
        return Cell(rule, values, None, f"{error} in {reference.label}", num_errors)
    return Cell(rule, values, evidence, num_errors=num_errors)


def change_evidence(
    metric: Metric, values: MetricValues, reference: MetricValues, *, in_percent: bool = False
) -> Evidence:
    """Returns what two sides say about the change of a metric.

    Raises:
        StatisticsError: They have no pair in common, or there is no percentage of the reference.
    """
    if in_percent:
        return ratio_evidence(values.by_pair, reference.by_pair)
    bounds = {"low": 0.0, "high": metric.high} if math.isfinite(metric.high) else {}
    return difference_evidence(values.by_pair, reference.by_pair, **bounds)


def alarm_alphas(cells: Sequence[Cell], spend: Spend = spend_all) -> tuple[float, ...]:
    """Returns the alpha at which an alarm of each cell is tested, by Holm's procedure."""
    if not cells:
        return ()
    alpha = 1 - cells[0].rule.level
    spends = [functools.partial(_spent, spend, cell.rule.variant) for cell in cells]
    return holm_alphas([cell.p_value for cell in cells], alpha, spends)


def _spent(spend: Spend, variant: str, alpha: float) -> float:
    return spend(alpha, variant)


def _results(cells: Sequence[Cell], reference: Reference | None, spend: Spend) -> list[GateResult]:
    return [
        _result(cell, reference, own, spend(1 - cell.rule.level, cell.rule.variant), len(cells))
        for cell, own in zip(cells, alarm_alphas(cells, spend), strict=True)
    ]


def _result(
    cell: Cell, reference: Reference | None, alarm_alpha: float, alpha: float, num_cells: int
) -> GateResult:
    rule, evidence = cell.rule, cell.evidence
    if evidence is None:
        return unjudged(rule, cell.missing)
    is_alarm = cell.is_bad and not rule.demands_proof
    interval = evidence.interval(1 - (alarm_alpha if is_alarm else alpha))
    outcome = GateOutcome.FAILED if rule.demands_proof else GateOutcome.INCONCLUSIVE
    if rule.is_absolute_end:
        outcome = GateOutcome.FAILED if cell.is_bad else GateOutcome.PASSED
    elif cell.holds(interval):
        outcome = GateOutcome.PASSED
    elif is_alarm and cell.p_value <= alarm_alpha:
        outcome = GateOutcome.FAILED
    reason = reasons.reason_of(
        cell,
        interval,
        outcome.value,
        num_comparisons=num_cells if is_alarm else 1,
        reference=reference.label if reference and rule.relative else "",
    )
    return GateResult(rule, rule.variant, rule.task, outcome, reason)


def interval_of(
    run: RunScores, metric: str, variant: str, task: str | None = None, *, level: float = 0.95
) -> Interval | None:
    """Returns the interval of a variant's mean, clustered by seed; None where there is none."""
    definition = METRICS[metric]
    values = metric_values(run, definition, variant, task)
    if values.problem or not values.by_pair:
        return None
    return mean_evidence(values.by_pair, low=0, high=definition.high).interval(level)


@dataclass(frozen=True, slots=True)
class Difference:
    """How far a candidate lies above its reference on the (task, seed) pairs both have.

    Attributes:
        mean: Candidate minus reference; None without a common pair, as all that follow.
        sem: Standard error, clustered by seed; None below two seeds.
        interval: At the level at which the difference was tested; Holm's over the variants.
        p_value: Two-sided, for no difference.
        num_pairs: (task, seed) pairs that both have.
        num_seeds: Seeds among them.
    """

    mean: float | None = None
    sem: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    num_pairs: int = 0
    num_seeds: int = 0


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of one variant against its reference, on the pairs that both have.

    Attributes:
        metric: A name of `METRICS`.
        candidate: The variant's mean; None without a pair or with an unknown value.
        reference: The reference's mean.
        difference: Candidate minus reference.
        adjusted_p_value: After Holm's correction over the variants of the comparison.
        verdict: What the interval means.
        num_compared: Variants that the correction is over.
        num_turning_errors: Errors that could turn the verdict, which is undecided for that reason.
    """

    metric: str
    candidate: float | None
    reference: float | None
    difference: Difference
    adjusted_p_value: float | None = None
    verdict: Verdict = Verdict.UNDECIDED
    num_compared: int = 1
    num_turning_errors: int = 0

    @property
    def note(self) -> str:
        """Why a verdict is withheld: ``undecided: 4 errors could turn it``, else empty."""
        return reasons.could_turn(self.num_turning_errors) if self.num_turning_errors else ""

    def detectable(self, level: float = DEFAULT_LEVEL) -> float | None:
        """Returns the smallest true difference that so many seeds find, with power 0.8, after Holm.

        Args:
            level: Confidence level of all comparisons together.
        """
        found = self.difference
        if found.sem is None:
            return None
        return detectable_difference(
            found.sem, found.num_seeds, level=1 - (1 - level) / max(1, self.num_compared)
        )


@dataclass(frozen=True, slots=True)
class VariantComparison:
    """One variant against its reference.

    Attributes:
        variant: The variant.
        metrics: By name, in the order of `METRICS`.
        num_unpaired: Scored (task, seed) pairs that only one side has.
    """

    variant: str
    metrics: Mapping[str, MetricComparison]
    num_unpaired: int

    @property
    def num_pairs(self) -> int:
        """Scored (task, seed) pairs that both sides have."""
        return self.metrics["progression"].difference.num_pairs

    @property
    def num_seeds(self) -> int:
        """Seeds among them."""
        return self.metrics["progression"].difference.num_seeds


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run against a reference.

    Attributes:
        label: Names the reference: ``baseline main``, ``variant baseline``.
        level: Confidence level of all variants together.
        task: The task compared, None for all of them together.
        variants: In the order of tables.
        only_candidate: Variants that the reference has not.
        only_reference: Variants that the run has not; none where all are compared with one.
        primary: The metric whose verdicts count; those of all others are exploratory.
    """

    label: str
    level: float
    task: str | None
    variants: tuple[VariantComparison, ...]
    only_candidate: tuple[str, ...] = ()
    only_reference: tuple[str, ...] = ()
    primary: str = PRIMARY

    def detectable(self) -> float | None:
        """Returns the largest of the variants' detectable differences in the primary metric."""
        found = [each.metrics[self.primary].detectable(self.level) for each in self.variants]
        known = [each for each in found if each is not None]
        return max(known, default=None)


def compare(  # noqa: PLR0913 -- what there is to choose
    run: RunScores,
    reference: Reference,
    *,
    task: str | None = None,
    level: float = DEFAULT_LEVEL,
    margins: Mapping[str, float] = NO_MARGINS,
    primary: str = PRIMARY,
    spend: Spend = spend_all,
) -> Comparison:
    """Compares every variant of a run with its reference.

    Args:
        run: The run that is judged.
        reference: Another run, or one variant of the same.
        task: Compares on one task only.
        level: Confidence level, between 0 and 1; Holm's over the variants.
        margins: By metric the largest difference that does not matter: an interval within it is
            *tied*. Without one, only equal results are.
        primary: The metric whose verdicts count.
        spend: As in `evaluate_rules`.
    """
    names = [variant for variant in run.variants if variant != reference.variant]
    paired = [name for name in names if reference.partner(name) in reference.run.variants]
    worst = _with_errors_as_failures(run, reference)
    found: dict[str, list[MetricComparison]] = {}
    for name, metric in METRICS.items():
        judged = _Judged(metric, task, margins.get(name, 0.0))
        found[name] = judged.compared(run, reference, paired, 1 - level, spend)
        if metric.is_score and run.num_errors + reference.run.num_errors:
            turned = judged.compared(worst[0], worst[1] or reference, paired, 1 - level, spend)
            found[name] = [
                judged.steady(mine, other, run, reference, variant)
                for mine, other, variant in zip(found[name], turned, paired, strict=True)
            ]
    gone = () if reference.variant else reference.run.variants
    return Comparison(
        label=reference.label,
        level=level,
        task=task,
        variants=tuple(
            VariantComparison(
                variant,
                {name: each[position] for name, each in found.items()},
                _num_unpaired(run, reference, variant, task),
            )
            for position, variant in enumerate(paired)
        ),
        only_candidate=tuple(name for name in names if name not in paired),
        only_reference=tuple(name for name in gone if name not in run.variants),
        primary=primary,
    )


def verdict(
    interval: Interval | None, *, margin: float = 0.0, lower_is_better: bool = False
) -> Verdict:
    """Says what an interval of candidate minus reference means.

    Args:
        interval: None, as of a single seed, is undecided.
        margin: Largest difference that does not matter. An interval within plus or minus margin
            is tied, even if it leaves 0 out: the two one-sided tests of Schuirmann 1987, each
            at ``(1 - level) / 2``.
        lower_is_better: True for steps, tokens and cost.

    Raises:
        StatisticsError: The margin is negative, NaN or infinite.
    """
    if not 0 <= margin < math.inf:
        raise StatisticsError(f"a margin is 0 or more, found {margin}")
    if interval is None:
        return Verdict.UNDECIDED
    if -margin <= interval.low and interval.high <= margin:
        return Verdict.TIED
    if interval.low > 0:
        return Verdict.WORSE if lower_is_better else Verdict.BETTER
    if interval.high < 0:
        return Verdict.BETTER if lower_is_better else Verdict.WORSE
    return Verdict.UNDECIDED


@dataclass(frozen=True, slots=True)
class _Judged:
    """One metric of a comparison."""

    metric: Metric
    task: str | None
    margin: float

    def compared(
        self,
        run: RunScores,
        reference: Reference,
        variants: Sequence[str],
        alpha: float,
        spend: Spend,
    ) -> list[MetricComparison]:
        sides = [self._sides(run, reference, variant) for variant in variants]
        evidence = [self._evidence(*each) for each in sides]
        p_values = [each.p_value() if each else 1.0 for each in evidence]
        spends = [functools.partial(_spent, spend, variant) for variant in variants]
        return [
            self._metric(each, sides[position], own, adjusted, len(variants))
            for position, (each, own, adjusted) in enumerate(
                zip(evidence, holm_alphas(p_values, alpha, spends), holm(p_values), strict=True)
            )
        ]

    def steady(
        self,
        found: MetricComparison,
        worst: MetricComparison,
        run: RunScores,
        reference: Reference,
        variant: str,
    ) -> MetricComparison:
        if found.verdict in {Verdict.UNDECIDED, worst.verdict}:
            return found
        num_errors = sum(side.num_errors for side in self._sides(run, reference, variant))
        return dataclasses.replace(found, verdict=Verdict.UNDECIDED, num_turning_errors=num_errors)

    def _sides(
        self, run: RunScores, reference: Reference, variant: str
    ) -> tuple[MetricValues, MetricValues]:
        return (
            metric_values(run, self.metric, variant, self.task),
            metric_values(reference.run, self.metric, reference.partner(variant), self.task),
        )

    def _evidence(self, ours: MetricValues, theirs: MetricValues) -> Evidence | None:
        if ours.problem or theirs.problem or not ours.by_pair.keys() & theirs.by_pair.keys():
            return None
        return change_evidence(self.metric, ours, theirs)

    def _metric(
        self,
        evidence: Evidence | None,
        sides: tuple[MetricValues, MetricValues],
        alpha: float,
        adjusted: float,
        num_compared: int,
    ) -> MetricComparison:
        if evidence is None:
            return MetricComparison(self.metric.name, None, None, Difference())
        interval = evidence.interval(1 - alpha)
        candidate, reference = _common_means(*sides)
        return MetricComparison(
            self.metric.name,
            candidate,
            reference,
            Difference(
                evidence.estimate,
                evidence.standard_error,
                interval,
                evidence.p_value(),
                evidence.num_values,
                evidence.num_seeds,
            ),
            adjusted,
            verdict(interval, margin=self.margin, lower_is_better=self.metric.lower_is_better),
            num_compared,
        )


def _common_means(ours: MetricValues, theirs: MetricValues) -> tuple[float | None, float | None]:
    common = sorted(ours.by_pair.keys() & theirs.by_pair.keys())
    new, old = (
        mean([math.fsum(side.by_pair[pair]) / len(side.by_pair[pair]) for pair in common])
        for side in (ours, theirs)
    )
    return new, old


def _num_unpaired(run: RunScores, reference: Reference, variant: str, task: str | None) -> int:
    progression, partner = METRICS["progression"], reference.partner(variant)
    ours = metric_values(run, progression, variant, task)
    theirs = metric_values(reference.run, progression, partner, task)
    return len(ours.by_pair.keys() ^ theirs.by_pair.keys())
