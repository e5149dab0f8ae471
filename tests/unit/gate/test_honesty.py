"""Gates keep what they promise: simulated runs, judged by the real code.

Outcomes are clustered as in reality: a seed has a difficulty that all variants share, and a variant
has seeds that suit it. Variants are alike in distribution wherever nothing else is said.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_babyai.gate import (
    GateOutcome,
    Reference,
    RunScores,
    ScoredEpisode,
    evaluate_rules,
    parse_rule,
)
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.statistics import detectable_difference, paired_difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator
    from numpy.typing import NDArray

    from pytest_babyai.gate import GateResult

TASKS = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
NUM_SEEDS = 20
NUM_PAIRS = 1000


def limit(rate: float, num: int = NUM_PAIRS) -> float:
    """Returns the share that chance exceeds once in a thousand such simulations."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / num)


def probabilities(
    rng: Generator, num_variants: int, num_seeds: int = NUM_SEEDS
) -> NDArray[np.float64]:
    """Returns success probabilities by variant, seed and task."""
    seeds = rng.normal(0, 1, (1, num_seeds, 1))
    tasks = np.linspace(-1, 1.5, len(TASKS)).reshape(1, 1, -1)
    suits = rng.normal(0, 1.5, (num_variants, num_seeds, 1))
    return np.asarray(1 / (1 + np.exp(-(0.5 + seeds + tasks + suits))))


def outcomes(rng: Generator, num_variants: int, num_seeds: int = NUM_SEEDS) -> NDArray[np.float64]:
    p = probabilities(rng, num_variants, num_seeds)
    return (rng.random(p.shape) < p).astype(float)


@functools.cache
def specs_of(name: str, num_seeds: int) -> list[EpisodeSpec]:
    """Returns the specs of a run in their order, in which they need no sorting."""
    return [
        EpisodeSpec(name, task, 200 + seed) for task in sorted(TASKS) for seed in range(num_seeds)
    ]


def run_of(values: NDArray[np.float64], names: tuple[str, ...] = ("history",)) -> RunScores:
    by_task = values[:, :, np.argsort(TASKS)].transpose(0, 2, 1)
    return RunScores.of_outcomes(
        ScoredEpisode(spec, value, value, 10)
        for name, cells in zip(names, by_task, strict=True)
        for spec, value in zip(specs_of(name, values.shape[1]), cells.ravel().tolist(), strict=True)
    )


def judged(rule: str, run: RunScores, reference: RunScores | None = None) -> tuple[GateResult, ...]:
    against = Reference("baseline main", reference) if reference else None
    return evaluate_rules([parse_rule(rule)], run, against)


def share_failed(judge: Callable[[], tuple[GateResult, ...]], num: int = NUM_PAIRS) -> float:
    """Returns how often at least one of the results has failed."""
    return sum(any(r.outcome is GateOutcome.FAILED for r in judge()) for _ in range(num)) / num


def test_a_gate_at_95_percent_fails_identical_variants_at_most_5_percent_of_the_time() -> None:
    rng = np.random.default_rng(20)

    def judge() -> tuple[GateResult, ...]:
        pair = outcomes(rng, 2)
        return judged("success<0@95%", run_of(pair[:1]), run_of(pair[1:]))

    share = share_failed(judge)

    assert 0.005 < share < limit(0.025)


def test_a_gate_without_clusters_would_fail_identical_variants_too_often() -> None:
    rng = np.random.default_rng(21)
    num_failed = 0
    for _ in range(NUM_PAIRS):
        pair = outcomes(rng, 2).reshape(2, -1)
        # Every episode a seed of its own: what ignoring the clusters comes to.
        new, old = ({("goto", i): v for i, v in enumerate(row.tolist())} for row in pair)
        interval = paired_difference(new, old).interval
        num_failed += interval is not None and interval.high < 0

    assert num_failed / NUM_PAIRS > limit(0.05)


def test_a_rule_over_four_identical_variants_keeps_its_promise_for_all_of_them_together() -> None:
    rng = np.random.default_rng(22)
    names = ("baseline", "reasoning", "history", "history_and_reasoning")

    def judge() -> tuple[GateResult, ...]:
        old, new = outcomes(rng, 4), outcomes(rng, 4)
        return judged("success<0@95%", run_of(new, names), run_of(old, names))

    assert share_failed(judge, 500) < limit(0.025, 500)


