"""What rules come to, for every kind of evidence and the lack of it."""

from __future__ import annotations

import math
import re

import pytest

from pytest_babyai.gate import (
    GateOutcome,
    GateResult,
    Reference,
    RunScores,
    evaluate_rules,
    settled,
    unjudged,
)
from pytest_babyai.gate.rules import parse_rule, parse_rules
from tests.unit.gate.gate_samples import SEEDS, alternating, episode, episodes, failed, run

PASSED, FAILED = GateOutcome.PASSED, GateOutcome.FAILED
INCONCLUSIVE = GateOutcome.INCONCLUSIVE


def judge(rule: str, scores: RunScores, reference: RunScores | None = None) -> GateResult:
    against = Reference("baseline main", reference) if reference else None
    (result,) = evaluate_rules([parse_rule(rule)], scores, against)
    return result


def returning(*values: float) -> RunScores:
    """One goto episode per seed, with these returns."""
    return RunScores.of_outcomes(
        episode(1.0, seed=200 + number, episode_return=value) for number, value in enumerate(values)
    )


def test_a_floor_clearly_cleared_is_passed() -> None:
    result = judge("success>=0.3", run(*alternating(9)))
    assert result.outcome is PASSED
    assert result.reason.endswith("on 40 episodes of 20 seeds: none of it below 0.3")


def test_a_floor_clearly_missed_is_failed() -> None:
    result = judge("success>=0.9", run(*alternating(3)))
    assert result.outcome is FAILED
    assert result.reason.endswith(": all of it below 0.9")


def test_a_floor_within_the_interval_is_inconclusive_and_plans_for_a_half_width() -> None:
    result = judge("success>=0.55", run(*alternating(6)))
    assert result.outcome is INCONCLUSIVE
    assert re.search(r"may lie below or above 0.55; \d+ to \d+ seeds for \+/-0.05$", result.reason)


def test_the_plan_is_the_same_wherever_the_bound_lies() -> None:
    plans = {
        judge(f"success>={bound}", run(*alternating(6))).reason.rpartition("; ")[2]
        for bound in (0.5, 0.55, 0.6, 0.65)
    }
    assert len(plans) == 1


def test_a_change_plans_for_its_margin() -> None:
    same = run(*alternating(5), seeds=(1, 2, 3))
    reason = judge("success<-0.05", same, same).reason
    assert re.search(r"[\d,]+ to [\d,]+ seeds to show a change of -0.05 \(power 0.8\)$", reason)


def test_a_point_estimate_below_the_floor_alone_does_not_fail() -> None:
    assert judge("success>=0.5", run(*alternating(4))).outcome is INCONCLUSIVE


def test_a_ceiling_of_steps_is_judged_the_other_way_round() -> None:
    scores = RunScores.of_outcomes(
        episode(1.0, seed=seed, num_steps=10 + seed % 3) for seed in SEEDS
    )
    assert [judge(f"steps<={limit}", scores).outcome for limit in (5, 20)] == [FAILED, PASSED]


def test_a_regression_is_failed() -> None:
    result = judge("success<-0.1", run(*alternating(2)), run(*alternating(9)))
    assert result.outcome is FAILED
    assert "against baseline main on 40 pairs of 20 seeds: all of it below -0.1" in result.reason


def test_an_improvement_is_passed() -> None:
    assert judge("success<0", run(*alternating(9)), run(*alternating(2))).outcome is PASSED


def test_a_required_improvement_that_did_not_come_is_failed() -> None:
    same = run(*alternating(5))
    assert judge("success<+0.2", same, same).outcome is FAILED


def test_more_steps_than_allowed_in_percent_are_failed() -> None:
    old = RunScores.of_outcomes(episode(1.0, seed=seed, num_steps=10 + seed % 3) for seed in SEEDS)
    new = RunScores.of_outcomes(episode(1.0, seed=seed, num_steps=14 + seed % 3) for seed in SEEDS)
    result = judge("steps>+10%", new, old)
    assert result.outcome is FAILED
    assert result.reason.startswith("steps changed by +36.4% [")


