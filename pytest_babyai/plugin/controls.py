"""What holds a run back: the bound on requests, the budgets, the errors it puts up with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_babyai.plugin.distribution import split_evenly
from pytest_babyai.scheduling import (
    AdaptiveLimit,
    Budget,
    BudgetLimits,
    ErrorAllowance,
    ObservedClient,
)
from pytest_babyai.settings.amounts import ErrorLimit

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import InferenceClient
    from pytest_babyai.plugin.distribution import Share
    from pytest_babyai.records import EpisodeOutcome, Step
    from pytest_babyai.scheduling import Limiter
    from pytest_babyai.settings.model import Settings

MAX_ADAPTIVE = 256
"""Requests in flight that ``--babyai-concurrency=auto`` never goes beyond."""


class RunControls:
    """Decides how many episodes run, and when no more are started.

    Each of several processes gets its share of every bound.

    Args:
        settings: The bounds.
        share: What this process plays, None for all.
        num_planned: Episodes that are to be played.

    Attributes:
        num_steps: Steps played so far.
        concurrency: Bound for the scheduler.
    """

    def __init__(self, settings: Settings, share: Share | None, num_planned: int) -> None:
        self.num_steps = 0
        self.concurrency = _concurrency(settings, share)
        num_parts = share.num_parts if share else 1
        self._budget = Budget(_budget_limits(settings, num_parts))
        limit = settings.max_errors
        self._errors = ErrorAllowance(_share(limit, num_parts), num_planned) if limit else None

    def observed(self, client: InferenceClient) -> InferenceClient:
        """Returns the client as the scheduler's bound has to see its requests."""
        if isinstance(self.concurrency, int):
            return client  # an episode has one request in flight: its bound is enough
        return ObservedClient(client, self.concurrency)

    def count_step(self, step: Step) -> None:
        """Counts a step and what it consumed."""
        self.num_steps += 1
        self._budget.record(step.usage)

    def count_episode(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode that came to its end."""
        if self._errors is not None:
            self._errors.record(outcome)

    def stop_reason(self) -> str | None:
        """Returns the line that says why nothing more is started, None while more may be."""
        return self.budget_reason() or (self._errors.exhausted() if self._errors else None)

    def budget_reason(self) -> str | None:
        """Returns the line that says which budget is used up."""
        return self._budget.exhausted()

    def notes(self) -> list[str]:
        """Returns what a user of budgets has to know."""
        return self._budget.gaps()

    def history(self) -> list[dict[str, Any]]:
        """Returns the decisions on concurrency as JSON types."""
        return [] if isinstance(self.concurrency, int) else self.concurrency.history


def _concurrency(settings: Settings, share: Share | None) -> int | Limiter:
    if settings.concurrency == "auto":
        maximum = split_evenly(MAX_ADAPTIVE, share) if share else MAX_ADAPTIVE
        return AdaptiveLimit(maximum=maximum)
    return split_evenly(settings.concurrency, share) if share else settings.concurrency


def _budget_limits(settings: Settings, num_parts: int) -> BudgetLimits:
    tokens, cost = settings.max_tokens, settings.max_cost
    return BudgetLimits(
        max_tokens=None if tokens is None else math.ceil(tokens / num_parts),
        max_cost=None if cost is None else cost / num_parts,
        max_time_s=settings.max_time_s,
    )


def _share(limit: ErrorLimit, num_parts: int) -> ErrorLimit:
    if limit.num_errors is None:
        return limit
    return ErrorLimit(num_errors=limit.num_errors // num_parts)
