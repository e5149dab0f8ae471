"""What holds a run back: the bound on requests, the budgets, the errors it puts up with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_babyai.playing.stopping import seed_by_seed, stopping_for
from pytest_babyai.plugin.distribution import split_evenly
from pytest_babyai.scheduling import (
    AdaptiveLimit,
    Budget,
    BudgetLimits,
    ErrorAllowance,
    ObservedClient,
    longest_first,
)
from pytest_babyai.settings.amounts import ErrorLimit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from pytest_babyai.gateway.inference import InferenceClient
    from pytest_babyai.playing.stopping import Decisions
    from pytest_babyai.plugin.distribution import Share
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.records import EpisodeOutcome, Step
    from pytest_babyai.scheduling import DurationEstimates, Limiter
    from pytest_babyai.settings.model import Settings

MAX_ADAPTIVE = 256
"""Requests in flight that ``--babyai-concurrency=auto`` never goes beyond."""


class RunControls:
    """Decides how many episodes run, and when no more are started.

    Each of several processes gets its share of every bound.

    Args:
        selection: Settings, with the bounds.
        share: What this process plays, None for all.
        planned: Episodes that are to be played.
        decisions: What ``--babyai-decide`` asks for, None without it.

    Attributes:
        num_steps: Steps played so far.
        concurrency: Bound for the scheduler.
        early_stop: Knows which variants are known well enough; None unless asked for.
        left_out: Episodes that were not played for that reason.
    """

    def __init__(
        self,
        selection: Selection,
        share: Share | None,
        planned: Collection[PlannedEpisode],
        decisions: Decisions | None = None,
    ) -> None:
        settings, num_planned = selection.settings, len(planned)
        self.num_steps = 0
        self.left_out: set[PlannedEpisode] = set()
        specs = [episode.spec for episode in planned]
        self.early_stop = stopping_for(selection.precision, decisions, specs)
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
        if not step.cached:  # that consumed nothing, and nobody knows its tokens yet
            self._budget.record(step.usage)

    def count_episode(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode that came to its end."""
        if self._errors is not None:
            self._errors.record(outcome)
        self.count_reused(outcome)

    def count_reused(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode of an earlier session: it costs nothing, and is known all the same."""
        if self.early_stop is not None:
            self.early_stop.record(outcome)

    def refusal_of(self, episode: PlannedEpisode) -> str | None:
        """Returns the line that says why an episode need not be played, None if it has to be."""
        reason = self.early_stop.reason(episode.spec.variant) if self.early_stop else None
        if reason is not None:
            self.left_out.add(episode)
        return reason

    def in_order(
        self, episodes: Iterable[PlannedEpisode], estimates: DurationEstimates
    ) -> list[PlannedEpisode]:
        """Returns the episodes in the order in which they are to start."""

        def duration_s(episode: PlannedEpisode) -> float:
            return estimates.duration_of(episode.spec)

        if self.early_stop is None:
            return longest_first(episodes, duration_s)
        return seed_by_seed(episodes, lambda episode: episode.spec.seed, duration_s)

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