def test_fewer_steps_are_passed() -> None:
    old = RunScores.of_outcomes(episode(1.0, seed=seed, num_steps=14 + seed % 3) for seed in SEEDS)
    new = RunScores.of_outcomes(episode(1.0, seed=seed, num_steps=10 + seed % 3) for seed in SEEDS)
    assert judge("steps>+10%", new, old).outcome is PASSED


def test_there_is_no_percentage_of_nothing() -> None:
    result = judge("return<-10%", returning(0.5, 0.4), returning(0.0, 0.0))
    assert result.outcome is INCONCLUSIVE
    assert result.reason == "there is no percentage of 0 in baseline main"


def test_the_reference_s_own_uncertainty_counts_in_a_margin_in_percent() -> None:
    wide = [2.0 if seed % 2 else 40.0 for seed in SEEDS]
    old = RunScores.of_outcomes(
        episode(1.0, seed=s, num_steps=int(w)) for s, w in zip(SEEDS, wide, strict=True)
    )
    new = RunScores.of_outcomes(episode(1.0, seed=seed, num_steps=26) for seed in SEEDS)
    assert judge("steps>+10%", new, old).outcome is INCONCLUSIVE


@pytest.mark.parametrize("rule", ["success<-0.05", "steps>+5%"])
def test_an_identical_run_of_many_seeds_passes_a_change_that_has_a_margin(rule: str) -> None:
    seeds = tuple(range(60))
    same = run(*alternating(5, 120), seeds=seeds)
    assert judge(rule, same, same).outcome is PASSED


@pytest.mark.parametrize("rule", ["success<-0.05", "success<0", "steps>+5%", "success<-0.3"])
def test_few_identical_seeds_prove_nothing(rule: str) -> None:
    same = run(1.0, 0.0, seeds=(200, 201))
    assert judge(rule, same, same).outcome is INCONCLUSIVE


def test_few_seeds_that_all_agree_on_a_regression_do_not_fail() -> None:
    seeds = (200, 201, 202)
    assert judge("success<-0.1", run(0.0, seeds=seeds), run(1.0, seeds=seeds)).outcome is (
        INCONCLUSIVE
    )
    steps = judge("steps>+0", run(0.0, seeds=seeds), run(1.0, seeds=seeds))
    assert steps.outcome is INCONCLUSIVE
    assert "few seeds that agree prove nothing" in steps.reason


def test_many_seeds_that_all_agree_on_a_regression_fail() -> None:
    assert judge("success<0", run(0.0), run(1.0)).outcome is FAILED


@pytest.mark.parametrize("rule", ["success>=0.4", "success>=0.9", "return>=0.4", "steps<=30"])
def test_a_single_seed_is_inconclusive(rule: str) -> None:
    result = judge(rule, run(1.0, 0.0, seeds=(200,)))
    assert result.outcome is INCONCLUSIVE
    assert "a single seed shows no spread" in result.reason


def test_a_single_episode_is_inconclusive_against_a_baseline() -> None:
    one = RunScores.of_outcomes([episode(0.0)])
    result = judge("success<0", one, RunScores.of_outcomes([episode(1.0)]))
    assert result.outcome is INCONCLUSIVE
    assert "on 1 pair of 1 seed: a single seed shows no spread" in result.reason


def test_one_error_is_proof_against_none() -> None:
    scores = RunScores.of_outcomes([*episodes([1.0]), failed(task="pickup")])
    result = judge("errors<=0", scores)
    assert result.outcome is FAILED
    assert result.reason.endswith("one episode against it is proof")


def test_a_floor_of_everything_is_passed_without_a_counterexample() -> None:
    result = judge("success>=1", RunScores.of_outcomes([episode(1.0)]))
    assert result.outcome is PASSED
    assert result.reason == "success 1.000 on 1 episode of 1 seed: no episode is against it"


def test_proof_needs_no_correction() -> None:
    names = [f"v{number}" for number in range(30)]
    scores = RunScores.of_outcomes(
        each for name in names for each in episodes([0.0] if name == "v7" else [1.0], name)
    )
    results = evaluate_rules(parse_rules("success>=1"), scores)
    assert [result.variant for result in results if result.outcome is FAILED] == ["v7"]


