"""Slots, and what a limiter learns; on a loop of virtual time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import (
    ConfigurationError,
    GatewayError,
    InfrastructureError,
    ProviderError,
    RateLimitError,
    RequestTimeoutError,
)
from pytest_babyai.playing.limiter import MAX_PAUSE_S, AdaptiveLimit, ObservedClient
from tests.unit.playing.providers import ANSWER, REQUEST, FixedLimit, Provider, play_episodes
from tests.unit.playing.virtual_time import loop_time_s, run_virtually

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gateway.inference import Inference, InferenceRequest

REFUSED = RateLimitError("too many")


def adaptive(start: int = 8, maximum: int = 64) -> AdaptiveLimit:
    return AdaptiveLimit(start, maximum, monotonic_s=loop_time_s)


def take(limiter: AdaptiveLimit) -> int:
    ticket = limiter.try_acquire()
    assert ticket is not None
    return ticket


def answer(limiter: AdaptiveLimit, number: int = 1) -> None:
    """Answers so many requests, with all slots in use."""
    for _ in range(number):
        tickets = [take(limiter) for _ in range(limiter.limit)]
        limiter.release(tickets.pop())
        for ticket in tickets:
            limiter.release(ticket, asyncio.CancelledError())


def refuse(limiter: AdaptiveLimit, error: InfrastructureError = REFUSED) -> None:
    limiter.release(take(limiter), error)


@pytest.mark.parametrize(
    "make", [lambda: FixedLimit(5), lambda: adaptive(5, 5)], ids=["fixed", "adaptive"]
)
def test_no_more_requests_are_in_flight_than_allowed(make: Callable[[], AdaptiveLimit]) -> None:
    async def main() -> Provider:
        provider = Provider()
        await play_episodes(provider, make(), num_episodes=40, num_requests=3)
        return provider

    provider = run_virtually(main)

    assert (provider.num_answers, provider.most_in_flight) == (120, 5)


def test_slots_are_given_in_the_order_of_asking() -> None:
    async def main() -> list[int]:
        limiter, order = FixedLimit(1), []
        held = take(limiter)

        async def ask(number: int) -> None:
            ticket = await limiter.acquire()
            order.append(number)
            limiter.release(ticket)

        asked = [asyncio.ensure_future(ask(number)) for number in range(5)]
        await asyncio.sleep(0)
        limiter.release(held)
        await asyncio.gather(*asked)
        return order

    assert run_virtually(main) == [0, 1, 2, 3, 4]


def test_nobody_overtakes_who_waits() -> None:
    async def main() -> int | None:
        limiter = FixedLimit(1)
        held = take(limiter)
        waiting = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0)
        limiter.release(held)
        overtaking = limiter.try_acquire()
        limiter.release(await waiting)
        return overtaking

    assert run_virtually(main) is None


def test_whoever_stops_waiting_leaves_the_queue() -> None:
    async def main() -> int:
        limiter = FixedLimit(1)
        held = take(limiter)
        first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        limiter.release(held)
        limiter.release(await second)
        with pytest.raises(asyncio.CancelledError):
            await first
        return limiter.num_in_flight

    assert run_virtually(main) == 0


def test_a_slot_granted_to_somebody_who_is_cancelled_goes_to_the_next() -> None:
    async def main() -> int:
        limiter = FixedLimit(1)
        held = take(limiter)
        first, second = (asyncio.ensure_future(limiter.acquire()) for _ in range(2))
        await asyncio.sleep(0)
        limiter.release(held)  # grants, but the waiter has not run yet
        first.cancel()
        limiter.release(await second)
        with pytest.raises(asyncio.CancelledError):
            await first
        return limiter.num_in_flight

    assert run_virtually(main) == 0


class Failing:
    """Fails with one error and waits for ever without."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    async def infer(self, _request: InferenceRequest, /) -> Inference:
        if self.error is None:
            await asyncio.sleep(1e9)
            return ANSWER
        raise self.error


@pytest.mark.parametrize("error", [REFUSED, ProviderError("boom"), ConfigurationError("no")])
def test_a_failed_request_frees_its_slot_and_raises_through(error: Exception) -> None:
    async def main() -> int:
        limiter = FixedLimit(2)
        with pytest.raises(type(error), match=str(error)):
            await ObservedClient(Failing(error), limiter).infer(REQUEST)
        return limiter.num_in_flight

    assert run_virtually(main) == 0


def test_a_cancelled_request_frees_its_slot_and_teaches_nothing() -> None:
    async def main() -> AdaptiveLimit:
        limiter = adaptive()
        request = asyncio.ensure_future(ObservedClient(Failing(), limiter).infer(REQUEST))
        await asyncio.sleep(1)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        return limiter

    limiter = run_virtually(main)

    assert (limiter.num_in_flight, limiter.limit, len(limiter.history)) == (0, 8, 1)


def test_no_slot_is_held_during_a_backoff() -> None:
    class Once(Provider):
        """Fails its first request."""

        async def infer(self, request: InferenceRequest, /) -> Inference:
            if not self.started_at_s:
                self.started_at_s.append(0.0)
                raise ProviderError("boom", retry_after_s=60.0)
            return await super().infer(request)

    async def main() -> float:
        provider = Once()
        await play_episodes(provider, FixedLimit(1), num_episodes=2, num_requests=1)
        return provider.started_at_s[1]

    assert run_virtually(main) == 0.0


