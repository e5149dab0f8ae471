from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.gateway.inference import episode_tags
from pytest_babyai.playing.rollout import run_episode
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeSpec,
    Usage,
)
from tests.unit.playing.rollout_fakes import (
    SPEC,
    FakeClient,
    FakeEnvironment,
    acting,
    play,
    result_of,
    unparsable,
)

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import Inference, InferenceRequest

pytestmark = pytest.mark.asyncio


async def test_a_solved_episode_ends_at_once() -> None:
    result = await result_of(FakeClient(acting("pick up")), FakeEnvironment("goto", solved_at=2))

    assert (result.success, result.terminated, result.truncated) == (True, True, False)
    assert (result.num_steps, result.episode_return) == (2, 0.7)
    assert (result.mission, result.max_steps) == ("go to the ball", 4)


async def test_an_unsolved_episode_ends_at_the_step_limit() -> None:
    result = await result_of(FakeClient(acting("pick up")))

    assert (result.success, result.terminated, result.truncated) == (False, False, True)
    assert result.num_steps == 4


async def test_an_environment_that_forgets_its_limit_is_truncated() -> None:
    environment = FakeEnvironment("goto", max_steps=9)
    environment.step = lambda action: (  # type: ignore[method-assign]  # noqa: ARG005
        environment._observation(),
        0.0,
        False,
        False,
        {},
    )

    result = await result_of(FakeClient(acting("drop")), environment)

    assert (result.num_steps, result.truncated) == (9, True)


async def test_task_and_seed_reach_the_environment() -> None:
    environment = FakeEnvironment("goto")
    made: list[str] = []

    await run_episode(
        SPEC,
        client=FakeClient(acting("drop")),
        make_environment=lambda task: made.append(task) or environment,  # type: ignore[func-returns-value]
    )

    assert (made, environment.seed, environment.closed) == (["goto"], 200, True)


async def test_a_step_records_what_was_seen_said_and_done() -> None:
    result = await result_of(FakeClient(acting("drop", thinking="heavy")))

    step = result.steps[0]
    assert (step.observation, step.output) == ("view 0", "raw drop")
    assert (step.thinking, step.candidate, step.action) == ("heavy", "drop", "drop")
    assert (step.status, step.inference_id) == (AnswerStatus.VALID, "id")


async def test_steps_are_told_as_they_are_made() -> None:
    told: list[str] = []

    await run_episode(
        SPEC,
        client=FakeClient(acting("drop")),
        make_environment=FakeEnvironment,
        on_step=lambda step: told.append(step.observation),
    )

    assert told == ["view 0", "view 1", "view 2", "view 3"]


@pytest.mark.parametrize("candidate", ["jump", "Go Forward", "go  forward", "", " drop", "drop\n"])
async def test_an_unknown_action_goes_forward_and_is_recorded(candidate: str) -> None:
    environment = FakeEnvironment("goto", max_steps=1)

    result = await result_of(FakeClient(acting(candidate)), environment)

    assert result.steps[0].status is AnswerStatus.UNKNOWN_ACTION
    assert environment.executed == ["go forward"]
    assert result.failed_candidates == (candidate,) == tuple(environment.failed_candidates)


@pytest.mark.parametrize("answer", [acting("jum"), unparsable('{"action": "dr')])
async def test_an_answer_that_was_cut_off_is_counted_as_such(answer: Inference) -> None:
    environment = FakeEnvironment("goto", max_steps=1)

    result = await result_of(
        FakeClient(dataclasses.replace(answer, finish_reason="length")), environment
    )

    assert result.steps[0].status is AnswerStatus.CUT_OFF
    assert result.failed_candidates == (result.steps[0].candidate,)
    assert environment.executed == ["go forward"]


async def test_the_limit_of_tokens_takes_nothing_from_a_whole_answer() -> None:
    answer = dataclasses.replace(acting("drop"), finish_reason="length")

    result = await result_of(FakeClient(answer))

    assert result.steps[0].status is AnswerStatus.VALID


async def test_the_models_that_answered_are_recorded() -> None:
    answers = [
        dataclasses.replace(acting("drop"), model=name)
        for name in ("gpt-x", "gpt-x", "gpt-y", None)
    ]

    result = await result_of(FakeClient(*answers))

    assert result.models == ("gpt-x", "gpt-y")
    assert [step.model for step in result.steps] == ["gpt-x", "gpt-x", "gpt-y", None]