def test_all_solved_on_few_episodes_does_not_pass_a_floor() -> None:
    assert judge("success>=0.8", run(1.0, seeds=(200, 201, 202))).outcome is INCONCLUSIVE


def test_a_share_near_one_passes_with_width() -> None:
    assert judge("success>=0.8", run(1.0)).outcome is PASSED


def test_a_share_near_zero_fails() -> None:
    assert judge("success>=0.3", run(0.0)).outcome is FAILED


def test_partial_progression_is_known_better_than_successes() -> None:
    scores = run(*(0.5 + 0.01 * (number % 5) for number in range(40)))
    assert judge("progression>=0.7", scores).outcome is FAILED


def test_errors_are_left_out_of_scores_and_counted() -> None:
    scores = RunScores.of_outcomes(
        [*episodes([1.0]), failed(task="pickup"), failed(task="putnext")]
    )
    result = judge("success>=0.5", scores)
    assert result.outcome is PASSED
    assert result.reason.endswith("; 2 errors left out")


def test_nothing_but_errors_is_inconclusive() -> None:
    scores = RunScores.of_outcomes([failed(seed=200), failed(seed=201)])
    result = judge("success>=0.5", scores)
    assert result.outcome is INCONCLUSIVE
    assert result.reason == "no episode in this run has a score: 2 errors"


def test_nothing_but_errors_fails_a_ceiling_of_errors() -> None:
    scores = RunScores.of_outcomes(failed(seed=seed) for seed in SEEDS)
    assert judge("errors<=0.1", scores).outcome is FAILED


def test_a_baseline_of_nothing_but_errors_is_inconclusive() -> None:
    result = judge("success<0", run(1.0), RunScores.of_outcomes([failed()]))
    assert result.reason == "no episode in baseline main has a score: 1 error"


def test_an_empty_run_is_inconclusive() -> None:
    result = judge("success>=0.5", RunScores.of_outcomes([]))
    assert (result.outcome, result.variant) == (INCONCLUSIVE, "*")
    assert result.reason.startswith("nothing to judge")


def test_a_variant_that_was_not_played_is_inconclusive() -> None:
    result = judge("reasoning:success>=0.5", run(1.0))
    assert result.outcome is INCONCLUSIVE
    assert result.reason == "it has no such episode in this run"


def test_a_variant_that_the_baseline_lacks_is_inconclusive() -> None:
    result = judge("success<0", run(1.0), run(1.0, variant="reasoning"))
    assert result.reason == "history has no such episode in baseline main"


def test_seeds_that_do_not_overlap_are_inconclusive() -> None:
    result = judge("success<0", run(1.0, seeds=(1, 2)), run(1.0, seeds=(3, 4)))
    assert result.outcome is INCONCLUSIVE
    assert result.reason == "no (task, seed) in common with baseline main"


@pytest.mark.parametrize(
    ("value", "problem"),
    [(math.nan, "is nan"), (math.inf, "is inf"), (1.5, "is 1.5, and it lies between 0 and 1")],
)
def test_a_value_that_cannot_be_is_inconclusive(value: float, problem: str) -> None:
    result = judge("return>=0.5", returning(0.5, value))
    assert result.outcome is INCONCLUSIVE
    assert result.reason == f"the return of history-goto-201 {problem} in this run"


def test_an_unknown_price_is_inconclusive() -> None:
    result = judge("cost<=0.1", run(1.0))
    assert result.reason == "the cost of history-goto-200 is unknown in this run"


def test_a_change_without_a_reference_is_inconclusive() -> None:
    assert judge("success<0", run(1.0)).reason == "a change needs a reference, and there is none"


def test_a_rule_without_scope_judges_every_variant() -> None:
    scores = RunScores.of_outcomes([*episodes([1.0], "baseline"), *episodes([0.0], "history")])
    results = evaluate_rules(parse_rules("success>=0.5"), scores)
    assert [(each.name, each.outcome) for each in results] == [
        ("baseline:success>=0.5", PASSED),
        ("history:success>=0.5", FAILED),
    ]


def test_a_scope_of_each_task_judges_them_one_by_one() -> None:
    results = evaluate_rules(parse_rules("history/*:success>=0.5"), run(1.0))
    assert [each.name for each in results] == [
        "history/goto:success>=0.5",
        "history/open:success>=0.5",
    ]


