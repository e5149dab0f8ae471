from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest

from pytest_babyai.records import (
    NO_USAGE,
    AnswerStatus,
    Episode,
    EpisodeFailure,
    EpisodeResult,
    EpisodeSpec,
    OutcomeKind,
    Step,
    Usage,
    outcome_from_record,
    outcome_kind,
    total_usage,
)

STEP = Step(
    observation="a wall 2 steps forward",
    output='{"action": "go forward"}',
    thinking=None,
    candidate="go forward",
    action="go forward",
    reward=0.5,
    status=AnswerStatus.VALID,
    latency_ms=1.5,
    usage=Usage(10, 2, 0.001),
    inference_id="i",
)
RESULT = EpisodeResult(
    spec=EpisodeSpec("baseline", "goto", 7),
    episode_id="e",
    mission="go to the red ball",
    max_steps=64,
    progression=1.0,
    episode_return=0.5,
    num_steps=1,
    terminated=True,
    truncated=False,
    usage=Usage(10, 2, 0.001),
    failed_candidates=("move",),
    num_fallbacks=0,
    num_retries=1,
    started_at_s=5.0,
    duration_s=0.5,
    steps=(STEP,),
    layout_fingerprint="ab12",
)
FAILURE = EpisodeFailure(
    spec=EpisodeSpec("baseline", "goto", 7),
    episode_id="e",
    kind="timeout",
    message="no answer",
    num_steps=1,
    num_retries=4,
    usage=NO_USAGE,
    started_at_s=5.0,
    duration_s=0.5,
    steps=(STEP,),
)


@pytest.mark.parametrize("outcome", [RESULT, FAILURE], ids=["result", "failure"])
def test_an_outcome_survives_the_way_through_json(outcome: EpisodeResult | EpisodeFailure) -> None:
    assert outcome_from_record(json.loads(json.dumps(outcome.to_record()))) == outcome


@pytest.mark.parametrize("outcome", [RESULT, FAILURE], ids=["result", "failure"])
def test_a_record_of_an_earlier_version_knows_nothing_of_caches(
    outcome: EpisodeResult | EpisodeFailure,
) -> None:
    record = outcome.to_record()
    del record["num_cached"]
    del record["steps"][0]["cached"]

    assert outcome_from_record(record) == outcome


def test_cached_steps_survive_the_way_through_json() -> None:
    cached = dataclasses.replace(STEP, cached=True)
    outcome = dataclasses.replace(RESULT, steps=(cached, STEP), num_cached=1)

    assert outcome_from_record(json.loads(json.dumps(outcome.to_record()))) == outcome


def test_a_spec_reads_as_in_a_node_id() -> None:
    assert str(EpisodeSpec("history", "open", 203)) == "history-open-203"


def test_usages_add_up() -> None:
    assert Usage(1, 2, 0.5) + Usage(3, 4, 0.25) == Usage(4, 6, 0.75)


def test_an_unknown_part_makes_the_sum_unknown() -> None:
    assert Usage(1, None, None) + Usage(3, 4, 0.25) == Usage(4, None, None)


@pytest.mark.parametrize(
    "usages",
    [[], [Usage(1, 2, 0.5)], [Usage(1, 2, 0.5), Usage(3, 4, 0.25)], [Usage(1, None, 1), Usage()]],
    ids=["none", "one", "two", "unknown"],
)
def test_a_total_is_the_sum(usages: list[Usage]) -> None:
    assert total_usage(usages) == sum(usages, NO_USAGE)


def test_an_episode_is_awaited_for_its_result() -> None:
    async def play() -> EpisodeResult:
        return await Episode(RESULT, 1.0)

    assert asyncio.run(play()) is RESULT


def test_an_episode_passes_at_its_threshold() -> None:
    assert Episode(RESULT, 1.0).passed
    assert not Episode(dataclasses.replace(RESULT, progression=0.5), 0.6).passed


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, OutcomeKind.PASSED),
        ({"progression": 0.0}, OutcomeKind.INVALID_ANSWERS),
        (
            {"progression": 0.0, "failed_candidates": (), "truncated": True},
            OutcomeKind.LIMIT_REACHED,
        ),
        ({"progression": 0.0, "failed_candidates": ()}, OutcomeKind.BELOW_THRESHOLD),
    ],
    ids=["passed", "invalid", "limit", "below"],
)
def test_an_outcome_has_a_kind(changes: dict[str, object], kind: OutcomeKind) -> None:
    assert outcome_kind(dataclasses.replace(RESULT, **changes), 1.0) is kind  # type: ignore[arg-type]


def test_a_failure_is_no_score() -> None:
    assert outcome_kind(FAILURE, 0.0) is OutcomeKind.INFRASTRUCTURE_FAILURE