def test_a_true_difference_of_the_detectable_size_fails_with_about_the_stated_power() -> None:
    rng = np.random.default_rng(23)
    # Scores that are normal by seed, of known standard error, as the stated power assumes.
    seed_sd = 0.2
    difference = detectable_difference(seed_sd / math.sqrt(NUM_SEEDS), NUM_SEEDS, power=0.8)
    reference = run_of(np.full((1, NUM_SEEDS, len(TASKS)), 0.6))

    def judge() -> tuple[GateResult, ...]:
        seeds = rng.normal(0.6 - difference, seed_sd, (1, NUM_SEEDS, 1))
        return judged("return<0@95%", run_of(np.repeat(seeds, len(TASKS), axis=2)), reference)

    assert share_failed(judge) == pytest.approx(0.8, abs=3.1 * math.sqrt(0.16 / NUM_PAIRS))


def test_successes_that_fall_by_the_detectable_size_fail_with_about_the_stated_power() -> None:
    rng = np.random.default_rng(24)
    many = outcomes(rng, 2, 20_000)
    seed_means = many.mean(axis=2)
    # The worse variant loses each success with the same probability, which thins its spread too.
    loss = 0.405
    kept = (many[0] * (rng.random(many[0].shape) > loss)).mean(axis=1)
    seed_sd = float((kept - seed_means[1]).std())
    stated = detectable_difference(seed_sd / math.sqrt(NUM_SEEDS), NUM_SEEDS, power=0.8)
    probability = stated / float(seed_means.mean())
    assert probability == pytest.approx(loss, abs=0.02)

    def judge() -> tuple[GateResult, ...]:
        pair = outcomes(rng, 2)
        worse = pair[:1] * (rng.random(pair[:1].shape) > probability)
        return judged("success<0@95%", run_of(worse), run_of(pair[1:]))

    assert share_failed(judge) == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("num_seeds", [5, 20])
def test_a_floor_at_the_true_rate_fails_at_most_5_percent_of_the_time(num_seeds: int) -> None:
    rng = np.random.default_rng(25)
    truth = round(float(probabilities(rng, 1, 200_000).mean()), 4)

    def judge() -> tuple[GateResult, ...]:
        return judged(f"success>={truth}@95%", run_of(outcomes(rng, 1, num_seeds)))

    share = share_failed(judge)

    assert share < limit(0.05)


def test_a_margin_in_percent_at_the_true_ratio_fails_at_most_5_percent_of_the_time() -> None:
    rng = np.random.default_rng(26)

    def steps(factor: float) -> RunScores:
        means = np.tile(rng.gamma(4, 10, NUM_SEEDS), len(TASKS)) * factor
        played = rng.poisson(means).tolist()
        return RunScores.of_outcomes(
            ScoredEpisode(spec, 1.0, 0.9, num_steps)
            for spec, num_steps in zip(specs_of("history", NUM_SEEDS), played, strict=True)
        )

    share = share_failed(lambda: judged("steps>+10%", steps(1.1), steps(1.0)))

    assert 0.002 < share < limit(0.05)


def test_the_stated_number_of_seeds_decides_with_about_the_stated_power() -> None:
    rng = np.random.default_rng(27)
    seed_sd, truth = 0.2, -0.06
    # A run whose estimate and spread are the truth, so that its advice can be held against it.
    shape = np.tile([-1.0, 1.0], NUM_SEEDS // 2)
    exact = truth + seed_sd * shape * math.sqrt((NUM_SEEDS - 1) / NUM_SEEDS)
    (asked,) = judged("return<0", *_returns(exact))
    assert asked.num_more_seeds is not None
    num_seeds = NUM_SEEDS + asked.num_more_seeds

    def judge() -> tuple[GateResult, ...]:
        return judged("return<0", *_returns(rng.normal(truth, seed_sd, num_seeds)))

    assert share_failed(judge, 500) == pytest.approx(0.8, abs=0.06)


def _returns(differences: NDArray[np.float64]) -> tuple[RunScores, RunScores]:
    pairs = list(itertools.product(("history",), enumerate(differences.tolist(), start=200)))
    new = [
        ScoredEpisode(EpisodeSpec(name, "goto", seed), 1.0, 0.5 + value, 10)
        for name, (seed, value) in pairs
    ]
    old = [
        ScoredEpisode(EpisodeSpec(name, "goto", seed), 1.0, 0.5, 10) for name, (seed, _) in pairs
    ]
    return RunScores.of_outcomes(new), RunScores.of_outcomes(old)
