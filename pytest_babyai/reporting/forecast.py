"""What a planned run will take: out of past episodes if there are any, else out of assumptions."""

from __future__ import annotations

import collections
import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.statistics import detectable_difference, difference_evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_babyai.records import EpisodeResult, EpisodeSpec

ASSUMED_INPUT_TOKENS: Final = 1_300
ASSUMED_OUTPUT_TOKENS: Final = 150
ASSUMED_LATENCY_S: Final = 1.0
"""Of one request: the packaged prompt with eight steps of history, an answer with its reasoning."""
ASSUMED_SUCCESS: Final = 0.5
ASSUMED_CORRELATION: Final = 0.2
"""Between the tasks of one seed, which share their layout."""
MIN_COMMON_SEEDS: Final = 5
"""Seeds that two variants must both have played for their spread to be believed."""


@dataclass(frozen=True, slots=True)
class EpisodeForecast:
    """What one episode is expected to take.

    Attributes:
        num_requests: Requests without repeated ones.
        num_tokens: Input and output tokens; None where providers do not count them.
        cost: US dollars; None where no price is known.
        duration_s: From start to end at the latency of the past.
        num_past: Episodes that this rests on; 0 for assumptions.
    """

    num_requests: float
    num_tokens: float | None
    cost: float | None
    duration_s: float
    num_past: int = 0


@dataclass(frozen=True, slots=True)
class PlannedGroup:
    """The episodes of one variant and task.

    Attributes:
        variant: Who plays.
        task: What is played.
        num_episodes: How often, repeats included.
        forecast: What one of them takes.
    """

    variant: str
    task: str
    num_episodes: int
    forecast: EpisodeForecast


@dataclass(frozen=True, slots=True)
class Detectable:
    """The smallest difference between two variants that a plan detects.

    Attributes:
        success: As a share; None below two seeds.
        progression: None below two seeds.
        from_past: Whether their spread was seen in past episodes, or assumed.
    """

    success: float | None
    progression: float | None
    from_past: bool


def forecast_episode(past: Sequence[EpisodeResult], max_steps: int) -> EpisodeForecast:
    """Returns what an episode will take.

    Args:
        past: Finished episodes of the same variant and task. Without any, an episode is assumed
            to play to its step limit, with the ``ASSUMED_...`` numbers of this module, and the
            price to be unknown.
        max_steps: The task's step limit.
    """
    if not past:
        num_tokens = max_steps * (ASSUMED_INPUT_TOKENS + ASSUMED_OUTPUT_TOKENS)
        return EpisodeForecast(max_steps, num_tokens, None, max_steps * ASSUMED_LATENCY_S)
    return EpisodeForecast(
        num_requests=statistics.fmean(result.num_steps for result in past),
        num_tokens=_mean_of_known(map(_num_tokens, past)),
        cost=_mean_of_known(result.usage.cost for result in past),
        duration_s=statistics.fmean(result.duration_s for result in past),
        num_past=len(past),
    )


def plan_groups(
    specs: Iterable[EpisodeSpec],
    past: Iterable[EpisodeResult],
    step_limits: Mapping[str, int],
) -> list[PlannedGroup]:
    """Groups planned episodes by variant and task, in their order, each with its forecast.

    Args:
        specs: Every planned episode, one that is repeated as often as it is played.
        past: Finished episodes of earlier runs; those of other variants and tasks are left out.
        step_limits: Most steps of an episode by task.
    """
    played = collections.defaultdict(list)
    for result in past:
        played[result.spec.variant, result.spec.task].append(result)
    counts = collections.Counter((spec.variant, spec.task) for spec in specs)
    return [
        PlannedGroup(
            variant, task, number, forecast_episode(played[variant, task], step_limits[task])
        )
        for (variant, task), number in counts.items()
    ]


def wall_time_s(groups: Iterable[PlannedGroup], concurrency: int) -> float:
    """Returns how long a run takes at best: all durations shared out, or its longest episode."""
    groups = [group for group in groups if group.num_episodes]
    total_s = math.fsum(group.num_episodes * group.forecast.duration_s for group in groups)
    longest_s = max((group.forecast.duration_s for group in groups), default=0.0)
    return max(total_s / concurrency, longest_s)


def plan_detectable(specs: Iterable[EpisodeSpec], past: Iterable[EpisodeResult]) -> Detectable:
    """Returns the smallest difference that a plan detects with 80 % power at 95 % confidence.

    After Holm's correction over the variants that are compared with the first.

    The spread of seeds is that of the planned variants' past episodes on the planned tasks, of
    their most scattered pair. Where no two of them have `MIN_COMMON_SEEDS` seeds in common, or
    nothing differed, it is assumed: success of 50 %, which scatters most; variants that have
    nothing in common, so that pairing gains nothing; repeats that gain nothing either.

    Args:
        specs: Every planned episode.
        past: Finished episodes of earlier runs.
    """
    specs = list(specs)
    tasks = {spec.task for spec in specs}
    variants = {spec.variant for spec in specs}
    num_seeds = len({spec.seed for spec in specs})
    num_comparisons = max(1, len(variants) - 1)
    relevant = [each for each in past if each.spec.task in tasks and each.spec.variant in variants]
    success_sd = _seed_sd(relevant, "success")
    progression_sd = _seed_sd(relevant, "progression")
    assumed_sd = _assumed_seed_sd(len(tasks))
    return Detectable(
        success=_detectable(success_sd or assumed_sd, num_seeds, num_comparisons),
        progression=_detectable(progression_sd or assumed_sd, num_seeds, num_comparisons),
        from_past=bool(success_sd and progression_sd),
    )


def _detectable(seed_sd: float, num_seeds: int, num_comparisons: int) -> float | None:
    if num_seeds < 2:  # noqa: PLR2004 - one seed has no spread
        return None
    level = 1 - 0.05 / num_comparisons  # Holm's first step
    standard_error = seed_sd / math.sqrt(num_seeds)
    return min(1.0, detectable_difference(standard_error, num_seeds, level=level))


def _assumed_seed_sd(num_tasks: int) -> float:
    pair_variance = 2 * ASSUMED_SUCCESS * (1 - ASSUMED_SUCCESS)
    design_effect = 1 + (num_tasks - 1) * ASSUMED_CORRELATION
    return math.sqrt(pair_variance * design_effect / max(1, num_tasks))


def _seed_sd(results: Iterable[EpisodeResult], metric: str) -> float | None:
    """Returns the largest standard deviation of a seed's difference between two variants."""
    values: dict[str, dict[tuple[str, int], list[float]]] = {}
    for result in results:
        spec = result.spec
        known = values.setdefault(spec.variant, {}).setdefault((spec.task, spec.seed), [])
        known.append(float(getattr(result, metric)))
    found = [
        difference_evidence(first, second, low=0, high=1)
        for first, second in itertools.combinations(values.values(), 2)
        if _differed(first, second)
    ]
    spreads = [each.seed_sd for each in found]
    return max((spread for spread in spreads if spread), default=None)


def _differed(
    first: Mapping[tuple[str, int], list[float]], second: Mapping[tuple[str, int], list[float]]
) -> bool:
    common = first.keys() & second.keys()
    num_seeds = len({seed for _, seed in common})
    return num_seeds >= MIN_COMMON_SEEDS and any(first[pair] != second[pair] for pair in common)


def _num_tokens(result: EpisodeResult) -> int | None:
    usage = result.usage
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    return usage.input_tokens + usage.output_tokens


def _mean_of_known(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
