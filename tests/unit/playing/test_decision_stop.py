"""Variants stop once what is asked of them is decided, whatever the order of their episodes."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.gate import (
    GateOutcome,
    Reference,
    RunScores,
    Verdict,
    compare,
    evaluate_rules,
    parse_rules,
    scored,
    unscored,
)
from pytest_babyai.playing.stopping import (
    Decisions,
    DecisionStop,
    Precision,
    PrecisionStop,
    stopping_for,
)
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_babyai.records import EpisodeOutcome

TASKS = ("goto", "pickup", "open", "putnext", "pick_up_seq_go_to")
NUM_SEEDS = 40
EQUAL = Decisions(reference="baseline", margins={"success": 0.05})


def planned(
    variants: Sequence[str] = ("baseline", "history"), num_seeds: int = NUM_SEEDS
) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(variant, task, 200 + seed)
        for seed, variant, task in itertools.product(range(num_seeds), variants, TASKS)
    ]


def outcomes_of(
    specs: Sequence[EpisodeSpec], rate_of: Callable[[str], float], rng: random.Random
) -> list[EpisodeOutcome]:
    return [scored(spec, float(rng.random() < rate_of(spec.variant)), 0.5, 10) for spec in specs]


def played(stop: DecisionStop, outcomes: Sequence[EpisodeOutcome]) -> list[EpisodeOutcome]:
    """Plays in the order of the plan what is not refused."""
    found = []
    for outcome in outcomes:
        if stop.reason(outcome.spec.variant) is None:
            stop.record(outcome)
            found.append(outcome)
    return found


def far_apart(seed: int = 1) -> list[EpisodeOutcome]:
    rates = {"baseline": 0.2, "history": 0.95}
    return outcomes_of(planned(), rates.__getitem__, random.Random(seed))


def test_a_clear_difference_is_decided_early_and_says_what_it_saved() -> None:
    stop = DecisionStop(EQUAL, planned())

    found = played(stop, far_apart())

    assert len(found) < len(planned()) / 2
    reason = stop.reason("history")
    assert reason is not None
    assert reason.startswith("history: decided after ")
    *_, history, total = stop.lines()
    num_saved = len(planned()) - len(found)
    assert "(seed 2" in history
    assert total == f"{num_saved:,} episodes of {len(planned()):,} saved (--babyai-decide)"


def test_the_verdict_on_what_was_seen_is_the_one_that_stopped_it() -> None:
    stop = DecisionStop(EQUAL, planned())
    scores = stop.seen(RunScores.of_outcomes(played(stop, far_apart())))
    found = compare(
        scores, Reference("variant baseline", scores, "baseline"), spend=stop.spend
    ).variants[0]
    assert found.metrics["success"].verdict is Verdict.BETTER


def test_any_order_and_a_resume_come_to_the_same() -> None:
    outcomes = far_apart()
    in_order = DecisionStop(EQUAL, planned())
    for outcome in outcomes:
        in_order.record(outcome)
    shuffled = DecisionStop(EQUAL, planned())
    for outcome in random.Random(5).sample(outcomes, len(outcomes)):
        shuffled.record(outcome)
    resumed = DecisionStop(EQUAL, planned())
    for outcome in (*played(DecisionStop(EQUAL, planned()), outcomes)[::-1], *outcomes):
        resumed.record(outcome)  # the second time they were not planned any more

    reasons = {stop.reason("history") for stop in (in_order, shuffled, resumed)}
    scores = RunScores.of_outcomes(outcomes)
    assert len(reasons) == 1
    assert in_order.seen(scores) == shuffled.seen(scores) == resumed.seen(scores)


def test_what_was_played_ahead_is_in_no_verdict() -> None:
    stop = DecisionStop(EQUAL, planned())
    for outcome in far_apart():
        stop.record(outcome)
    seen = stop.seen(RunScores.of_outcomes(far_apart()))
    assert len(seen.episodes) < len(planned()) / 2


def test_equal_variants_are_given_up() -> None:
    stop = DecisionStop(EQUAL, planned())
    outcomes = outcomes_of(planned(), lambda _: 0.5, random.Random(3))
    found = played(stop, outcomes)
    assert len(found) < len(planned())
    assert "no decision in reach" in str(stop.reason("history"))


def test_the_reference_plays_on_while_another_needs_it() -> None:
    variants = ("baseline", "history", "reasoning")
    rates = {"baseline": 0.2, "history": 0.97, "reasoning": 0.45}
    stop = DecisionStop(EQUAL, planned(variants))
    for outcome in outcomes_of(planned(variants), rates.__getitem__, random.Random(4)):
        if stop.reason("history") and not stop.reason("reasoning"):
            break
        stop.record(outcome)
    assert stop.reason("history") is not None
    assert stop.reason("baseline") is None


@pytest.mark.parametrize(
    ("rule", "rate", "outcome"),
    [
        ("success>=0.9", 0.3, GateOutcome.FAILED),
        ("success>=0.3", 0.95, GateOutcome.PASSED),
        ("success>=0.3!", 0.95, GateOutcome.PASSED),
        ("success>=0.9!", 0.3, GateOutcome.FAILED),
    ],
)
def test_a_gate_is_decided_early(rule: str, rate: float, outcome: GateOutcome) -> None:
    specs, rules = planned(["history"]), parse_rules(rule)
    stop = DecisionStop(Decisions(rules), specs)
    found = played(stop, outcomes_of(specs, lambda _: rate, random.Random(6)))
    scores = stop.seen(RunScores.of_outcomes(found))
    (result,) = evaluate_rules(rules, scores, spend=stop.spend)
    assert len(found) < len(specs)
    assert result.outcome is outcome


def test_a_gate_between_two_bounds_plays_to_the_end_or_is_given_up() -> None:
    specs = planned(["history"])
    stop = DecisionStop(Decisions(parse_rules("success>=0.5")), specs)
    played(stop, outcomes_of(specs, lambda _: 0.5, random.Random(8)))
    assert "decided after" not in str(stop.reason("history"))


def test_one_failure_decides_a_floor_of_everything() -> None:
    specs = planned(["history"])
    stop = DecisionStop(Decisions(parse_rules("success>=1")), specs)
    found = played(stop, outcomes_of(specs, lambda _: 0.5, random.Random(8)))
    assert len(found) == 4 * len(TASKS)  # the first look


def test_errors_that_could_turn_it_keep_it_open() -> None:
    outcomes = far_apart()
    broken = [
        unscored(each.spec, "rate limit")
        if each.spec.variant == "history" and each.spec.task != "goto"
        else each
        for each in outcomes
    ]
    stop = DecisionStop(EQUAL, planned())
    for outcome in broken:
        stop.record(outcome)
    assert "decided after" not in str(stop.reason("history")).replace("undecided", "")


def test_a_baseline_needs_no_second_variant() -> None:
    specs = planned(["history"])
    old = outcomes_of(specs, lambda _: 0.2, random.Random(9))
    baseline = Reference("baseline main", RunScores.of_outcomes(old))
    stop = DecisionStop(Decisions(baseline=baseline), specs)
    found = played(stop, outcomes_of(specs, lambda _: 0.95, random.Random(10)))
    assert len(found) < len(specs) / 2


def test_what_was_not_planned_is_ignored() -> None:
    stop = DecisionStop(EQUAL, planned())
    stop.record(scored(EpisodeSpec("other", "goto", 1), 1.0, 0.9, 3))
    assert stop.reason("other") is None


def test_nothing_asked_stops_nothing_before_the_end() -> None:
    specs = planned(["history"])
    stop = DecisionStop(Decisions(), specs)
    assert len(played(stop, outcomes_of(specs, lambda _: 0.5, random.Random(1)))) == len(specs)


def test_one_way_of_stopping_at_a_time() -> None:
    assert stopping_for(None, None, planned()) is None
    assert isinstance(stopping_for(Precision(), None, planned()), PrecisionStop)
    assert isinstance(stopping_for(None, EQUAL, planned()), DecisionStop)
    with pytest.raises(SettingsError, match="choose one of them"):
        stopping_for(Precision(), EQUAL, planned())
