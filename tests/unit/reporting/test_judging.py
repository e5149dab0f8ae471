"""Rules held against a frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai import judge
from pytest_babyai.errors import RuleError
from pytest_babyai.gate import GateOutcome, Reference, RunScores, evaluate_rules, parse_rules
from pytest_babyai.records import EpisodeResult, EpisodeSpec
from pytest_babyai.reporting.tables_export import episodes_frame
from tests.unit.reporting.reporting_samples import failure, result, run_of, solved

if TYPE_CHECKING:
    import pandas as pd


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


def frame() -> pd.DataFrame:
    return episodes_frame(run_of(*sample()))


@pytest.mark.parametrize(
    ("change", "rule", "problem"),
    [
        ({}, "histroy:success>=0.8", r"unknown variant 'histroy'; did you mean 'history'\?"),
        ({}, "history/gotto:success>=0.8", r"unknown task 'gotto'; did you mean 'goto'\?"),
        ({"progression": None}, "success>=0.8", r"the progression of baseline-goto-0 is missing"),
        ({"progression": 1.5}, "success>=0.8", "is 1.5, and it lies between 0 and 1"),
        ({"return": float("nan")}, "success>=0.8", r"the return of baseline-goto-0 is missing"),
        ({"num_steps": -1}, "success>=0.8", "is -1, and it is never negative"),
        ({"variant": None}, "success>=0.8", "a row has no variant; every episode needs one"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], rule: str, problem: str) -> None:
    rows = frame().astype(object)
    for name, value in change.items():
        rows.loc[rows.index[0], name] = value
    with pytest.raises(RuleError, match=problem) as caught:
        judge(rows, rule)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["variant", "outcome", "progression", "num_steps"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(RuleError, match=f"lacks the column '{column}'; it needs variant, task"):
        judge(frame().drop(columns=column), "success>=0.8")


def test_tokens_may_be_missing() -> None:
    rows = frame().drop(columns=["input_tokens", "output_tokens", "cost"])
    assert len(judge(rows, "success>=0.1")) == 2


def test_no_common_seed_is_refused() -> None:
    rows = frame()
    apart = rows[(rows["variant"] == "baseline") == (rows["seed"] < 10)]
    with pytest.raises(RuleError, match="no task and seed in common; play both on the same seeds"):
        judge(apart, "success<-0.05")


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(RuleError, match="no row, so there is nothing to judge"):
        judge(frame().head(0), "success>=0.8")


def test_a_change_without_a_reference_uses_the_first_variant() -> None:
    (named,) = judge(frame(), "success<-0.05", reference="baseline")
    (unnamed,) = judge(frame(), "success<-0.05")
    assert named == unnamed


def test_a_change_of_the_only_variant_is_refused() -> None:
    rows = frame()
    with pytest.raises(RuleError, match="a change needs a second variant"):
        judge(rows[rows["variant"] == "history"], "success<-0.05")
