"""Intervals that stay valid however often they are looked at and whenever that is stopped.

Who plays until an interval is narrow enough looks at it again and again, and stops in a lucky
moment: where the first seeds agree by chance, an ordinary 95 % interval is narrow and wrong. A
*confidence sequence* contains the truth at all looks at once with probability ``level``, so it does
at the one where somebody stopped, too.

This is the one of Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting" (JRSS B 86, arXiv 2010.09686): the hedged capital process of its section 4. For every mean
``m`` somebody bets on values above ``m``, somebody else on values below; were ``m`` the truth, both
games would be fair, and neither would ever multiply its capital by ``2 / alpha`` but with
probability ``alpha / 2`` (Ville 1939). The means that nobody got rich on are the interval. Nothing
is asked of the values but that they lie in [0, 1] and each has the same mean given those before it;
neither their number nor the number of looks has to be known, and 20 successes out of 20 leave an
interval with width. It costs seeds: about 1.9 times those of an interval looked at once.
"""

from __future__ import annotations

import math
from itertools import cycle, islice, repeat
from operator import mul, sub
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import check_finite
from pytest_babyai.statistics.intervals import Interval, checked_level

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALUES: Final = 5_000
"""Beyond it nobody is told to play more."""

_LARGEST_STAKE: Final = 0.75
"""Share of the capital that a bet may lose; the paper's recommendation is 1/2 or 3/4."""
_NUM_HALVINGS: Final = 20


def confidence_sequence(
    values: Sequence[float], *, half_width: float, horizon: int, level: float = 0.95
) -> Interval:
    """Returns the interval of the mean after these values.

    Bets may depend on whatever was known before the value. They are sized so that the interval
    gets to ``half_width`` with the fewest values, or, if that is out of reach, is as narrow as
    possible at the ``horizon``; other sizes would make it wider, never wrong.

    Args:
        values: In the order in which they came, each in [0, 1]; independent, as means of seeds.
        half_width: The one that is aimed at, in (0, 0.5).
        horizon: How many values there will be at most, fixed before the first one.
        level: Confidence level, between 0 and 1.

    Returns:
        An interval within [0, 1].

    Raises:
        StatisticsError: A value is NaN or outside of [0, 1], or another number is out of range.
    """
    _check(values, half_width, horizon)
    wealth = math.log(2 / (1 - checked_level(level)))
    bets = _bets(values, half_width, wealth / horizon)
    low = _lower_end(values, bets, wealth)
    high = 1 - _lower_end([1 - value for value in values], bets, wealth)
    # Ends that cross would rule out every mean, which only a mean that drifts can bring about.
    return Interval(min(low, high), max(low, high), level)


def num_values_needed(
    values: Sequence[float], *, half_width: float, level: float = 0.95
) -> int | None:
    """Returns after how many values the interval has that width, were all like those given.

    Returns:
        That number; None above `MAX_VALUES`, or if there is no value to go by.

    Raises:
        StatisticsError: As `confidence_sequence`.
    """
    _check(values, half_width, 1)

    def enough(number: int) -> bool:
        alike = list(islice(cycle(values), number))
        found = confidence_sequence(alike, half_width=half_width, horizon=number, level=level)
        return found.high - found.low <= 2 * half_width

    if not values or not enough(MAX_VALUES):
        return None
    lower, upper = 0, MAX_VALUES
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (lower, middle) if enough(middle) else (middle, upper)
    return upper


def _check(values: Sequence[float], half_width: float, horizon: int) -> None:
    check_finite(values)
    for position, value in enumerate(values):
        if not 0 <= value <= 1:
            raise StatisticsError(f"expected values in [0, 1], found {value} at {position}")
    if not 0 < half_width < 0.5:  # noqa: PLR2004 -- the half of what there is
        raise StatisticsError(f"a half width lies between 0 and 0.5, found {half_width}")
    if horizon < 1:
        raise StatisticsError(f"a horizon is at least 1, found {horizon}")


def _bets(values: Sequence[float], half_width: float, wealth_per_value: float) -> list[float]:
    # At distance d from the mean, d / (variance + d ** 2) makes capital grow fastest (Kelly 1956).
    # Mean and variance begin with one value's worth of 1/2 and 1/4, as in the paper.
    total, squares, bets = 0.5, 0.25, []
    for number, value in enumerate(values, start=1):
        variance = squares / number
        distance = max(half_width, math.sqrt(2 * variance * wealth_per_value))
        bets.append(distance / (variance + distance**2))
        total += value
        squares += (value - total / (number + 1)) ** 2
    return bets


def _lower_end(values: Sequence[float], bets: Sequence[float], wealth: float) -> float:
    # Capital falls with the mean that is bet against, so halving finds where it is enough.
    ruled_out, possible = 0.0, 1.0
    for _ in range(_NUM_HALVINGS):
        middle = (ruled_out + possible) / 2
        if _log_capital(values, bets, middle) >= wealth:
            ruled_out = middle
        else:
            possible = middle
    return ruled_out


def _log_capital(values: Sequence[float], bets: Sequence[float], mean: float) -> float:
    # No step of Python for each value: every look at an interval asks for this forty times.
    stakes = map(min, bets, repeat(_LARGEST_STAKE / mean))
    distances = map(sub, values, repeat(mean))
    return math.fsum(map(math.log1p, map(mul, stakes, distances)))