@pytest.mark.parametrize("raw", ["I would rather jump", "", "{"])
async def test_an_unparsable_answer_goes_forward_and_is_recorded(raw: str) -> None:
    environment = FakeEnvironment("goto", max_steps=1)

    result = await result_of(FakeClient(unparsable(raw)), environment)

    assert result.steps[0].status is AnswerStatus.UNPARSABLE
    assert environment.executed == ["go forward"]
    assert result.failed_candidates == (raw,) == tuple(environment.failed_candidates)


async def test_an_action_outside_the_answers_form_does_not_count() -> None:
    environment = FakeEnvironment("goto", max_steps=1)

    result = await result_of(FakeClient(unparsable("turn left")), environment)

    assert environment.executed == ["go forward"]
    assert result.failed_candidates == ("turn left",)


@pytest.mark.parametrize("action", [None, 3, ["drop"]])
async def test_an_action_that_is_no_text_is_unparsable(action: Any) -> None:
    result = await result_of(FakeClient(acting(action)))

    assert result.steps[0].status is AnswerStatus.UNPARSABLE


@pytest.mark.parametrize(
    ("history_length", "kept"), [(0, []), (1, [2]), (2, [1, 2]), (8, [0, 1, 2])]
)
async def test_a_request_carries_the_last_steps(history_length: int, kept: list[int]) -> None:
    client = FakeClient(acting("drop"))

    await play(client, history_length=history_length)

    assert client.requests[-1].observation == "view 3"
    past = client.requests[-1].history
    assert [(step.observation, step.action) for step in past] == [
        (f"view {step}", "drop") for step in kept
    ]


async def test_the_history_tells_what_was_executed() -> None:
    client = FakeClient(acting("jump"), acting("drop"))

    await play(client)

    past = [(step.observation, step.action) for step in client.requests[2].history]
    assert past == [("view 0", "go forward"), ("view 1", "drop")]
    assert [request.last_answer for request in client.requests[:3]] == [
        "none",
        "unknown action",
        "valid",
    ]
    assert [(request.step, request.max_steps) for request in client.requests] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
    ]


async def test_variants_differ_in_the_name_alone() -> None:
    clients = {name: FakeClient(acting("drop"), acting("jump")) for name in ("baseline", "history")}

    for name, client in clients.items():
        await run_episode(
            EpisodeSpec(name, "goto", 200),
            client=client,
            make_environment=FakeEnvironment,
            episode_id="id",
        )

    first, second = (client.requests for client in clients.values())
    assert [request.variant for request in second] == ["history"] * 4
    assert [vars_of(request) for request in first] == [vars_of(request) for request in second]


def vars_of(request: InferenceRequest) -> tuple[Any, ...]:
    return (
        request.episode_id,
        request.mission,
        request.observation,
        request.history,
        {name: tag for name, tag in request.tags.items() if name != "variant"},
        request.seed,
    )


async def test_requests_carry_tags_seed_and_the_episodes_id() -> None:
    client = FakeClient(acting("drop"))

    result = await result_of(client, tags={"run": "x"}, model_seed=7)

    assert {request.episode_id for request in client.requests} == {result.episode_id}
    assert client.requests[0].tags == {"run": "x", **episode_tags(result.spec)}
    assert client.requests[0].seed == 7


async def test_every_request_is_an_occasion_of_its_own_and_the_same_when_played_again() -> None:
    clients = [FakeClient(acting("drop")), FakeClient(acting("drop"))]

    for client in clients:
        await play(client)

    first, again = ([request.occasion for request in client.requests] for client in clients)
    assert first == again
    assert len(set(first)) == len(first)


async def test_cached_answers_are_marked_and_counted() -> None:
    cached = dataclasses.replace(acting("drop", Usage(None, None, 0.0)), cached=True)

    result = await result_of(FakeClient(acting("drop"), cached))

    assert [step.cached for step in result.steps] == [False, True, True, True]
    assert result.num_cached == 3
    assert result.usage == Usage(None, None, 0.5)


async def test_usage_is_summed() -> None:
    assert (await result_of(FakeClient(acting("drop")))).usage == Usage(20, 8, 2.0)


async def test_one_unknown_part_makes_the_sum_unknown() -> None:
    client = FakeClient(acting("drop"), acting("drop", Usage(5, None, None)), acting("drop"))

    assert (await result_of(client)).usage == Usage(20, None, None)
