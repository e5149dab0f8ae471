"""Rules held against a frame."""

from __future__ import annotations

import dataclasses

import pytest

from pytest_babyai import judge
from pytest_babyai.errors import RuleError
from pytest_babyai.gate import GateOutcome, Reference, RunScores, evaluate_rules, parse_rules
from pytest_babyai.records import EpisodeResult, EpisodeSpec
from pytest_babyai.reporting.tables_export import episodes_frame
from tests.unit.reporting.reporting_samples import failure, result, run_of, solved


def sample() -> list[EpisodeResult]:
    episodes: list[EpisodeResult] = []
    for seed in range(20):
        specs = [EpisodeSpec(variant, "goto", seed) for variant in ("baseline", "history")]
        episodes += [solved(specs[0]), result(specs[1]) if seed % 2 else solved(specs[1])]
    return episodes


def test_a_frame_is_judged_as_the_run_itself() -> None:
    outcomes = sample()
    rules = ["success>=0.8", "history:success<-0.05", "errors<=0", "steps<=64"]
    scores = RunScores.of_outcomes(outcomes)
    expected = evaluate_rules(
        parse_rules(rules), scores, Reference("variant baseline", scores, "baseline")
    )

    found = judge(episodes_frame(run_of(*outcomes)), rules, reference="baseline")

    assert [(each.name, each.outcome, each.reason) for each in found] == [
        (each.name, each.outcome, each.reason) for each in expected
    ]


def test_errors_are_no_scores() -> None:
    frame = episodes_frame(run_of(*sample(), failure(EpisodeSpec("history", "goto", 30))))

    (of_errors,) = judge(frame, "history:errors<=0")

    assert of_errors.outcome is GateOutcome.FAILED


def test_unknown_tokens_are_not_zero() -> None:
    outcome = solved()
    unknown = dataclasses.replace(
        outcome, usage=dataclasses.replace(outcome.usage, input_tokens=None)
    )

    (found,) = judge(episodes_frame(run_of(unknown)), "input_tokens<=5")

    assert found.outcome is GateOutcome.INCONCLUSIVE
    assert "unknown" in found.reason


def test_a_reference_without_episodes_is_refused() -> None:
    with pytest.raises(RuleError, match=r"^reference 'histroy' has no episode .* 'history'"):
        judge(episodes_frame(run_of(*sample())), "success<-0.05", reference="histroy")
