"""The time limit of an episode, on a loop of virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ProviderError
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.records import EpisodeFailure, EpisodeOutcome, EpisodeResult, Usage
from pytest_babyai.retries import Clock
from tests.unit.playing.rollout_fakes import SPEC, FakeEnvironment, acting
from tests.unit.playing.virtual_time import loop_time_s, run_virtually

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import Inference, InferenceClient, InferenceRequest


class SlowClient:
    """Answers after a second."""

    async def infer(self, _request: InferenceRequest, /) -> Inference:
        await asyncio.sleep(1.0)
        return acting("drop")


async def play(
    client: InferenceClient,
    timeout_s: float | None,
    environment: FakeEnvironment | None = None,
    on_error: str = "raise",
) -> EpisodeOutcome:
    return await run_episode(
        SPEC,
        client=client,
        make_environment=lambda task: environment or FakeEnvironment(task),
        options=RolloutOptions(episode_timeout_s=timeout_s, on_error=on_error),
        clock=Clock(loop_time_s, loop_time_s, asyncio.sleep, lambda: 1.0),
    )


def test_an_episode_that_takes_too_long_is_a_failure_with_what_was_played() -> None:
    outcome = run_virtually(lambda: play(SlowClient(), 2.5))

    assert isinstance(outcome, EpisodeFailure)
    assert (outcome.kind, outcome.message) == ("timeout", "the episode was not over within 2.5 s")
    assert (outcome.num_steps, outcome.usage) == (2, Usage(10, 4, 1.0))
    assert outcome.duration_s == pytest.approx(2.5)


@pytest.mark.parametrize("timeout_s", [4.5, None])
def test_an_episode_within_its_time_is_played_to_its_end(timeout_s: float | None) -> None:
    outcome = run_virtually(lambda: play(SlowClient(), timeout_s))

    assert isinstance(outcome, EpisodeResult)
    assert outcome.num_steps == 4


def test_waits_between_tries_count() -> None:
    class Failing:
        async def infer(self, _request: InferenceRequest, /) -> Inference:
            raise ProviderError("busy", retry_after_s=60.0)

    outcome = run_virtually(lambda: play(Failing(), 90.0))

    assert isinstance(outcome, EpisodeFailure)
    assert (outcome.kind, outcome.num_retries) == ("timeout", 2)


def test_a_fallback_does_not_play_on_after_the_time() -> None:
    outcome = run_virtually(lambda: play(SlowClient(), 2.5, on_error="fallback"))

    assert isinstance(outcome, EpisodeFailure)


def test_the_environment_is_closed() -> None:
    environment = FakeEnvironment("goto")

    run_virtually(lambda: play(SlowClient(), 2.5, environment))

    assert environment.closed


def test_the_request_in_flight_is_cancelled() -> None:
    cancelled = []

    class Client(SlowClient):
        async def infer(self, request: InferenceRequest, /) -> Inference:
            try:
                return await super().infer(request)
            except asyncio.CancelledError:
                cancelled.append(request)
                raise

    run_virtually(lambda: play(Client(), 0.5))

    assert len(cancelled) == 1


def test_cancelling_an_episode_is_no_timeout() -> None:
    async def main() -> None:
        episode = asyncio.ensure_future(play(SlowClient(), 60.0))
        await asyncio.sleep(1.5)
        episode.cancel()
        with pytest.raises(asyncio.CancelledError):
            await episode

    run_virtually(main)


def test_a_clients_own_timeout_error_is_not_taken_for_the_limit() -> None:
    class Broken:
        async def infer(self, _request: InferenceRequest, /) -> Inference:
            raise TimeoutError("a bug")

    with pytest.raises(TimeoutError, match="a bug"):
        run_virtually(lambda: play(Broken(), 60.0))