def test_a_scope_of_one_task_leaves_the_others_out() -> None:
    scores = RunScores.of_outcomes(
        [*episodes([1.0], tasks=["goto"]), *episodes([0.0], tasks=["open"])]
    )
    assert judge("history/goto:success>=0.5", scores).outcome is PASSED


def test_a_variant_of_the_same_run_can_be_the_reference() -> None:
    scores = RunScores.of_outcomes([*episodes([1.0], "baseline"), *episodes([0.0], "history")])
    reference = Reference("variant baseline", scores, "baseline")
    (result,) = evaluate_rules(parse_rules("success<0"), scores, reference)
    assert (result.variant, result.outcome) == ("history", FAILED)


def test_the_reference_variant_is_not_compared_with_itself() -> None:
    scores = run(1.0, variant="baseline")
    reference = Reference("variant baseline", scores, "baseline")
    (result,) = evaluate_rules(parse_rules("baseline:success<0"), scores, reference)
    assert result.outcome is INCONCLUSIVE
    assert result.reason == "baseline is itself what others are compared with"


def weak_regression() -> tuple[RunScores, RunScores]:
    """Returns 20 seeds of which 8 got worse: a p-value of 0.01."""
    return run(*[0.0] * 8, 1.0, tasks=["goto"]), run(1.0, tasks=["goto"])


def test_a_weak_regression_of_the_only_variant_is_failed() -> None:
    assert judge("success<0", *weak_regression()).outcome is FAILED


def test_the_same_regression_among_many_variants_is_not() -> None:
    new, old = weak_regression()
    others = [each for n in range(9) for each in episodes([1.0], f"v{n}", tasks=["goto"])]
    results = evaluate_rules(
        parse_rules("success<0"),
        RunScores.of_outcomes([*new.episodes, *others]),
        Reference("baseline main", RunScores.of_outcomes([*old.episodes, *others])),
    )
    found = next(result for result in results if result.variant == "history")
    assert found.outcome is INCONCLUSIVE
    assert "(Holm over 10): may lie below or above 0" in found.reason


def test_rules_do_not_correct_for_each_other() -> None:
    new, old = weak_regression()
    rules = parse_rules("success<0, steps>+900%, return<-0.9, errors>0, progression<-0.9")
    first, *_ = evaluate_rules(rules, new, Reference("baseline main", old))
    assert first.outcome is FAILED


def test_a_stricter_level_asks_for_more() -> None:
    assert judge("success<0@99.9%", *weak_regression()).outcome is INCONCLUSIVE


def test_repeated_plays_of_an_episode_are_averaged_in_a_pair() -> None:
    twice = RunScores.of_outcomes([*episodes([1.0]), *episodes([0.0])])
    result = judge("progression<-0.2", twice, run(0.5))
    assert result.outcome is PASSED
    assert "on 40 pairs of 20 seeds" in result.reason


def test_an_end_of_an_interval_close_to_the_bound_gets_the_digits_that_tell_them_apart() -> None:
    values = [0.5 + 0.00001 * (-1) ** seed for seed in SEEDS]
    ceilings = RunScores.of_outcomes(
        episode(1.0, seed=seed, num_steps=40, cost=value)
        for seed, value in zip(SEEDS, values, strict=True)
    )
    assert "[0.500000, 0.50000" in judge("cost<=0.499999", ceilings).reason or "0.49999" in (
        judge("cost<=0.499999", ceilings).reason
    )


@pytest.mark.parametrize("rule", ["success>=0.5", "success<0", "steps>+10%", "errors<=0"])
def test_reasons_are_one_line_of_ascii(rule: str) -> None:
    reason = judge(rule, run(*alternating(4)), run(*alternating(5))).reason
    assert reason.isascii()
    assert "\n" not in reason


def test_100_of_100_is_never_worse_than_99_of_100() -> None:
    tasks = ("goto", "open", "pickup", "putnext", "pick_up_seq_go_to")
    found = [
        judge("success>=0.9", run(*[0.0] * missed, 1.0, tasks=tasks)).outcome for missed in (1, 0)
    ]
    assert found == [PASSED, PASSED]


