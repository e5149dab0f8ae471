# ruff: noqa: RUF001 -- the en dash is what is tested
"""Numbers as people read them."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.reporting.numbers import (
    ASCII,
    COUNT,
    RATE,
    SCORE,
    TOKENS,
    UNICODE,
    NumberFormat,
    count_of,
    format_cost,
    format_duration,
    format_estimate,
    format_number,
    format_seeds,
    format_signed,
    symbols_for,
    translated,
)
from pytest_babyai.statistics import Estimate


@pytest.mark.parametrize(
    ("mean", "sem", "number_format", "expected"),
    [
        (0.62, 0.05, SCORE, "0.62 ± 0.05"),
        (12_345.4, 210.2, TOKENS, "12,345 ± 210"),
        (38.06, 2.44, COUNT, "38.1 ± 2.4"),
        (0.62, 0.049, RATE, "62.0 ± 4.9 %"),
        (1.0, 0.0, RATE, "100.0 ± 0.0 %"),
        (None, None, SCORE, "–"),
        (1.0, None, SCORE, "1.00 ± –"),
        (1.0, None, RATE, "100.0 ± –"),
    ],
)
def test_estimates(
    mean: float | None, sem: float | None, number_format: NumberFormat, expected: str
) -> None:
    assert format_estimate(Estimate(mean, sem, 1), number_format) == expected


def test_a_small_sem_gets_more_digits_than_zero() -> None:
    assert format_estimate(Estimate(0.998, 0.002, 500), SCORE) == "0.998 ± 0.002"


def test_a_sem_of_rounding_noise_gets_no_more_digits() -> None:
    assert format_estimate(Estimate(0.1, 1e-17, 3), SCORE) == "0.10 ± 0.00"


def test_there_is_no_negative_zero() -> None:
    assert format_number(-0.001, SCORE) == "0.00"


def test_an_undefined_number_is_a_dash() -> None:
    assert format_number(None, RATE) == "–"


def test_ascii_estimates() -> None:
    text = format_estimate(Estimate(0.62, 0.05, 9), SCORE)
    assert translated(text, ASCII) == "0.62 +/- 0.05"


def test_ascii_undefined() -> None:
    assert translated(format_estimate(Estimate(None, None, 0), SCORE), ASCII) == "-"


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-16", "cp65001"])
def test_unicode_terminals_get_unicode(encoding: str) -> None:
    try:
        "".encode(encoding)
    except LookupError:
        pytest.skip(f"no codec {encoding} here")
    assert symbols_for(encoding) is UNICODE


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1", "no such codec", "", None])
def test_other_terminals_get_ascii(encoding: str | None) -> None:
    assert symbols_for(encoding) is ASCII


def test_ascii_symbols_are_ascii() -> None:
    assert "".join(dataclasses.astuple(ASCII)).isascii()


@given(
    st.floats(-1e6, 1e6),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.sampled_from([RATE, SCORE, COUNT, TOKENS]),
)
def test_ascii_output_is_ascii(mean: float, sem: float | None, shape: NumberFormat) -> None:
    assert translated(format_estimate(Estimate(mean, sem, 5), shape), ASCII).isascii()


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_mean_and_sem_have_the_same_digits(mean: float, sem: float) -> None:
    text = format_estimate(Estimate(mean, sem, 5), SCORE)
    left, right = re.fullmatch(r"-?[\d,]+\.(\d+) ± [\d,]+\.(\d+)", text).groups()  # type: ignore[union-attr]
    assert len(left) == len(right)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_the_mean_written_is_the_mean(mean: float, sem: float) -> None:
    text = format_estimate(Estimate(mean, sem, 5), SCORE)
    assert float(text.partition(" ")[0].replace(",", "")) == pytest.approx(mean, abs=0.005001)


@given(st.floats(0.0005, 1e6))
def test_a_sem_of_at_least_a_20th_of_a_digit_never_reads_zero(sem: float) -> None:
    text = format_estimate(Estimate(0.5, sem, 5), SCORE)
    assert float(text.rpartition(" ")[2].replace(",", "")) > 0


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 episodes"), (1, "1 episode"), (1234, "1,234 episodes")]
)
def test_counts(number: int, expected: str) -> None:
    assert count_of(number, "episode") == expected


def test_counts_of_irregular_nouns() -> None:
    assert count_of(2, "retry", "retries") == "2 retries"


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ((), "–"),
        ((200,), "200"),
        (tuple(range(200, 220)), "200–219"),
        ((300, 200, 201, 201), "200–201, 300"),
        (tuple(range(0, 40, 2)), "0, 2, 4, 6, 8, … 38 (20 seeds)"),
    ],
)
def test_seeds(seeds: tuple[int, ...], expected: str) -> None:
    assert format_seeds(seeds) == expected


def test_ascii_seeds() -> None:
    assert translated(format_seeds(range(200, 220)), ASCII) == "200-219"


@given(st.sets(st.integers(0, 30), min_size=1))
def test_spans_hold_the_seeds_and_no_others(seeds: set[int]) -> None:
    text = format_seeds(seeds)
    if "…" not in text:
        ends = [part.split("–") for part in text.split(", ")]
        spans = [range(int(part[0]), int(part[-1]) + 1) for part in ends]
        assert [seed for span in spans for seed in span] == sorted(seeds)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (8.21, "8.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125.4, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (3780.0, "1 h 03 min"),
        (90_000.0, "25 h 00 min"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert format_duration(seconds) == expected


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (None, "–"),
        (0.0, "$0.00"),
        (1234.5, "$1,234.50"),
        (0.25, "$0.2500"),
        (0.0042, "$0.0042"),
        (0.00042, "$0.00042"),
        (0.0000031, "$0.0000031"),
    ],
)
def test_costs_below_a_cent_keep_their_digits(cost: float | None, expected: str) -> None:
    assert format_cost(cost) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.123, "+12.3"), (-0.5, "-50.0"), (0.0001, "0.0"), (None, "–")]
)
def test_differences_have_a_sign(value: float | None, expected: str) -> None:
    assert format_signed(value, RATE) == expected
