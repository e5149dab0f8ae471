"""Confidence sequences against their definition, by hand, and by what they promise."""

from __future__ import annotations

import itertools
import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pytest_babyai.errors import StatisticsError
from pytest_babyai.statistics import clustered_sem, t_interval
from pytest_babyai.statistics.sequential import (
    MAX_VALUES,
    conditional_power,
    confidence_sequence,
    nominal_alphas,
    num_values_needed,
    planned_looks,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.statistics import Interval

NUM_RUNS = 300
shares = st.lists(st.floats(0, 1), max_size=40)


def sequence(
    values: Sequence[float], half_width: float = 0.1, horizon: int = 100, level: float = 0.95
) -> Interval:
    return confidence_sequence(values, half_width=half_width, horizon=horizon, level=level)


def width(interval: Interval) -> float:
    return interval.high - interval.low


def bet_before(before: Sequence[float], half_width: float, horizon: int) -> float:
    """Returns the bet on the next value, from those before it."""
    centers = [(0.5 + sum(before[: i + 1])) / (i + 2) for i in range(len(before))]
    squares = sum((x - center) ** 2 for x, center in zip(before, centers, strict=True))
    variance = (0.25 + squares) / (len(before) + 1)
    distance = max(half_width, math.sqrt(2 * variance * math.log(40) / horizon))
    return distance / (variance + distance**2)


def surviving(values: Sequence[float], half_width: float, horizon: int, grid: int) -> list[float]:
    """Returns the means of a grid on which nobody gets 40 times their half of the capital.

    The definition of the hedged capital process, a mean and a value at a time.
    """
    bets = [bet_before(values[:number], half_width, horizon) for number in range(len(values))]
    found = []
    for mean in (number / grid for number in range(1, grid)):
        above = below = 0.5
        for value, bet in zip(values, bets, strict=True):
            above *= 1 + min(bet, 0.75 / mean) * (value - mean)
            below *= 1 - min(bet, 0.75 / (1 - mean)) * (value - mean)
        if max(above, below) < 20:
            found.append(mean)
    return found


@pytest.mark.parametrize("num_values", [5, 20, 60])
@pytest.mark.parametrize("half_width", [0.05, 0.2])
@pytest.mark.parametrize("share", [0.1, 0.6, 1.0])
def test_the_interval_is_that_of_the_slow_definition(
    num_values: int, half_width: float, share: float
) -> None:
    rng = random.Random(num_values)
    values = [sum(rng.random() < share for _ in range(5)) / 5 for _ in range(num_values)]

    found = sequence(values, half_width, horizon=80)
    expected = surviving(values, half_width, horizon=80, grid=400)

    assert found.low == pytest.approx(expected[0], abs=1 / 400)
    assert found.high == pytest.approx(expected[-1], abs=1 / 400)


@pytest.mark.parametrize("num_values", [20, 50, 200])
def test_successes_alone_by_hand(num_values: int) -> None:
    # Every bet stakes 3/4 of the capital, which is multiplied by 1/4 + 3/4 / m each time.
    low = 0.75 / (40 ** (1 / num_values) - 0.25)

    found = sequence([1.0] * num_values, half_width=0.4, horizon=10**6)

    assert found.low == pytest.approx(low, abs=1e-5)
    assert found.high == 1.0


def test_nothing_is_known_of_nothing() -> None:
    assert (sequence([]).low, sequence([]).high) == (0.0, 1.0)


def test_one_value_shows_nothing() -> None:
    assert width(sequence([1.0])) == 1.0


def test_failures_mirror_successes() -> None:
    values = [0.2, 0.8, 1.0, 0.6, 0.6, 1.0] * 5

    found, mirrored = sequence(values), sequence([1 - value for value in values])

    assert mirrored.low == pytest.approx(1 - found.high)
    assert mirrored.high == pytest.approx(1 - found.low)


@given(shares)
def test_ends_are_in_order_and_shares(values: list[float]) -> None:
    found = sequence(values)

    assert 0 <= found.low <= found.high <= 1


def test_more_values_of_a_kind_make_it_narrower() -> None:
    values = [0.2, 0.8, 1.0, 0.6] * 30
    widths = [width(sequence(values[:number], horizon=120)) for number in range(8, 121, 4)]

    assert widths == sorted(widths, reverse=True)


def test_values_further_apart_make_it_wider() -> None:
    assert width(sequence([0.4, 0.6] * 20)) < width(sequence([0.1, 0.9] * 20))


def test_a_higher_level_makes_it_wider() -> None:
    values = [0.2, 0.8] * 20
    widths = [width(sequence(values, level=level)) for level in (0.5, 0.9, 0.95, 0.99)]

    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("values", "half_width", "horizon", "level"),
    [
        ([math.nan], 0.1, 10, 0.95),
        ([1.1], 0.1, 10, 0.95),
        ([-0.1], 0.1, 10, 0.95),
        ([1.0], 0.0, 10, 0.95),
        ([1.0], 0.5, 10, 0.95),
        ([1.0], math.nan, 10, 0.95),
        ([1.0], 0.1, 0, 0.95),
        ([1.0], 0.1, 10, 1.0),
    ],
)
def test_numbers_out_of_range_are_refused(
    values: list[float], half_width: float, horizon: int, level: float
) -> None:
    with pytest.raises(StatisticsError):
        sequence(values, half_width, horizon, level)


