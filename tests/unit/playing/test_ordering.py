from __future__ import annotations

import heapq
import random

from pytest_babyai.playing.ordering import DurationEstimates, longest_first
from pytest_babyai.records import EpisodeSpec

LIMITS = {"goto": 64, "open": 128, "pickup": 64}


def spec(task: str = "goto", variant: str = "baseline", seed: int = 200) -> EpisodeSpec:
    return EpisodeSpec(variant, task, seed)


def test_longer_ones_come_first_and_equal_ones_stay() -> None:
    durations_s = {"a": 1.0, "b": 3.0, "c": 1.0, "d": 2.0}

    assert longest_first("abcd", durations_s.__getitem__) == ["b", "d", "a", "c"]


def test_without_a_past_step_limits_decide() -> None:
    estimates = DurationEstimates({}, LIMITS)

    order = longest_first([spec("goto"), spec("open")], estimates.duration_of)

    assert [each.task for each in order] == ["open", "goto"]
    assert estimates.expected_s(spec("open")) is None


def test_the_closest_past_decides() -> None:
    estimates = DurationEstimates(
        {("baseline", "goto", 200): 1.0, ("baseline", "goto"): 2.0, ("goto",): 4.0}, LIMITS
    )

    found = [
        estimates.expected_s(each) for each in (spec(), spec(seed=201), spec(variant="history"))
    ]

    assert found == [1.0, 2.0, 4.0]


def test_another_variants_past_stands_in() -> None:
    estimates = DurationEstimates(
        {("a", "goto"): 2.0, ("b", "goto"): 4.0, ("c", "goto"): 9.0}, LIMITS
    )

    assert estimates.expected_s(spec(variant="new")) == 4.0


def test_a_task_without_a_past_takes_the_usual_pace() -> None:
    estimates = DurationEstimates({("baseline", "goto"): 6.4}, LIMITS)

    assert estimates.expected_s(spec("open")) == 12.8


def wall_s(durations_s: list[float], concurrency: int) -> float:
    ends_s = [0.0] * concurrency
    for duration_s in durations_s:
        heapq.heapreplace(ends_s, ends_s[0] + duration_s)
    return max(ends_s)


def test_known_durations_bring_a_run_close_to_its_bound() -> None:
    generator = random.Random(0)
    specs = [
        spec(task, variant, seed)
        for variant in "abcd"
        for task in ("goto", "pickup", "open", "putnext", "sequence")
        for seed in range(20)
    ]
    durations_s = {each: generator.lognormvariate(0, 0.5) for each in specs}
    bound_s = max(sum(durations_s.values()) / 50, *durations_s.values())
    past_s = {(each.variant, each.task, each.seed): durations_s[each] for each in specs}
    estimates = DurationEstimates(past_s, {})

    ordered = longest_first(specs, estimates.duration_of)

    assert wall_s([durations_s[each] for each in ordered], 50) <= 1.05 * bound_s
    assert wall_s([durations_s[each] for each in specs], 50) > 1.1 * bound_s