@pytest.mark.parametrize(("solved_of_ten", "outcome"), [(9, PASSED), (5, FAILED), (3, FAILED)])
def test_a_floor_that_has_to_be_proven(solved_of_ten: int, outcome: GateOutcome) -> None:
    assert judge("success>=0.5!", run(*alternating(solved_of_ten))).outcome is outcome


def test_what_is_not_proven_says_so() -> None:
    reason = judge("success>=0.5!", run(*alternating(5))).reason
    assert "not proven, may lie below or above 0.5; " in reason


def test_non_inferiority_fails_unless_a_fall_is_ruled_out() -> None:
    found = []
    for num_seeds in (20, 200):
        seeds = tuple(range(num_seeds))
        new = run(*alternating(9, 2 * num_seeds), seeds=seeds)
        old = run(*reversed(alternating(9, 2 * num_seeds)), seeds=seeds)
        found.append(
            [judge(rule, new, old).outcome for rule in ("success<-0.05", "success<-0.05!")]
        )
    assert found == [[INCONCLUSIVE, FAILED], [PASSED, PASSED]]


@pytest.mark.parametrize("scores", [run(1.0, seeds=(200,)), RunScores.of_outcomes([failed()])])
def test_where_there_is_too_little_proof_is_lacking(scores: RunScores) -> None:
    assert judge("success>=0.5!", scores).outcome is FAILED


def test_proof_of_several_variants_needs_no_correction() -> None:
    alone = judge("v0:success>=0.5!", RunScores.of_outcomes(episodes(alternating(9), "v0")))
    names = [f"v{number}" for number in range(9)]
    scores = RunScores.of_outcomes(e for name in names for e in episodes(alternating(9), name))
    first, *_ = evaluate_rules(parse_rules("success>=0.5!"), scores)
    assert first.reason == alone.reason


def test_a_gate_that_errors_could_turn_is_withheld() -> None:
    lost = [failed(task="pickup", seed=seed) for seed in SEEDS]
    result = judge("success>=0.7", RunScores.of_outcomes([*episodes([1.0]), *lost]))
    assert result.outcome is INCONCLUSIVE
    assert result.reason.startswith("undecided: 20 errors could turn it; success 1.000 [")


def test_a_failure_that_no_error_could_turn_stands() -> None:
    lost = [failed(task="pickup", seed=seed) for seed in SEEDS]
    result = judge("success>=0.7", RunScores.of_outcomes([*episodes([0.0]), *lost]))
    assert result.outcome is FAILED


def test_errors_of_the_baseline_could_turn_a_gate_too() -> None:
    lost = [failed(task="pickup", seed=seed) for seed in SEEDS] * 2
    old = RunScores.of_outcomes([*episodes([1.0]), *lost])
    new = RunScores.of_outcomes([*episodes([0.3]), *episodes([1.0], tasks=["pickup"])])
    result = judge("progression<0", new, old)
    assert result.outcome is INCONCLUSIVE
    assert "40 errors could turn it" in result.reason


def test_a_rule_about_tokens_is_not_turned_by_errors() -> None:
    scores = RunScores.of_outcomes([*episodes([1.0], input_tokens=5), failed(task="pickup")])
    assert judge("input_tokens<=9", scores).outcome is PASSED


def test_what_becomes_of_an_inconclusive_gate() -> None:
    rule = parse_rule("success>=0.5")
    found = [settled(unjudged(rule, ""), how) for how in ("pass", "skip", "fail")]
    assert found == [PASSED, INCONCLUSIVE, FAILED]
    assert settled(judge("success>=0.3", run(*alternating(9))), "fail") is PASSED
    assert unjudged(parse_rule("success>=0.5!"), "not played").outcome is FAILED


def test_less_may_be_said_before_the_end() -> None:
    (early,) = evaluate_rules(
        parse_rules("success>=0.45"), run(*alternating(9)), spend=lambda alpha, _: alpha / 1e8
    )
    assert early.outcome is INCONCLUSIVE
    assert judge("success>=0.45", run(*alternating(9))).outcome is PASSED