def test_the_number_needed_is_the_first_that_is_enough() -> None:
    values = [0.2, 0.8, 1.0, 0.6]
    needed = num_values_needed(values, half_width=0.1)
    assert needed is not None

    enough, too_few = (
        width(sequence((values * needed)[:number], 0.1, horizon=number))
        for number in (needed, needed - 1)
    )

    assert enough <= 0.2 < too_few


def test_half_the_width_needs_some_four_times_the_values() -> None:
    values = [0.2, 0.8, 1.0, 0.6]
    wide, narrow = (num_values_needed(values, half_width=width) for width in (0.08, 0.04))
    assert wide is not None
    assert narrow is not None

    assert narrow / wide == pytest.approx(4, rel=0.15)


def test_a_lower_level_needs_fewer_values() -> None:
    one, other = (num_values_needed([0.2, 0.8], half_width=0.1, level=x) for x in (0.8, 0.95))
    assert one is not None
    assert other is not None

    assert one < other


@pytest.mark.parametrize("values", [[], [0.0, 1.0]])
def test_nobody_is_told_to_wait_for_ever(values: list[float]) -> None:
    assert num_values_needed(values, half_width=0.01) is None


def test_the_largest_number_is_told_exactly() -> None:
    needed = num_values_needed([0.0, 1.0], half_width=0.025)

    assert needed is not None
    assert 1_000 < needed < MAX_VALUES


def seed_means(rng: random.Random, mean: float, num_seeds: int) -> list[float]:
    """Draws shares of five tasks; a seed has a difficulty that they have in common."""
    found = []
    for _ in range(num_seeds):
        chance = rng.betavariate(1.5 * mean, 1.5 * (1 - mean))
        found.append(sum(rng.random() < chance for _ in range(5)) / 5)
    return found


def naive(values: Sequence[float]) -> Interval | None:
    """Returns the ordinary interval, as if nobody had looked before; None of a single value."""
    spread = clustered_sem(values, range(len(values)))
    if spread is None:
        return None
    return t_interval(sum(values) / len(values), spread, len(values))


