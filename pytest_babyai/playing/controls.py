"""What holds a run back: the bound on requests, the budgets, the errors it puts up with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.playing.budgets import Budget, BudgetLimits, ErrorAllowance
from pytest_babyai.playing.limiter import AdaptiveLimit, ObservedClient
from pytest_babyai.playing.ordering import longest_first
from pytest_babyai.scheduling.early_stop import EarlyStop, seed_by_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_babyai.gateway.inference import InferenceClient
    from pytest_babyai.journal import Spent
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.records import EpisodeOutcome, PlannedEpisode, Step

MAX_ADAPTIVE: Final = 256
"""Requests in flight that ``--babyai-concurrency=auto`` never goes beyond."""


class RunControls:
    """Decides how many episodes run, and when no more are started.

    Args:
        run: What is played, with its bounds.
        spent: What earlier sessions of the run have consumed; None for a new one.

    Attributes:
        num_steps: Steps played so far.
        concurrency: Bound for the scheduler.
        early_stop: Knows which variants are known well enough; None unless asked for.
        left_out: Episodes that were not played for that reason.
    """

    def __init__(self, run: RunSpec, spent: Spent | None = None) -> None:
        settings = run.settings
        self.num_steps = 0
        self.left_out: set[PlannedEpisode] = set()
        self.early_stop: EarlyStop | None = None
        if run.precision is not None:
            self.early_stop = EarlyStop(run.precision, [each.spec for each in run.nodeids])
        self.concurrency: int | AdaptiveLimit = (
            AdaptiveLimit(maximum=MAX_ADAPTIVE)
            if settings.concurrency == "auto"
            else settings.concurrency
        )
        self._budget = Budget(
            BudgetLimits(
                max_tokens=settings.max_tokens,
                max_cost=settings.max_cost,
                max_time_s=settings.max_time_s,
            ),
            spent=spent,
        )
        limit = settings.max_errors
        self._errors = ErrorAllowance(limit, len(run.nodeids)) if limit else None

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
        self,
        episodes: Iterable[PlannedEpisode],
        duration_of: Callable[[PlannedEpisode], float],
    ) -> list[PlannedEpisode]:
        """Returns the episodes in the order in which they are to start."""
        if self.early_stop is None:
            return longest_first(episodes, duration_of)
        return seed_by_seed(episodes, lambda episode: episode.spec.seed, duration_of)

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
