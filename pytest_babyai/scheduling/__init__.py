"""When an episode starts: how many requests at a time, in which order, and when no more.

Decisions only; nothing here plays an episode.
"""

from pytest_babyai.scheduling.budgets import Budget, BudgetLimits, ErrorAllowance
from pytest_babyai.scheduling.limiter import AdaptiveLimit, FixedLimit, Limiter
from pytest_babyai.scheduling.observed_client import ObservedClient
from pytest_babyai.scheduling.ordering import DurationEstimates, longest_first
from pytest_babyai.scheduling.repetition import model_seed
from pytest_babyai.settings.amounts import ErrorLimit

__all__ = [
    "AdaptiveLimit",
    "Budget",
    "BudgetLimits",
    "DurationEstimates",
    "ErrorAllowance",
    "ErrorLimit",
    "FixedLimit",
    "Limiter",
    "ObservedClient",
    "longest_first",
    "model_seed",
]
