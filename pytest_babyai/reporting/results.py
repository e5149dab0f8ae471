"""What a run came to: its episodes, and their aggregates by variant and task."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.errors import EnvironmentFailureError
from pytest_babyai.gate import RunScores, interval_of
from pytest_babyai.metrics import METRICS
from pytest_babyai.records import EpisodeFailure, EpisodeResult
from pytest_babyai.statistics import Estimate, estimate, mean, pass_at_k, pass_hat_k

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec
    from pytest_babyai.statistics import Interval


@dataclass(frozen=True, slots=True)
class EpisodeReport:
    """An episode's outcome as the run judged it.

    Attributes:
        nodeid: Node id of its item.
        outcome: The score, or the reason there is none.
        threshold: Progression that it had to reach.
        replay: Command line that plays it again.
        history_length: Past steps that its requests carried; None for the run's.
        num_dists: Distractor objects in its level; None for the run's.
    """

    nodeid: str
    outcome: EpisodeOutcome
    threshold: float
    replay: str
    history_length: int | None = None
    num_dists: int | None = None

    @property
    def spec(self) -> EpisodeSpec:
        """Which episode this is."""
        return self.outcome.spec

    @property
    def below_threshold(self) -> bool:
        """Whether it was played and did not reach its threshold."""
        outcome = self.outcome
        return isinstance(outcome, EpisodeResult) and outcome.progression < self.threshold


@dataclass(frozen=True, slots=True)
class VariantSummary:
    """What a variant came to, over all tasks or on one.

    Infrastructure failures are in no mean. Every `Estimate` is mean and plain SEM over episodes.

    Attributes:
        variant: The variant.
        task: The task, None for all of them.
        results: Its finished episodes.
        failures: Its episodes without a score.
    """

    variant: str
    task: str | None
    results: tuple[EpisodeResult, ...]
    failures: tuple[EpisodeFailure, ...]

    @property
    def num_episodes(self) -> int:
        """Episodes that have a score."""
        return len(self.results)

    @property
    def num_errors(self) -> int:
        """Episodes that have none."""
        return len(self.failures)

    @property
    def num_errors_by_kind(self) -> dict[str, int]:
        """Episodes without a score by `EpisodeFailure.kind`, the most frequent first."""
        return dict(collections.Counter(failure.kind for failure in self.failures).most_common())

    @property
    def success(self) -> Estimate:
        """Share of episodes whose task was solved."""
        return estimate([float(result.success) for result in self.results])

    @property
    def success_if_errors_failed(self) -> float | None:
        """Success rate if every error were a failure: the lower end of what is known."""
        solved = [float(result.success) for result in self.results]
        return mean([*solved, *(0.0 for _ in self.failures)])

    @property
    def progression(self) -> Estimate:
        """Progression in [0, 1]."""
        return estimate([result.progression for result in self.results])

    @property
    def episode_return(self) -> Estimate:
        """Sum of an episode's rewards."""
        return estimate([result.episode_return for result in self.results])

    @property
    def steps(self) -> Estimate:
        """Steps per episode."""
        return estimate([result.num_steps for result in self.results])

    @property
    def input_tokens(self) -> Estimate:
        """Prompt tokens per episode; undefined if any episode's are unknown."""
        return _estimate_of_known([result.usage.input_tokens for result in self.results])

    @property
    def output_tokens(self) -> Estimate:
        """Answer tokens per episode; undefined if any episode's are unknown."""
        return _estimate_of_known([result.usage.output_tokens for result in self.results])

    @property
    def efficiency(self) -> Estimate:
        """Success weighted by path length (SPL); undefined if any level is too large to search."""
        return _estimate_of_known([METRICS["efficiency"].value(result) for result in self.results])

    def interval(self, metric: str) -> Interval | None:
        """Returns the 95 % interval of a metric's mean, clustered by seed; None below two seeds."""
        scores = RunScores.of_outcomes(self.results)
        return interval_of(scores, metric, self.variant, self.task)

    @property
    def num_repeats(self) -> int:
        """How often every (task, seed) has a score at least."""
        return min((len(group) for group in self._repeats()), default=0)

    def pass_at(self, k: int) -> Estimate:
        """pass@k over (task, seed): the chance that one of ``k`` tries solves it."""
        return estimate([pass_at_k(sum(group), len(group), k) for group in self._repeats()])

    def pass_hat(self, k: int) -> Estimate:
        """pass^k over (task, seed): the chance that all of ``k`` tries solve it."""
        return estimate([pass_hat_k(sum(group), len(group), k) for group in self._repeats()])

    def _repeats(self) -> list[list[bool]]:
        groups: dict[tuple[str, int], list[bool]] = {}
        for result in self.results:
            groups.setdefault((result.spec.task, result.spec.seed), []).append(result.success)
        return list(groups.values())

    @property
    def num_invalid(self) -> int:
        """Answers that named no known action or did not parse."""
        return sum(len(result.failed_candidates) for result in self.results)

    @property
    def num_fallbacks(self) -> int:
        """Steps on which a random action stood in for a failed request."""
        return sum(result.num_fallbacks for result in self.results)

    @property
    def num_fallback_episodes(self) -> int:
        """Scored episodes in which that happened."""
        return sum(result.num_fallbacks > 0 for result in self.results)

    @property
    def num_cached(self) -> int:
        """Steps whose answer came from a cache."""
        outcomes: tuple[EpisodeOutcome, ...] = (*self.results, *self.failures)
        return sum(outcome.num_cached for outcome in outcomes)

    @property
    def cost(self) -> float | None:
        """US dollars of all its episodes, failed ones included; None if any price is unknown."""
        outcomes: tuple[EpisodeOutcome, ...] = (*self.results, *self.failures)
        costs = [outcome.usage.cost for outcome in outcomes]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known and len(known) == len(costs) else None


