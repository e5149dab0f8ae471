"""Statistics keep what they promise, in small; `tests.benchmarks.honesty` has whole tables."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_babyai.gate import GateOutcome
from pytest_babyai.statistics import detectable_difference, difference_evidence
from tests.benchmarks import honesty
from tests.benchmarks.honesty import OWN, SHARED

NUM_RUNS = 300


def limit(rate: float, num: int = NUM_RUNS) -> float:
    """Returns the share that chance exceeds once in a thousand such simulations."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / num)


@pytest.mark.parametrize("effects", [SHARED, OWN], ids=["shared", "own"])
@pytest.mark.parametrize(
    ("rates", "num_seeds"),
    [
        ((0.94, 0.99), 20),
        ((0.99, 0.99), 10),
        ((0.5, 0.5), 10),
        ((0.8, 0.75), 20),
        ((0.05, 0.05), 5),
    ],
)
def test_intervals_hold_the_truth(
    rates: tuple[float, float], num_seeds: int, effects: tuple[float, float]
) -> None:
    rng = np.random.default_rng(1)
    found = honesty.coverage(rng, rates, num_seeds, effects=effects, num_runs=NUM_RUNS)
    assert 1 - found.of_difference < limit(0.06)
    assert 1 - found.of_share < limit(0.06)
    assert found.wrong < limit(0.05)


@pytest.mark.parametrize("num_seeds", [2, 3, 5, 10, 20])
def test_seeds_that_agree_are_not_taken_for_proof_of_a_tie(num_seeds: int) -> None:
    rng = np.random.default_rng(2)
    found = honesty.coverage(rng, (0.98, 0.9), num_seeds, num_tasks=1, num_runs=NUM_RUNS)
    assert found.tied == 0


def test_a_true_loss_at_the_edge_is_rarely_called_a_tie() -> None:
    rng = np.random.default_rng(3)
    found = honesty.coverage(rng, (0.94, 0.99), 40, num_runs=NUM_RUNS)
    assert found.tied < limit(0.025)


def test_missing_pairs_do_no_harm() -> None:
    rng = np.random.default_rng(4)
    found = honesty.coverage(rng, (0.8, 0.8), 20, num_missing=12, effects=OWN, num_runs=NUM_RUNS)
    assert 1 - found.of_difference < limit(0.05)


@pytest.mark.parametrize("num_variants", [2, 8])
def test_equal_variants_are_rarely_told_apart(num_variants: int) -> None:
    share = honesty.false_verdicts(np.random.default_rng(5), 0.5, 20, num_variants, NUM_RUNS // 2)
    assert share < limit(0.05, NUM_RUNS // 2)


@pytest.mark.parametrize(
    ("rule", "rates", "wrong"),
    [
        ("success>=0.8", (0.8, 0.8), GateOutcome.FAILED),
        ("success<-0.05", (0.9, 0.95), GateOutcome.FAILED),
        ("success>=0.8!", (0.8, 0.8), GateOutcome.PASSED),
        ("success<-0.05!", (0.9, 0.95), GateOutcome.PASSED),
    ],
)
def test_gates_on_their_bound_are_rarely_wrong(
    rule: str, rates: tuple[float, float], wrong: GateOutcome
) -> None:
    found = honesty.gate_outcomes(np.random.default_rng(6), rule, rates, 20, 150)
    assert found[wrong] < limit(0.025, 150)


def test_a_gate_without_clusters_would_fail_too_often() -> None:
    rng, num_failed = np.random.default_rng(7), 0
    for _ in range(NUM_RUNS):
        values = honesty.outcomes(rng, (0.5, 0.5), 20, effects=OWN).reshape(2, -1)
        # Every episode a seed of its own: what ignoring the clusters comes to.
        first, second = ({("goto", i): (v,) for i, v in enumerate(row.tolist())} for row in values)
        found = difference_evidence(first, second, low=0, high=1).interval()
        assert found is not None
        num_failed += not found.low <= 0 <= found.high
    assert num_failed / NUM_RUNS > 0.1


def test_alpha_spending_keeps_its_promises() -> None:
    num_runs, most = 20_000, 40
    effect = detectable_difference(0.3 / math.sqrt(most), most)

    def share(truth: float, method: str) -> tuple[float, float, float]:
        differences = np.random.default_rng(8).normal(truth, 0.3, (num_runs, most))
        decision, seeds = honesty.METHODS[method](differences, effect)
        return (decision > 0).mean(), (decision < 0).mean(), seeds.mean() / most

    null, twice = share(0.0, "alpha spending"), share(2 * effect, "alpha spending")
    assert max(null[:2]) < limit(0.025, num_runs)
    assert share(effect, "fixed run")[0] - share(effect, "alpha spending")[0] < 0.03
    assert null[2] <= 0.75
    assert twice[2] <= 0.6


def test_runs_that_decide_as_they_go_err_as_rarely() -> None:
    found = honesty.decided(np.random.default_rng(9), (0.5, 0.5), 20, num_runs=60)
    assert found.better + found.worse < limit(0.05, 60)
    assert found.seeds < 0.95
