from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    InfrastructureError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
    UnknownTaskError,
)
from pytest_babyai.playing.rollout import run_episode
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeResult,
    EpisodeSpec,
    Usage,
)
from pytest_babyai.retries import Clock
from tests.unit.playing.rollout_fakes import (
    SPEC,
    FakeClient,
    FakeClock,
    FakeEnvironment,
    acting,
    failure_of,
    play,
    result_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.inference import Inference, InferenceRequest

pytestmark = pytest.mark.asyncio


async def test_a_failed_request_is_repeated_after_growing_waits() -> None:
    clock = FakeClock()
    failure = ProviderError("boom")
    client = FakeClient(failure, failure, failure, acting("drop"))

    result = await result_of(client, clock=clock)

    assert clock.waits_s == [1.0, 2.0, 4.0]
    assert (result.num_retries, result.num_steps) == (3, 4)


async def test_waits_and_retries_count_to_the_latency() -> None:
    result = await result_of(FakeClient(ProviderError("boom"), acting("drop")))

    assert [step.latency_ms for step in result.steps] == [1000.0, 0.0, 0.0, 0.0]
    assert (result.started_at_s, result.duration_s) == (1000.0, 1.0)


async def test_waits_have_a_cap() -> None:
    clock = FakeClock()

    await failure_of(FakeClient(ProviderError("boom")), clock=clock, max_backoff_s=1.5)

    assert clock.waits_s == [1.0, 1.5, 1.5, 1.5]


async def test_a_requested_wait_is_kept() -> None:
    clock = FakeClock()
    client = FakeClient(RateLimitError("slow", retry_after_s=20.0), acting("drop"))

    await result_of(client, clock=clock)

    assert clock.waits_s == [21.0]


async def test_a_wait_that_is_too_long_is_not_waited() -> None:
    clock = FakeClock()
    client = FakeClient(RateLimitError("tomorrow", retry_after_s=80_000.0))

    failure = await failure_of(client, clock=clock)

    assert (failure.kind, clock.waits_s) == ("rate limit", [])


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_requests_are_given_up_in_the_end(max_attempts: int) -> None:
    client = FakeClient(RequestTimeoutError("late"))

    failure = await failure_of(client, max_attempts=max_attempts)

    assert len(client.requests) == max_attempts
    assert failure.num_retries == max_attempts - 1
    assert failure.message == ("late" if max_attempts == 1 else "late (after 3 attempts)")


async def test_a_permanent_failure_is_not_repeated() -> None:
    client = FakeClient(ProviderError("no such model", retryable=False))

    failure = await failure_of(client)

    assert (len(client.requests), failure.kind) == (1, "provider")


async def test_a_failure_keeps_what_was_played() -> None:
    client = FakeClient(acting("drop"), acting("toggle"), ProviderError("gone", retryable=False))

    failure = await failure_of(client)

    assert [step.action for step in failure.steps] == ["drop", "toggle"]
    assert (failure.num_steps, failure.usage) == (2, Usage(10, 4, 1.0))


async def test_what_concerns_the_run_is_raised() -> None:
    with pytest.raises(ConfigurationError):
        await play(FakeClient(ConfigurationError("no such variant")))


async def test_an_unknown_task_is_raised() -> None:
    def make(task: str) -> FakeEnvironment:
        raise UnknownTaskError(task)

    with pytest.raises(UnknownTaskError):
        await run_episode(SPEC, client=FakeClient(acting("drop")), make_environment=make)


@pytest.mark.parametrize(
    "broken", ["reset", "step", "check_action_validity", "get_stats", "_observation"]
)
async def test_a_broken_environment_is_a_failure(broken: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("division\nby zero")

    environment = FakeEnvironment("goto")
    setattr(environment, broken, fail)

    failure = await failure_of(FakeClient(acting("drop")), environment)

    assert (failure.kind, failure.message) == ("environment", "ZeroDivisionError: division by zero")


async def test_an_environment_that_does_not_close_loses_nothing() -> None:
    environment = FakeEnvironment("goto", solved_at=1)
    environment.close = lambda: 1 / 0  # type: ignore[assignment, method-assign]

    assert (await result_of(FakeClient(acting("drop")), environment)).success


@pytest.mark.parametrize(
    "error", [ProviderError("x"), ProviderError("x", retryable=False), RateLimitError("x")]
)
async def test_a_fallback_plays_on_with_known_actions(error: InfrastructureError) -> None:
    environment = FakeEnvironment("goto")

    result = await result_of(FakeClient(acting("drop"), error), environment, on_error="fallback")

    assert result.num_fallbacks == 3
    assert [step.status for step in result.steps] == [
        AnswerStatus.VALID,
        *[AnswerStatus.FALLBACK] * 3,
    ]
    assert result.failed_candidates == ()
    assert result.usage == Usage(5, 2, 0.5)
    assert (result.steps[1].output, result.steps[1].inference_id) == ("", None)


async def test_a_fallback_does_not_hide_what_concerns_the_run() -> None:
    with pytest.raises(ConfigurationError):
        await play(FakeClient(ConfigurationError("x")), on_error="fallback")


async def fallback_actions(seed: int) -> list[str]:
    client = FakeClient(ProviderError("x", retryable=False))
    spec = EpisodeSpec("baseline", "goto", seed)
    environment = FakeEnvironment("goto", max_steps=20)
    result = await result_of(client, environment, spec=spec, on_error="fallback")
    return [step.action for step in result.steps]


async def test_fallback_actions_depend_on_the_episode_alone() -> None:
    assert await fallback_actions(1) == await fallback_actions(1)
    assert await fallback_actions(1) != await fallback_actions(2)


def fallback_actions_printed_by_another_process(hash_seed: str) -> str:
    code = (
        "import asyncio, tests.unit.playing.test_rollout_failures as t;"
        "print(asyncio.run(t.fallback_actions(1)))"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
async def test_fallback_actions_are_the_same_in_every_process(hash_seed: str) -> None:
    printed = await asyncio.to_thread(fallback_actions_printed_by_another_process, hash_seed)

    assert printed.strip() == str(await fallback_actions(1))


async def test_cancelling_an_episode_cancels_its_request() -> None:
    asked = asyncio.Event()
    cancelled: list[InferenceRequest] = []

    class Client:
        async def infer(self, request: InferenceRequest, /) -> Inference:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(request)
                raise
            raise AssertionError

    environment = FakeEnvironment("goto")
    episode = asyncio.ensure_future(
        run_episode(SPEC, client=Client(), make_environment=lambda _: environment)
    )
    await asked.wait()

    episode.cancel()

    with pytest.raises(asyncio.CancelledError):
        await episode
    assert len(cancelled) == 1
    assert environment.closed


async def test_a_callers_own_error_is_not_taken_for_the_environments() -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_episode(
            SPEC,
            client=FakeClient(acting("drop")),
            make_environment=FakeEnvironment,
            on_step=fail,
        )


async def test_jitter_spreads_the_waits() -> None:
    fake = FakeClock()
    draws: Callable[[], float] = iter([0.5, 0.25]).__next__
    clock = Clock(fake.now_s, fake.now_s, fake.sleep, draws)
    client = FakeClient(ProviderError("x"), ProviderError("x"), acting("drop"))

    await run_episode(SPEC, client=client, make_environment=FakeEnvironment, clock=clock)

    assert fake.waits_s == [0.75, 1.25]


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
async def test_a_gateway_that_is_gone_for_five_seconds_is_survived(chance: float) -> None:
    fake = FakeClock()
    back_at_s = fake.now_s() + 5.0

    class Gone:
        async def infer(self, request: InferenceRequest, /) -> Inference:
            if fake.now_s() < back_at_s:
                raise GatewayError("connection refused")
            return await FakeClient(acting("drop")).infer(request)

    clock = Clock(fake.now_s, fake.now_s, fake.sleep, lambda: chance)

    outcome = await run_episode(SPEC, client=Gone(), make_environment=FakeEnvironment, clock=clock)

    assert isinstance(outcome, EpisodeResult)
    assert outcome.num_retries >= 3