def _estimate_of_known(values: Sequence[float | None]) -> Estimate:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Estimate(None, None, len(values))
    return estimate(known)


@dataclass(frozen=True, slots=True)
class RunSetup:
    """What was played, and how.

    Attributes:
        model_label: Names the model, as in ``gpt-4o-mini`` or the path of its TOML file.
        offline: Whether the offline model answered, which is no language model.
        environment: ``builtin`` or ``balrog``.
        variants: In the order of the tables.
        tasks: In the order of the tables.
        gate: ``episodes`` or ``aggregate``.
        on_error: ``raise`` or ``fallback``.
    """

    model_label: str
    offline: bool
    environment: str
    variants: tuple[str, ...]
    tasks: tuple[str, ...]
    gate: str = "episodes"
    on_error: str = "raise"


@dataclass(frozen=True, slots=True)
class Effort:
    """What playing took, in this session: nothing that an earlier one has played counts.

    Attributes:
        num_episodes: Episodes that came to their end, whether an item has reported them or not.
        num_requests: Requests sent to the model, repeated ones and those of unfinished episodes
            included.
        duration_s: Seconds from the first episode's start to the last one's end.
    """

    num_episodes: int
    num_requests: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything that is told of a run.

    Attributes:
        setup: What was played, and how.
        episodes: Episodes that came to an end, in any order.
        num_selected: Episodes that were to be played.
        wall_time_s: Duration of the run in seconds, where ``played`` is not known.
        interrupted: Whether it was stopped, as by Ctrl-C.
        references: Episodes played without a model, as floor and ceiling; in no comparison.
        played: What this session has played; None where all episodes are its own.
    """

    setup: RunSetup
    episodes: tuple[EpisodeReport, ...]
    num_selected: int
    wall_time_s: float
    interrupted: bool = False
    references: tuple[EpisodeResult, ...] = ()
    played: Effort | None = None

    @property
    def effort(self) -> Effort:
        """What playing took in this session."""
        return self.played or Effort(len(self.episodes), self.num_requests, self.wall_time_s)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants that have an episode, in the setup's order; others follow by name."""
        return _ordered((report.spec.variant for report in self.episodes), self.setup.variants)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that have an episode, in the setup's order; others follow by name."""
        return _ordered((report.spec.task for report in self.episodes), self.setup.tasks)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have an episode, ascending."""
        return tuple(sorted({report.spec.seed for report in self.episodes}))

    @property
    def num_requests(self) -> int:
        """Requests sent to the model: one a step, every retry, and the one a failure ended on.

        What a cache has answered was never sent.
        """
        return sum(num_requests(report.outcome) for report in self.episodes)

    def by_variant(self, task: str | None = None) -> tuple[VariantSummary, ...]:
        """Returns one summary per variant, over all tasks or on one; none for an empty one."""
        grouped: dict[str, list[EpisodeOutcome]] = {variant: [] for variant in self.variants}
        for report in sorted(self.episodes, key=lambda report: report.spec):
            if task in {None, report.spec.task}:
                grouped[report.spec.variant].append(report.outcome)
        return tuple(
            _summary(variant, task, outcomes) for variant, outcomes in grouped.items() if outcomes
        )

    def by_reference(self, task: str | None = None) -> tuple[VariantSummary, ...]:
        """Returns one summary per reference, as `by_variant`."""
        grouped: dict[str, list[EpisodeOutcome]] = {}
        for result in self.references:
            if task in {None, result.spec.task}:
                grouped.setdefault(result.spec.variant, []).append(result)
        return tuple(_summary(name, task, outcomes) for name, outcomes in grouped.items())

    def below_threshold(self) -> tuple[EpisodeReport, ...]:
        """Returns the episodes below their threshold, by spec."""
        below = (report for report in self.episodes if report.below_threshold)
        return tuple(sorted(below, key=lambda report: report.spec))


def _summary(variant: str, task: str | None, outcomes: list[EpisodeOutcome]) -> VariantSummary:
    return VariantSummary(
        variant,
        task,
        tuple(outcome for outcome in outcomes if isinstance(outcome, EpisodeResult)),
        tuple(outcome for outcome in outcomes if isinstance(outcome, EpisodeFailure)),
    )


def _ordered(found: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    names = set(found)
    return (*(name for name in order if name in names), *sorted(names.difference(order)))


def num_requests(outcome: EpisodeOutcome) -> int:
    """Returns how many requests an episode has sent: none for what a cache has answered."""
    asked_in_vain = (
        isinstance(outcome, EpisodeFailure) and outcome.kind != EnvironmentFailureError.kind
    )
    return outcome.num_steps - outcome.num_cached + outcome.num_retries + asked_in_vain