def limit(rate: float) -> float:
    """Returns the share that chance exceeds once in a thousand such simulations."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / NUM_RUNS)


@pytest.mark.parametrize(("mean", "half_width"), [(0.5, 0.15), (0.9, 0.15), (0.97, 0.1)])
def test_where_it_is_narrow_first_the_truth_is_in_it(mean: float, half_width: float) -> None:
    rng = random.Random(30)
    num_missed = 0
    for _ in range(NUM_RUNS):
        values = seed_means(rng, mean, 80)
        looks = (sequence(values[:number], half_width, 80) for number in range(1, 81))
        stopped = next((found for found in looks if width(found) <= 2 * half_width), None)
        num_missed += stopped is not None and not stopped.low <= mean <= stopped.high

    assert num_missed / NUM_RUNS <= limit(0.05)


@pytest.mark.parametrize(("mean", "half_width"), [(0.5, 0.15), (0.9, 0.15), (0.97, 0.1)])
def test_where_an_ordinary_interval_is_narrow_first_it_is_often_not(
    mean: float, half_width: float
) -> None:
    rng = random.Random(30)
    num_missed = 0
    for _ in range(NUM_RUNS):
        values = seed_means(rng, mean, 80)
        looks = filter(None, (naive(values[:number]) for number in range(1, 81)))
        stopped = next(found for found in looks if width(found) <= 2 * half_width)
        num_missed += not stopped.low <= mean <= stopped.high

    assert num_missed / NUM_RUNS > 2 * limit(0.05)


def test_the_truth_is_in_the_intervals_of_all_looks_at_once() -> None:
    rng = random.Random(31)
    num_missed = 0
    for _ in range(NUM_RUNS):
        values = seed_means(rng, 0.8, 30)
        intervals = (sequence(values[:number], 0.1, 30, 0.8) for number in range(1, 31))
        num_missed += any(not found.low <= 0.8 <= found.high for found in intervals)

    assert 0 < num_missed / NUM_RUNS <= limit(0.2)


def test_it_costs_about_twice_the_values_of_an_interval_looked_at_once() -> None:
    rng = random.Random(32)
    half_width, needed = 0.1, []
    for _ in range(20):
        values = seed_means(rng, 0.6, 400)
        counts = itertools.count(2)
        needed.append(
            next(n for n in counts if width(sequence(values[:n], half_width, 400)) <= 0.2)
        )
    many = seed_means(rng, 0.6, 20_000)
    variance = sum((value - 0.6) ** 2 for value in many) / len(many)

    ratio = sum(needed) / len(needed) / (1.96**2 * variance / half_width**2)

    assert 1.5 < ratio < 2.5


def test_looks_are_blocks_and_the_end() -> None:
    assert planned_looks(100) == tuple(range(10, 101, 10))
    assert planned_looks(20) == (4, 6, 8, 10, 12, 14, 16, 18, 20)
    assert planned_looks(3) == (3,)


def test_a_single_look_spends_all() -> None:
    assert nominal_alphas(0.05, (20,)) == (0.05,)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_looking_at_all_of_them_errs_as_rarely_as_promised(alpha: float) -> None:
    looks = planned_looks(100)
    alphas = np.array(nominal_alphas(alpha, looks))
    steps = np.random.default_rng(83).normal(size=(200_000, len(looks)))
    scores = np.abs(steps.cumsum(axis=1)) / np.sqrt(np.arange(1, len(looks) + 1))
    crossed = (2 * stats.norm.sf(scores) <= alphas).any(axis=1).mean()
    assert crossed == pytest.approx(0.95 * alpha, rel=0.03)


def test_the_first_looks_spend_the_least() -> None:
    alphas = nominal_alphas(0.05, planned_looks(100))
    assert list(alphas) == sorted(alphas)
    assert alphas[0] < 0.002
    assert alphas[-1] > 0.035


def test_conditional_power_is_what_simulation_finds() -> None:
    time, z, alpha, final = 0.6, 0.4, 0.05, 0.04
    drift = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(0.8)
    rest = np.random.default_rng(84).normal(drift * 0.4, math.sqrt(0.4), 200_000)
    reached = (z * math.sqrt(time) + rest >= stats.norm.ppf(1 - final / 2)).mean()
    assert conditional_power(z, time, alpha, final) == pytest.approx(reached, abs=0.005)
