"""Looking at a run while it grows, without being fooled by it.

Who looks again and again and stops in a lucky moment is wrong far more often than 5 % of the time.
Two ways to allow for it, chosen by simulation (`python -m tests.benchmarks.honesty`):

*Decisions* (is one better, does a gate hold) are a group-sequential test. The seeds there are at
most are cut into blocks, and the error probability is spent over the looks after each of them (Lan
and DeMets 1983) by the function of Hwang, Shih and DeCani 1990 with gamma -4, which keeps most of
it for the end. So a run that is not stopped loses little power. A run is also given up once a
decision has become unlikely (`conditional_power`), which is never an error of the first kind.

*Precision* is a confidence sequence, the hedged capital process of Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting" (JRSS B 86, arXiv 2010.09686). For every
mean ``m`` somebody bets on values above ``m``, somebody else on values below; were ``m`` the truth,
both games would be fair, and neither would ever multiply its capital by ``2 / alpha`` but with
probability ``alpha / 2`` (Ville 1939). The means that nobody got rich on are the interval. It costs
about 1.9 times the seeds of an interval looked at once, as it is valid at every one.
"""

from __future__ import annotations

import functools
import math
from itertools import cycle, islice, repeat
from operator import mul, sub
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics.estimates import check_finite
from pytest_babyai.statistics.intervals import Interval, checked_level, normal_quantile
from pytest_babyai.statistics.planning import POWER

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALUES: Final = 5_000
"""Beyond it nobody is told to play more."""

_LARGEST_STAKE: Final = 0.75
"""Share of the capital that a bet may lose; the paper's recommendation is 1/2 or 3/4."""
_NUM_HALVINGS: Final = 20

NUM_LOOKS: Final = 10
"""Blocks that the planned seeds are cut into."""
FUTILITY: Final = 0.15
"""Conditional power below which a decision is given up."""
_MIN_SEEDS: Final = 4
"""Before the first look."""
_SPENT_EVENLY: Final = -4.0
_FEW_SEEDS: Final = 0.95
"""Share of the error probability that is spent, as t-tests of few seeds are not quite exact."""
_NUM_POINTS: Final = 401
_FAR: Final = 8.0
_LEAST_ALPHA: Final = 1e-12


def planned_looks(num_seeds: int) -> tuple[int, ...]:
    """Returns after how many of the planned seeds a run is looked at, the last included."""
    block = max(1, math.ceil(num_seeds / NUM_LOOKS))
    return (*(n for n in range(block, num_seeds, block) if n >= _MIN_SEEDS), num_seeds)


@functools.lru_cache(maxsize=256)
def nominal_alphas(alpha: float, looks: tuple[int, ...]) -> tuple[float, ...]:
    """Returns the two-sided error probability to test with at each look.

    Testing so at all looks errs at any of them with probability at most ``alpha``, a half of it to
    each side; without seeds of which the last look knows less than was planned.

    Args:
        alpha: Of all looks together, two-sided.
        looks: Seeds seen at each, rising; the last is the most there can be.

    Raises:
        StatisticsError: An alpha is not between 0 and 1.
    """
    import numpy as np

    checked_level(1 - alpha)
    if len(looks) == 1:
        return (alpha,)
    found: list[float] = []
    spent = before = 0.0
    grid = density = np.zeros(1)
    for look in looks:
        time = look / looks[-1]
        due = (
            alpha / 2 * _FEW_SEEDS * math.expm1(-_SPENT_EVENLY * time) / math.expm1(-_SPENT_EVENLY)
        )
        points = np.linspace(-_FAR, _FAR, _NUM_POINTS) * math.sqrt(time)
        width = points[1] - points[0]
        if before:  # the score goes on from wherever it had not crossed (Armitage et al. 1969)
            steps = (points[:, None] - grid[None, :]) ** 2 / (2 * (time - before))
            scale = (grid[1] - grid[0]) / math.sqrt(2 * math.pi * (time - before))
            here = np.exp(-steps) @ density * scale
        else:
            here = np.exp(-(points**2) / (2 * time)) / math.sqrt(2 * math.pi * time)
        below = np.concatenate([[0.0], np.cumsum((here[1:] + here[:-1]) / 2 * width)])
        crossing = float(np.interp(due - spent, below, points))
        found.append(max(_LEAST_ALPHA, 2 * _normal_share(crossing / math.sqrt(time))))
        density = np.where(np.abs(points) < -crossing, here, 0.0)
        grid, before, spent = points, time, due
    return tuple(found)


def conditional_power(z: float, time: float, alpha: float, final_alpha: float) -> float:
    """Returns the chance that the last look decides on the side of ``z``, were it worth finding.

    Lan, Simon and Halperin 1982, with the difference that the whole run would detect with power
    0.8 as the truth.

    Args:
        z: Standard normal score now, positive on the side that is asked about.
        time: Share of the seeds seen, below 1.
        alpha: Two-sided, of all looks together.
        final_alpha: Of the last look alone, as `nominal_alphas` gives it.
    """
    drift = normal_quantile(1 - alpha / 2) + normal_quantile(POWER)
    needed = normal_quantile(1 - final_alpha / 2)
    ahead = z * math.sqrt(time) + drift * (1 - time) - needed
    return _normal_share(ahead / math.sqrt(1 - time))


def _normal_share(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2


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
