"""Asking again after a failure that may pass: exponential backoff with full jitter."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pytest_babyai.errors import InfrastructureError, RateLimitError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, to be replaced in tests.

    Attributes:
        now_s: Seconds since the epoch.
        monotonic_s: Seconds that never run backwards.
        sleep: Waits so many seconds.
        jitter: Draws evenly from 0 to 1; spreads retries and decides nothing else.
    """

    now_s: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after which waits a request is repeated.

    The wait after the n-th failure is drawn evenly from the upper half of the range from 0 to
    ``initial_backoff_s * 2 ** (n - 1)``, capped ("equal jitter": episodes that failed together do
    not come back together, and yet five tries outlast a gateway that is gone for some seconds).
    Where the provider asks for a wait, it is that wait plus the drawn one.

    Attributes:
        max_attempts: Tries of one request, the first included.
        initial_backoff_s: Longest wait after the first failure.
        max_backoff_s: Longest wait ever drawn.
        max_retry_after_s: A provider that asks for a longer wait than this is not asked again.
        extra_rate_limit_attempts: More tries of a request that the provider refused for its rate,
            where there are retries at all: with the waits between them some two minutes.
    """

    max_attempts: int = 5
    initial_backoff_s: float = 1.0
    max_backoff_s: float = 30.0
    max_retry_after_s: float = 120.0
    extra_rate_limit_attempts: int = 4

    def wait_s(
        self, num_failures: int, error: InfrastructureError, jitter: Callable[[], float]
    ) -> float | None:
        """Returns the wait before the next try, None where there should be none.

        Args:
            num_failures: Tries that have failed.
            error: How the last one did.
            jitter: Draws evenly from 0 to 1.
        """
        requested_s = error.retry_after_s or 0.0
        hopeless = not error.retryable or requested_s > self.max_retry_after_s
        max_attempts = self.max_attempts
        if isinstance(error, RateLimitError) and max_attempts > 1:
            max_attempts += self.extra_rate_limit_attempts
        if hopeless or num_failures >= max_attempts:
            return None
        # Doubling stops before it could overflow; the cap is long reached.
        ceiling_s = self.initial_backoff_s * 2.0 ** min(num_failures - 1, 64)
        return requested_s + (0.5 + 0.5 * jitter()) * min(ceiling_s, self.max_backoff_s)


async def with_retries(
    ask: Callable[[], Awaitable[Answer]],
    policy: RetryPolicy,
    clock: Clock,
    *,
    on_retry: Callable[[], None],
    on_rate_limit_wait: Callable[[float], None] = lambda _: None,
) -> Answer:
    """Calls ``ask`` until it answers or ``policy`` gives up.

    Args:
        ask: The request; called once a try.
        policy: When to ask again.
        clock: Its ``sleep`` and ``jitter`` make the waits.
        on_retry: Called before each wait.
        on_rate_limit_wait: Called before each wait for a rate limit, with its seconds.

    Raises:
        InfrastructureError: The last failure.
    """
    num_failures = 0
    while True:
        try:
            return await ask()
        except InfrastructureError as error:
            num_failures += 1
            wait_s = policy.wait_s(num_failures, error, clock.jitter)
            if wait_s is None:
                error.num_attempts = num_failures
                raise
            if isinstance(error, RateLimitError):
                on_rate_limit_wait(wait_s)
        on_retry()
        await clock.sleep(wait_s)
