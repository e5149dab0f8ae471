"""When a run is to start nothing more: what it may consume, and how many errors are hopeless."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.journal import Spent
from pytest_babyai.records import EpisodeFailure
from pytest_babyai.statistics import wilson_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.records import EpisodeOutcome, Usage
    from pytest_babyai.settings.amounts import ErrorLimit

MIN_EPISODES: Final = 20
"""Episodes that have to be over before a share of errors is judged from those that are."""
_LEVEL: Final = 0.99
"""Confidence of that judgement; high, as it is asked after every episode."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What a run may consume; None is without limit.

    Attributes:
        max_tokens: Input and output tokens together.
        max_cost: US dollars.
        max_time_s: Wall time in seconds.
    """

    max_tokens: int | None = None
    max_cost: float | None = None
    max_time_s: float | None = None


class Budget:
    """Adds up what a run consumes and says when nothing more should start.

    What runs is let finish, so a run ends a little above its budget: by at most what the episodes
    in flight consume until they are over.

    Args:
        limits: What may be consumed.
        spent: What earlier sessions of the run have consumed.
        monotonic_s: Seconds that never run backwards; the time starts now.
    """

    def __init__(
        self,
        limits: BudgetLimits,
        *,
        spent: Spent | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        spent = spent or Spent()
        self._limits = limits
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s() - spent.time_s
        self._num_tokens = spent.num_tokens
        self._cost = spent.usage.cost or 0.0
        self._num_uncounted = 0
        self._num_unpriced = 0

    def record(self, usage: Usage) -> None:
        """Adds the usage of a step or of an episode; each is to be told once."""
        if usage.input_tokens is None or usage.output_tokens is None:
            self._num_uncounted += 1
        self._num_tokens += (usage.input_tokens or 0) + (usage.output_tokens or 0)
        if usage.cost is None:
            self._num_unpriced += 1
        self._cost += usage.cost or 0.0

    def exhausted(self) -> str | None:
        """Returns the line that says which budget is used up, None while none is."""
        limits = self._limits
        if limits.max_tokens is not None and self._num_tokens >= limits.max_tokens:
            used = f"{self._num_tokens:,} of {limits.max_tokens:,} tokens"
            return f"token budget used up: {used} (--babyai-max-tokens)"
        if limits.max_cost is not None and self._cost >= limits.max_cost:
            used = f"${self._cost:,.2f} of ${limits.max_cost:,.2f}"
            return f"cost budget used up: {used} (--babyai-max-cost)"
        elapsed_s = self._monotonic_s() - self._started_s
        if limits.max_time_s is not None and elapsed_s >= limits.max_time_s:
            used = f"{elapsed_s:,.0f} of {limits.max_time_s:,.0f} s"
            return f"time budget used up: {used} (--babyai-max-time)"
        return None

    def gaps(self) -> list[str]:
        """Returns a line for each budget that does not see all that was consumed."""
        lines = []
        if self._limits.max_cost is not None and self._num_unpriced:
            lines.append(
                "no price is known for some or all requests, so --babyai-max-cost does not cover "
                "them; name `cost` in the model file"
            )
        if self._limits.max_tokens is not None and self._num_uncounted:
            lines.append(
                "the provider does not count the tokens of some or all requests, so "
                "--babyai-max-tokens does not cover them"
            )
        return lines


class ErrorAllowance:
    """Counts errors among finished episodes and says when going on is hopeless.

    A number N is exceeded by the error N + 1. A share is exceeded for good once the errors are
    more than that share of all planned episodes; or, long before that, once at least
    `MIN_EPISODES` are over and their errors show a higher rate at 99 % confidence (lower
    Wilson bound). With 5 % that is 4 errors among the first 20.

    Args:
        limit: What the run puts up with.
        num_planned: Episodes of the whole run.
    """

    def __init__(self, limit: ErrorLimit, num_planned: int) -> None:
        self._limit = limit
        self._num_planned = num_planned
        self._num_finished = 0
        self._num_errors: dict[str, int] = {}

    def record(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode that is over."""
        self._num_finished += 1
        if isinstance(outcome, EpisodeFailure):
            self._num_errors[outcome.kind] = self._num_errors.get(outcome.kind, 0) + 1

    def exhausted(self) -> str | None:
        """Returns the line that says that there are too many errors, None while there are not."""
        num_errors = sum(self._num_errors.values())
        if not self._exceeds(num_errors):
            return None
        kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(self._num_errors.items()))
        return (
            f"too many errors: {num_errors} of {self._num_finished} finished episodes ({kinds}); "
            f"{self._limit} allowed (--babyai-max-errors)"
        )

    def _exceeds(self, num_errors: int) -> bool:
        share = self._limit.share
        if share is None:
            return num_errors > (self._limit.num_errors or 0)
        if num_errors > share * self._num_planned:
            return True
        if self._num_finished < MIN_EPISODES or not num_errors:
            return False
        interval = wilson_interval(num_errors, self._num_finished, level=_LEVEL)
        return interval is not None and interval.low > share
