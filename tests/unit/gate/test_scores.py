"""What is kept of episodes, and the metrics made of it."""

from __future__ import annotations

import pytest

from pytest_babyai.gate import METRICS, RunScores, metric_values
from pytest_babyai.records import EpisodeSpec, Usage
from tests.unit.gate.gate_samples import episode, failed
from tests.unit.reporting.reporting_samples import failure, result, solved

SPEC = EpisodeSpec("history", "goto", 200)


def test_a_result_keeps_what_is_compared() -> None:
    outcome = solved(SPEC, usage=Usage(800, 80, 0.01))
    assert RunScores.of_outcomes([outcome]).episodes == (outcome,)


def test_a_failure_keeps_its_kind_and_no_score() -> None:
    scores = RunScores.of_outcomes([failure(SPEC)])
    assert (scores.num_errors, scores.episodes[0].spec) == (1, failed().spec)


def test_episodes_are_ordered_whatever_order_they_ended_in() -> None:
    one, two = result(SPEC), result(EpisodeSpec("history", "goto", 201))
    assert RunScores.of_outcomes([two, one]) == RunScores.of_outcomes([one, two])


def test_variants_and_tasks_follow_the_given_order_and_then_their_names() -> None:
    scores = RunScores.of_outcomes(
        [
            episode(1.0, name, task)
            for name, task in (("b", "open"), ("c", "goto"), ("a", "pickup"))
        ],
        variants=["c", "unplayed"],
        tasks=["open", "goto"],
    )
    assert scores.variants == ("c", "a", "b")
    assert scores.tasks == ("open", "goto", "pickup")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("success", 0.0),
        ("progression", 0.5),
        ("return", 0.25),
        ("steps", 12.0),
        ("input_tokens", 800.0),
        ("output_tokens", 80.0),
        ("cost", 0.01),
        ("errors", 0.0),
    ],
)
def test_every_metric_reads_its_value(name: str, value: float) -> None:
    played = episode(
        0.5, episode_return=0.25, num_steps=12, input_tokens=800, output_tokens=80, cost=0.01
    )
    values = metric_values(RunScores.of_outcomes([played]), METRICS[name], "history")
    assert values.by_pair == {("goto", 200): (value,)}


def test_an_error_has_no_score() -> None:
    values = metric_values(RunScores.of_outcomes([failed()]), METRICS["success"], "history")
    assert (values.by_pair, values.num_errors) == ({}, 1)


def test_an_error_counts_as_an_error() -> None:
    values = metric_values(RunScores.of_outcomes([failed()]), METRICS["errors"], "history")
    assert values.by_pair == {("goto", 200): (1.0,)}


def test_every_metric_shows_how_its_rules_are_written() -> None:
    from pytest_babyai.gate import parse_rule

    for metric in METRICS.values():
        assert parse_rule(metric.example).metric == metric.name
        assert parse_rule(metric.example_of_change).relative
