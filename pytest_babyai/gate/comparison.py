"""Compares variants with a reference in every metric: paired on (task, seed), clustered by seed.

Of several variants some look better or worse by chance, so within a metric *better* and *worse* are
said only where the difference also holds after Holm's correction for the number of variants. The
intervals shown are not widened by it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_babyai.gate.evidence import POWER
from pytest_babyai.gate.metrics import METRICS, metric_values
from pytest_babyai.gate.rules import DEFAULT_LEVEL
from pytest_babyai.statistics import (
    PairedDifference,
    Verdict,
    detectable_difference,
    holm,
    mean,
    paired_difference,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_babyai.gate.evaluation import Reference
    from pytest_babyai.gate.metrics import Metric, MetricValues
    from pytest_babyai.gate.scores import RunScores

NO_MARGINS: Final[Mapping[str, float]] = MappingProxyType({})
_NOTHING: Final = PairedDifference(None, None, None, None, 0, 0)


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of one variant against its reference, on the pairs that both have.

    Attributes:
        metric: A name of `METRICS`.
        candidate: The variant's mean; None without a pair or with an unknown value.
        reference: The reference's mean.
        difference: Candidate minus reference.
        adjusted_p_value: After Holm's correction over the variants of the comparison.
        verdict: What it means; better and worse only where the adjusted p-value allows.
    """

    metric: str
    candidate: float | None
    reference: float | None
    difference: PairedDifference
    adjusted_p_value: float | None = None
    verdict: Verdict = Verdict.UNDECIDED

    def detectable(self, level: float = DEFAULT_LEVEL) -> float | None:
        """Smallest true difference that so many episodes find with probability `POWER`."""
        found = self.difference
        if found.sem is None:
            return None
        return detectable_difference(found.sem, found.num_seeds, power=POWER, level=level)


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
        level: Confidence level of intervals and verdicts.
        task: The task compared, None for all of them together.
        variants: In the order of tables.
        only_candidate: Variants that the reference has not.
        only_reference: Variants that the run has not; none where all are compared with one.
    """

    label: str
    level: float
    task: str | None
    variants: tuple[VariantComparison, ...]
    only_candidate: tuple[str, ...] = ()
    only_reference: tuple[str, ...] = ()


def compare(
    run: RunScores,
    reference: Reference,
    *,
    task: str | None = None,
    level: float = DEFAULT_LEVEL,
    margins: Mapping[str, float] = NO_MARGINS,
) -> Comparison:
    """Compares every variant of a run with its reference.

    Args:
        run: The run that is judged.
        reference: Another run, or one variant of the same.
        task: Compares on one task only.
        level: Confidence level, between 0 and 1.
        margins: By metric the largest difference that does not matter: an interval within it is
            *tied*. Without one, only equal results are.
    """
    pairing = _Pairing(run, reference, task, level)
    names = [variant for variant in run.variants if variant != reference.variant]
    paired = [name for name in names if pairing.partner(name) in reference.run.variants]
    by_metric = {
        name: pairing.compared(metric, paired, margins.get(name, 0.0))
        for name, metric in METRICS.items()
    }
    gone = () if reference.variant else reference.run.variants
    return Comparison(
        label=reference.label,
        level=level,
        task=task,
        variants=tuple(
            VariantComparison(
                variant,
                {name: found[position] for name, found in by_metric.items()},
                pairing.num_unpaired(variant),
            )
            for position, variant in enumerate(paired)
        ),
        only_candidate=tuple(name for name in names if name not in paired),
        only_reference=tuple(name for name in gone if name not in run.variants),
    )


@dataclass(frozen=True, slots=True)
class _Pairing:
    """Two runs on the same levels."""

    run: RunScores
    reference: Reference
    task: str | None
    level: float

    def partner(self, variant: str) -> str:
        """Returns the variant of the reference that a variant is compared with."""
        return self.reference.variant or variant

    def values(self, metric: Metric, variant: str) -> tuple[MetricValues, MetricValues]:
        """Returns the values of both sides."""
        other = self.reference.run
        return (
            metric_values(self.run, metric, variant, self.task),
            metric_values(other, metric, self.partner(variant), self.task),
        )

    def num_unpaired(self, variant: str) -> int:
        """Counts the scored pairs of one side only."""
        ours, theirs = self.values(METRICS["progression"], variant)
        return len(ours.by_pair.keys() ^ theirs.by_pair.keys())

    def compared(
        self, metric: Metric, variants: Sequence[str], margin: float
    ) -> list[MetricComparison]:
        """Compares all variants in one metric."""
        found = [self._paired(metric, variant) for variant in variants]
        p_values = [each.difference.p_value for each in found]
        adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
        return [
            self._judged(each, None if p_value is None else next(adjusted), margin)
            for each, p_value in zip(found, p_values, strict=True)
        ]

    def _paired(self, metric: Metric, variant: str) -> MetricComparison:
        ours, theirs = self.values(metric, variant)
        if ours.undefined or theirs.undefined:
            return MetricComparison(metric.name, None, None, _NOTHING)
        new, old = ours.means, theirs.means
        common = sorted(new.keys() & old.keys())
        return MetricComparison(
            metric.name,
            mean([new[pair] for pair in common]),
            mean([old[pair] for pair in common]),
            paired_difference(new, old, level=self.level),
        )

    def _judged(
        self, found: MetricComparison, p_value: float | None, margin: float
    ) -> MetricComparison:
        said = verdict(
            found.difference.interval,
            margin=margin,
            lower_is_better=METRICS[found.metric].lower_is_better,
        )
        decided = said in {Verdict.BETTER, Verdict.WORSE}
        if decided and (p_value is None or p_value > 1 - self.level):
            said = Verdict.UNDECIDED
        return dataclasses.replace(found, adjusted_p_value=p_value, verdict=said)
