"""Several comparisons at once: which of them hold, and at which level each was tested."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Returns p-values adjusted for having made several comparisons, in the given order.

    Holm 1979: rejecting where the adjusted value is at most alpha errs anywhere among the
    comparisons with probability at most alpha, however they depend on each other.

    Raises:
        StatisticsError: A value is NaN or not within [0, 1].
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(_ascending(p_values)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def holm_alphas(
    p_values: Sequence[float],
    alpha: float,
    spends: Sequence[Callable[[float], float]] | None = None,
) -> tuple[float, ...]:
    """Returns the alpha at which Holm's procedure tests each comparison, in the given order.

    The smallest p-value is tested at ``alpha / m``, the next at ``alpha / (m - 1)`` and so on; from
    the first that does not hold, all others at the same. A comparison holds where its p-value is
    at most its alpha: just there its interval at ``1 - alpha`` leaves the bound out.

    Args:
        p_values: One per comparison.
        alpha: Of all comparisons together.
        spends: What of an alpha each may use now; less than all in a sequential run.

    Raises:
        StatisticsError: As `holm`.
    """
    found = [0.0] * len(p_values)
    num_rejected, holds = 0, True
    for index in _ascending(p_values):
        own = alpha / (len(p_values) - num_rejected)
        found[index] = spends[index](own) if spends else own
        holds = holds and p_values[index] <= found[index]
        num_rejected += holds
    return tuple(found)


def _ascending(p_values: Sequence[float]) -> list[int]:
    check_finite(p_values)
    if any(not 0 <= p_value <= 1 for p_value in p_values):
        raise StatisticsError("a p-value lies between 0 and 1")
    return sorted(range(len(p_values)), key=p_values.__getitem__)
