"""Providers with a limit of their own, for a loop of virtual time."""

from __future__ import annotations

import asyncio
import random

from pytest_babyai.errors import InfrastructureError, RateLimitError
from pytest_babyai.gateway.inference import Inference, InferenceRequest
from pytest_babyai.playing.limiter import AdaptiveLimit, ObservedClient
from pytest_babyai.records import Usage
from pytest_babyai.retries import Clock, RetryPolicy, with_retries
from tests.unit.playing.virtual_time import loop_time_s

REQUEST = InferenceRequest("baseline", "id", "go", "a wall")
ANSWER = Inference("id", "", {"action": "drop"}, Usage(1, 1, 0.0), 1.0)


class Provider:
    """Answers after about ``latency_s``; refuses at once what exceeds its capacity."""

    def __init__(self, latency_s: float = 1.0) -> None:
        self.latency_s = latency_s
        self.num_in_flight = 0
        self.most_in_flight = 0
        self.num_answers = 0
        self.refused_at_s: list[float] = []
        self.started_at_s: list[float] = []
        self.retry_after_s: float | None = None
        self._random = random.Random(0)

    def refuses(self) -> bool:
        return False

    async def infer(self, _request: InferenceRequest, /) -> Inference:
        self.started_at_s.append(loop_time_s())
        if self.refuses():
            self.refused_at_s.append(loop_time_s())
            raise RateLimitError("too many", retry_after_s=self.retry_after_s)
        self.num_in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.num_in_flight)
        try:
            await asyncio.sleep(self.latency_s * self._random.lognormvariate(0, 0.3))
        finally:
            self.num_in_flight -= 1
        self.num_answers += 1
        return ANSWER


class ConcurrencyLimited(Provider):
    """Takes so many requests at once."""

    def __init__(self, capacity: int, latency_s: float = 1.0) -> None:
        super().__init__(latency_s)
        self.capacity = capacity

    def refuses(self) -> bool:
        return self.num_in_flight >= self.capacity


class RateLimited(Provider):
    """Takes so many requests a second: a bucket of tokens, ``burst`` deep."""

    def __init__(self, per_s: float, burst: float, latency_s: float = 1.0) -> None:
        super().__init__(latency_s)
        self.per_s = per_s
        self.burst = self._tokens = burst
        self._filled_at_s = 0.0

    def refuses(self) -> bool:
        now_s = loop_time_s()
        gained = (now_s - self._filled_at_s) * self.per_s
        self._tokens, self._filled_at_s = min(self.burst, self._tokens + gained), now_s
        if self._tokens < 1:
            return True
        self._tokens -= 1
        return False


class Closed(Provider):
    """Refuses everything until ``opens_at_s``."""

    def __init__(self, opens_at_s: float, latency_s: float = 1.0) -> None:
        super().__init__(latency_s)
        self.opens_at_s = opens_at_s

    def refuses(self) -> bool:
        return loop_time_s() < self.opens_at_s


class FixedLimit(AdaptiveLimit):
    """Lets the same number of requests be in flight all the time, whatever comes of them."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit)

    def release(self, ticket: int, error: BaseException | None = None) -> None:  # noqa: ARG002 - as there
        self._slots.give_back()


async def play_episodes(
    provider: Provider, limiter: AdaptiveLimit, *, num_episodes: int, num_requests: int
) -> int:
    """Plays all episodes at once, each of so many requests; returns how many were given up."""
    client = ObservedClient(provider, limiter)
    clock = Clock(loop_time_s, loop_time_s, asyncio.sleep, random.Random(1).random)

    async def episode() -> bool:
        try:
            for _ in range(num_requests):
                await with_retries(
                    lambda: client.infer(REQUEST), RetryPolicy(), clock, on_retry=lambda: None
                )
        except InfrastructureError:
            return False
        return True

    return (await asyncio.gather(*(episode() for _ in range(num_episodes)))).count(False)
