"""Scheduler, rollout, observed client and adaptive limit together, on a real loop thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import RateLimitError
from pytest_babyai.playing.budgets import Budget, BudgetLimits
from pytest_babyai.playing.limiter import AdaptiveLimit, ObservedClient
from pytest_babyai.playing.loop_thread import LoopThread
from pytest_babyai.playing.rollout import run_episode
from pytest_babyai.playing.scheduler import Scheduler
from pytest_babyai.records import EpisodeOutcome, EpisodeResult, EpisodeSpec
from pytest_babyai.retries import Clock
from tests.patience import PATIENCE_S
from tests.unit.playing.rollout_fakes import FakeEnvironment, acting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gateway.inference import Inference, InferenceRequest

SPECS = [EpisodeSpec("baseline", "goto", seed) for seed in range(60)]


class Provider:
    """Takes so many requests at once, and answers after a few turns of the loop."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.num_in_flight = 0
        self.most_in_flight = 0
        self.num_refused = 0

    async def infer(self, _request: InferenceRequest, /) -> Inference:
        if self.num_in_flight >= self.capacity:
            self.num_refused += 1
            raise RateLimitError("too many")
        self.num_in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.num_in_flight)
        for _ in range(5):
            await asyncio.sleep(0)
        self.num_in_flight -= 1
        return acting("drop")


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    loop_thread = LoopThread()
    yield loop_thread
    loop_thread.close(PATIENCE_S)


async def soon(_wait_s: float) -> None:
    await asyncio.sleep(0)


def scheduler_of(
    thread: LoopThread, provider: Provider, limiter: AdaptiveLimit, budget: Budget | None = None
) -> Scheduler[EpisodeSpec]:
    client = ObservedClient(provider, limiter)

    async def play(spec: EpisodeSpec) -> EpisodeOutcome:
        return await run_episode(
            spec,
            client=client,
            make_environment=FakeEnvironment,
            clock=Clock(sleep=soon),
            on_step=lambda step: budget.record(step.usage) if budget else None,
        )

    stop_reason = budget.exhausted if budget else None
    return Scheduler(thread, play, concurrency=limiter, stop_reason=stop_reason)


def test_more_and_more_episodes_run_until_the_provider_refuses(thread: LoopThread) -> None:
    provider, limiter = Provider(capacity=12), AdaptiveLimit(4, 256)
    scheduler = scheduler_of(thread, provider, limiter)

    scheduler.submit(SPECS)
    outcomes = [scheduler.future(spec).result(PATIENCE_S) for spec in SPECS]

    assert all(isinstance(outcome, EpisodeResult) for outcome in outcomes)
    assert provider.most_in_flight == 12
    assert 0 < provider.num_refused < 20
    assert {"start", "grow", "cut"} <= {entry["event"] for entry in limiter.history}


def test_a_used_up_budget_starts_nothing_more_and_lets_finish_what_runs(
    thread: LoopThread,
) -> None:
    budget = Budget(BudgetLimits(max_tokens=100))  # an episode is 4 steps of 7 tokens
    limiter = AdaptiveLimit(2, 2)
    scheduler = scheduler_of(thread, Provider(capacity=99), limiter, budget)

    scheduler.submit(SPECS)
    ended = [scheduler.next_finished(PATIENCE_S) for _ in SPECS]

    assert None not in ended
    assert 4 <= len(scheduler.outcomes()) <= 5
    assert scheduler.progress().num_not_started == len(SPECS) - len(scheduler.outcomes())
    assert str(scheduler.refusal).startswith("token budget used up")
