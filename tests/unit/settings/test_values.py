from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.settings import values


@pytest.mark.parametrize(("raw", "parsed"), [("7", 7), (" +7 ", 7), (7, 7), (0, 0)], ids=repr)
def test_whole_number_reads_text_and_integers(raw: object, parsed: int) -> None:
    assert values.whole_number(0)(raw) == parsed


@pytest.mark.parametrize("raw", ["", "7.0", 7.0, True, None, -1, "-1", [7]], ids=repr)
def test_whole_number_refuses_everything_else(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^a whole number of at least 0$"):
        values.whole_number(0)(raw)


@pytest.mark.parametrize(("raw", "parsed"), [("0.5", 0.5), (1, 1.0), (0.0, 0.0)], ids=repr)
def test_number_reads_text_and_numbers(raw: object, parsed: float) -> None:
    assert values.number(0, 1)(raw) == parsed


@pytest.mark.parametrize(
    "raw", ["", "half", math.nan, math.inf, -0.1, 1.1, True, None, [0.5]], ids=repr
)
def test_number_refuses_everything_else(raw: object) -> None:
    with pytest.raises(ValueError, match=r"^a number from 0 to 1$"):
        values.number(0, 1)(raw)


def test_number_above_refuses_the_limit() -> None:
    with pytest.raises(ValueError, match=r"^a number above 0$"):
        values.number(0, above=True)(0)


def test_one_of_refuses_another_word_with_a_hint() -> None:
    with pytest.raises(ValueError, match="did you mean 'raise'"):
        values.one_of("raise", "fallback")("rise")


@pytest.mark.parametrize(
    "raw", ["a,b", "a b", "a, b\n", ["a", "b"], ("a", "b"), ["a,b"], "a,b,a"], ids=repr
)
def test_names_are_separated_by_commas_or_blanks_and_count_once(raw: object) -> None:
    assert values.names(raw) == ("a", "b")


@pytest.mark.parametrize("raw", ["", ",", [], [1], None, {"a": 1}, [["a"]]], ids=repr)
def test_names_refuse_everything_else(raw: object) -> None:
    with pytest.raises(ValueError, match="one or more names"):
        values.names(raw)


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ("200-202,300", (200, 201, 202, 300)),
        (["200-201", "7"], (200, 201, 7)),
        (range(3), (0, 1, 2)),
        ([5, 5, 6], (5, 6)),
        (9, (9,)),
    ],
    ids=repr,
)
def test_seeds_read_numbers_and_ranges(raw: object, parsed: tuple[int, ...]) -> None:
    assert values.seeds(raw) == parsed


@pytest.mark.parametrize(
    "raw", ["", "202-200", "202-200,5", "a", "-3", [], [-1], [True], True, None, [1.5]], ids=repr
)
def test_seeds_refuse_everything_else(raw: object) -> None:
    with pytest.raises(ValueError, match="whole numbers and ranges"):
        values.seeds(raw)


@given(st.lists(st.integers(0, 10**6), min_size=1))
def test_seeds_survive_the_way_through_text(numbers: list[int]) -> None:
    text = ",".join(map(str, numbers))

    assert values.seeds(text) == tuple(dict.fromkeys(numbers)) == values.seeds(numbers)


@pytest.mark.parametrize(
    "raw", ["1-100000000000", range(10**11), [range(1, 10**11)], "1" * 39, 10**40], ids=str
)
def test_seeds_without_end_are_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="at most 100,000 seeds"):
        values.seeds(raw)


def test_large_seeds_are_seeds() -> None:
    assert values.seeds(f"{2**70}") == (2**70,)


def test_path_expands_the_home_directory() -> None:
    assert values.path("~/x.toml") == Path.home() / "x.toml"


def test_url_loses_its_trailing_slash() -> None:
    assert values.url("http://localhost:3000/") == "http://localhost:3000"


@pytest.mark.parametrize(
    "raw", ["localhost:3000", "ftp://x", "http://", "http://x:port", 3000], ids=repr
)
def test_url_refuses_everything_else(raw: Any) -> None:
    with pytest.raises(ValueError, match="a URL such as"):
        values.url(raw)
