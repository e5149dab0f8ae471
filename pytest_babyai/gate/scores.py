"""The episodes of a run, and the values that a metric has in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.records import NO_USAGE, EpisodeFailure, EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_babyai.metrics import Metric
    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec

    Pair = tuple[str, int]


@dataclass(frozen=True, slots=True)
class RunScores:
    """The episodes of a run, ordered by spec; one that was played repeatedly is there repeatedly.

    Attributes:
        episodes: By spec.
        variants: Those with an episode, in the order of tables.
        tasks: Those with an episode, in the order of tables.
    """

    episodes: tuple[EpisodeOutcome, ...]
    variants: tuple[str, ...]
    tasks: tuple[str, ...]

    @classmethod
    def of_outcomes(
        cls,
        outcomes: Iterable[EpisodeOutcome],
        *,
        variants: Sequence[str] = (),
        tasks: Sequence[str] = (),
    ) -> RunScores:
        """Gathers what came of episodes, in any order.

        Args:
            outcomes: What came of them.
            variants: Names to begin with in tables; others follow by name.
            tasks: The same for tasks.
        """
        ordered = tuple(sorted(outcomes, key=lambda outcome: outcome.spec))
        return cls(
            ordered,
            _ordered({outcome.spec.variant for outcome in ordered}, variants),
            _ordered({outcome.spec.task for outcome in ordered}, tasks),
        )

    @classmethod
    def planned(cls, specs: Iterable[EpisodeSpec], *, tasks: Sequence[str] = ()) -> RunScores:
        """Stands for episodes that are yet to be played."""
        return cls.of_outcomes((_unplayed(spec) for spec in specs), tasks=tasks)

    @property
    def num_errors(self) -> int:
        """Episodes that have no score."""
        return sum(isinstance(outcome, EpisodeFailure) for outcome in self.episodes)

    def of_cell(self, variant: str, task: str | None = None) -> tuple[EpisodeOutcome, ...]:
        """Returns the episodes of a variant, on one task or on all of them."""
        return tuple(
            outcome
            for outcome in self.episodes
            if outcome.spec.variant == variant and task in {None, outcome.spec.task}
        )

    def where(self, keep: Callable[[EpisodeSpec], bool]) -> RunScores:
        """Returns the run without the episodes that are not to be kept."""
        kept = tuple(outcome for outcome in self.episodes if keep(outcome.spec))
        return RunScores.of_outcomes(kept, variants=self.variants, tasks=self.tasks)

    def with_errors_as_failures(self) -> RunScores:
        """Returns the run as it would be, had every error been an episode that solved nothing."""
        limits: dict[str, int] = {}
        for outcome in self.episodes:
            if isinstance(outcome, EpisodeResult):
                task = outcome.spec.task
                limits[task] = max(limits.get(task, 0), outcome.max_steps, outcome.num_steps)
        episodes = tuple(
            scored(outcome.spec, 0.0, 0.0, limits.get(outcome.spec.task, outcome.num_steps))
            if isinstance(outcome, EpisodeFailure)
            else outcome
            for outcome in self.episodes
        )
        return RunScores(episodes, self.variants, self.tasks)


@dataclass(frozen=True, slots=True)
class MetricValues:
    """The values of one metric of one variant.

    Attributes:
        by_pair: Values by (task, seed); more than one where an episode was played repeatedly.
        num_errors: Episodes that have no score and hence no value.
        problem: Why values cannot be used: the first that is unknown or impossible; else empty.
    """

    by_pair: Mapping[Pair, tuple[float, ...]]
    num_errors: int
    problem: str = ""


def metric_values(
    run: RunScores, metric: Metric, variant: str, task: str | None = None
) -> MetricValues:
    """Collects the values of a metric of a variant, on one task or on all of them."""
    by_pair: dict[Pair, list[float]] = {}
    num_errors, problem = 0, ""
    for outcome in run.of_cell(variant, task):
        if isinstance(outcome, EpisodeFailure) and not metric.counts_errors:
            num_errors += 1
            continue
        value = 1.0 if isinstance(outcome, EpisodeFailure) else metric.value(outcome)
        problem = problem or _problem(metric, outcome.spec, value)
        by_pair.setdefault((outcome.spec.task, outcome.spec.seed), []).append(value or 0.0)
    groups = {pair: tuple(group) for pair, group in by_pair.items()}
    return MetricValues(groups, num_errors, problem)


def scored(  # noqa: PLR0913 -- as many as an episode has scores
    spec: EpisodeSpec,
    progression: float,
    episode_return: float,
    num_steps: int,
    *,
    input_tokens: int | None = None,
    output_tokens: int | None = None,
    cost: float | None = None,
    layout_fingerprint: str | None = None,
) -> EpisodeResult:
    """Returns an episode of which only the scores are known."""
    from pytest_babyai.records import Usage

    return EpisodeResult(
        spec=spec,
        episode_id="",
        mission="",
        max_steps=num_steps,
        progression=progression,
        episode_return=episode_return,
        num_steps=num_steps,
        terminated=False,
        truncated=False,
        usage=Usage(input_tokens, output_tokens, cost),
        failed_candidates=(),
        num_fallbacks=0,
        num_retries=0,
        started_at_s=0.0,
        duration_s=0.0,
        layout_fingerprint=layout_fingerprint,
    )


def unscored(spec: EpisodeSpec, kind: str) -> EpisodeFailure:
    """Returns an episode that has no score, of which only the reason is known."""
    return EpisodeFailure(spec, "", kind, "", 0, 0, NO_USAGE, 0.0, 0.0)


def _unplayed(spec: EpisodeSpec) -> EpisodeFailure:
    return unscored(spec, "planned")


def _problem(metric: Metric, spec: EpisodeSpec, value: float | None) -> str:
    if value is None:
        return f"the {metric.label} of {spec} is unknown"
    if not math.isfinite(value):
        return f"the {metric.label} of {spec} is {value}"
    if not 0 <= value <= metric.high:
        span = "is never negative" if math.isinf(metric.high) else "lies between 0 and 1"
        return f"the {metric.label} of {spec} is {value:g}, and it {span}"
    return ""


def _ordered(found: set[str], first: Sequence[str]) -> tuple[str, ...]:
    leading = tuple(dict.fromkeys(name for name in first if name in found))
    return (*leading, *sorted(found.difference(leading)))