def test_answers_make_room_for_more() -> None:
    async def main() -> int:
        limiter = adaptive(8, 64)
        answer(limiter, 10)
        return limiter.limit

    assert run_virtually(main) == 18


def test_growth_is_announced() -> None:
    async def main() -> list[int]:
        limiter, limits = adaptive(2, 4), list[int]()
        limiter.on_growth(lambda: limits.append(limiter.limit))
        answer(limiter, 10)
        return limits

    assert run_virtually(main) == [3, 4]


def test_answers_while_slots_are_free_are_no_reason_to_grow() -> None:
    async def main() -> int:
        limiter = adaptive(8, 64)
        for _ in range(50):
            limiter.release(take(limiter))
        return limiter.limit

    assert run_virtually(main) == 8


def test_a_burst_of_refusals_counts_once() -> None:
    async def main() -> list[int]:
        limiter = adaptive(16)
        burst = [take(limiter) for _ in range(16)]
        limits = []
        for ticket in burst:
            limiter.release(ticket, REFUSED)
            limits.append(limiter.limit)
        return limits

    assert run_virtually(main) == [8] * 16


def test_a_refusal_after_a_cut_cuts_again() -> None:
    async def main() -> int:
        limiter = adaptive(20)
        refuse(limiter)
        refuse(limiter)
        return limiter.limit

    assert run_virtually(main) == 8


def test_a_requested_wait_is_kept_by_all_requests() -> None:
    async def main() -> list[float]:
        limiter, granted_at_s = adaptive(20), list[float]()

        async def ask() -> None:
            ticket = limiter.try_acquire()
            if ticket is None:
                ticket = await limiter.acquire()
            granted_at_s.append(loop_time_s())
            limiter.release(ticket)

        refuse(limiter, RateLimitError("slow", retry_after_s=7.0))
        await asyncio.gather(*(ask() for _ in range(10)))
        return granted_at_s

    granted_at_s = run_virtually(main)

    assert granted_at_s[0] == pytest.approx(7.0)
    assert granted_at_s == sorted(granted_at_s)
    assert granted_at_s[-1] - granted_at_s[0] == pytest.approx(0.9)  # one a wave: no new burst


def test_a_pause_is_prolonged_by_a_later_wish() -> None:
    async def main() -> float:
        limiter = adaptive(20)
        burst = [take(limiter) for _ in range(2)]
        limiter.release(burst[0], RateLimitError("slow", retry_after_s=5.0))
        limiter.release(burst[1], RateLimitError("slow", retry_after_s=9.0))
        await limiter.acquire()
        return loop_time_s()

    assert run_virtually(main) == pytest.approx(9.0)


def test_a_provider_that_asks_for_too_long_a_wait_is_not_waited_for() -> None:
    async def main() -> int | None:
        limiter = adaptive(20)
        refuse(limiter, RateLimitError("tomorrow", retry_after_s=MAX_PAUSE_S + 1))
        return limiter.try_acquire()

    assert run_virtually(main) is not None


def test_a_quota_that_is_used_up_says_nothing_of_the_limit() -> None:
    async def main() -> int:
        limiter = adaptive(20)
        refuse(limiter, RateLimitError("no credit", retryable=False))
        return limiter.limit

    assert run_virtually(main) == 20


@pytest.mark.parametrize(
    "error", [ProviderError("500"), RequestTimeoutError("late"), GatewayError("gone")]
)
def test_other_failures_hold_growth_for_a_round(error: InfrastructureError) -> None:
    async def main() -> list[int]:
        limiter = adaptive(8)
        refuse(limiter, error)
        limits = []
        for _ in range(9):
            answer(limiter)
            limits.append(limiter.limit)
        return limits

    assert run_virtually(main) == [8] * 8 + [9]


def test_refusals_without_any_answer_are_followed_by_longer_and_longer_pauses() -> None:
    async def main() -> list[float]:
        limiter, times_s = adaptive(1), list[float]()
        for _ in range(8):
            ticket = limiter.try_acquire()
            if ticket is None:
                ticket = await limiter.acquire()
            times_s.append(loop_time_s())
            limiter.release(ticket, REFUSED)
        return times_s

    assert run_virtually(main) == pytest.approx([0, 0, 1, 3, 7, 15, 31, 61])


def test_the_history_tells_what_was_decided_and_why() -> None:
    async def main() -> AdaptiveLimit:
        limiter = adaptive(8, 64)
        answer(limiter, 2)
        await asyncio.sleep(3)
        refuse(limiter, ProviderError("500"))
        refuse(limiter, RateLimitError("slow", retry_after_s=2.0))
        return limiter

    history = run_virtually(main).history

    assert history == [
        {"at_s": 0.0, "event": "start", "limit": 8, "reason": "grows up to 64"},
        {
            "at_s": 0.0,
            "event": "grow",
            "limit": 10,
            "reason": "answers come in",
            "until_s": 0.0,
            "count": 2,
        },
        {"at_s": 3.0, "event": "hold", "limit": 10, "reason": "provider failure"},
        {"at_s": 3.0, "event": "cut", "limit": 5, "reason": "rate limit"},
        {
            "at_s": 3.0,
            "event": "pause",
            "limit": 5,
            "reason": "rate limit: the provider asks to wait, 2 s",
        },
    ]
    assert json.loads(json.dumps(history)) == history


def test_a_start_above_the_maximum_is_the_maximum() -> None:
    async def main() -> int:
        return adaptive(50, 4).limit

    assert run_virtually(main) == 4
