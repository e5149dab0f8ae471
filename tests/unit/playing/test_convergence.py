"""Adaptive concurrency against providers whose limits it is not told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.playing.limiter import AdaptiveLimit
from tests.unit.playing.providers import (
    Closed,
    ConcurrencyLimited,
    FixedLimit,
    Provider,
    RateLimited,
    play_episodes,
)
from tests.unit.playing.virtual_time import loop_time_s, run_virtually

if TYPE_CHECKING:
    from collections.abc import Callable


MEAN_LATENCY_S = 1.046  # of a log-normal distribution around 1 s with sigma 0.3


@dataclass
class Outcome:
    provider: Provider
    limiter: AdaptiveLimit
    num_lost: int
    duration_s: float

    @property
    def answers_per_s(self) -> float:
        return self.provider.num_answers / self.duration_s

    @property
    def refused_share(self) -> float:
        return len(self.provider.refused_at_s) / len(self.provider.started_at_s)


def simulate(
    make_provider: Callable[[], Provider],
    make_limiter: Callable[[], AdaptiveLimit] | None = None,
    num_episodes: int = 200,
    num_requests: int = 40,
) -> Outcome:
    async def main() -> Outcome:
        provider = make_provider()
        limiter = (make_limiter or adaptive)()
        num_lost = await play_episodes(
            provider, limiter, num_episodes=num_episodes, num_requests=num_requests
        )
        return Outcome(provider, limiter, num_lost, loop_time_s())

    return run_virtually(main)


def adaptive() -> AdaptiveLimit:
    return AdaptiveLimit(monotonic_s=loop_time_s)


@pytest.mark.parametrize("capacity", [3, 20, 50])
def test_it_keeps_close_to_a_limit_of_requests_at_once(capacity: int) -> None:
    outcome = simulate(lambda: ConcurrencyLimited(capacity))

    assert outcome.answers_per_s >= 0.85 * capacity / MEAN_LATENCY_S
    assert outcome.refused_share <= 0.035
    assert outcome.num_lost == 0


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize(("per_s", "burst"), [(10, 10), (50, 10), (50, 100)])
def test_it_keeps_close_to_a_limit_of_requests_a_second(
    per_s: float, burst: float, retry_after_s: float | None
) -> None:
    def make() -> Provider:
        provider = RateLimited(per_s, burst)
        provider.retry_after_s = retry_after_s
        return provider

    outcome = simulate(make)

    assert outcome.answers_per_s >= 0.75 * per_s
    assert outcome.refused_share <= 0.015
    assert outcome.num_lost == 0


def test_a_fixed_limit_loses_episodes_where_it_loses_none() -> None:
    fixed = simulate(lambda: ConcurrencyLimited(20), lambda: FixedLimit(200))

    assert fixed.num_lost > 100


def test_it_survives_a_minute_of_refusals() -> None:
    outcome = simulate(lambda: Closed(60.0), num_episodes=50, num_requests=5)

    assert outcome.num_lost == 0
    assert len(outcome.provider.refused_at_s) < 15


def test_without_any_limit_it_opens_up_to_its_maximum() -> None:
    outcome = simulate(Provider, num_episodes=400, num_requests=20)

    assert outcome.limiter.limit == 256
    assert outcome.provider.most_in_flight == 256


def test_it_shrinks_when_the_provider_does() -> None:
    class Shrinking(ConcurrencyLimited):
        def refuses(self) -> bool:
            self.capacity = 40 if loop_time_s() < 60 else 10
            return super().refuses()

    outcome = simulate(lambda: Shrinking(40))

    assert 5 <= outcome.limiter.limit <= 12
    assert outcome.num_lost == 0


def test_the_history_stays_short() -> None:
    outcome = simulate(lambda: ConcurrencyLimited(1), num_episodes=20, num_requests=300)

    assert len(outcome.limiter.history) <= 401


def test_two_runs_are_the_same() -> None:
    first, second = (simulate(lambda: RateLimited(10, 10), num_requests=5) for _ in range(2))

    assert first.limiter.history == second.limiter.history
