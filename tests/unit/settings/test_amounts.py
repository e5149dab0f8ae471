from __future__ import annotations

from typing import Any

import pytest

from pytest_babyai.settings.amounts import (
    ErrorLimit,
    concurrency,
    dollars,
    duration_s,
    error_limit,
    token_count,
)

NO_AMOUNTS: list[Any] = [
    None,
    "",
    " ",
    "x",
    "-1",
    -1,
    True,
    [],
    "5 %%",
    "nan",
    float("nan"),
    float("inf"),
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5%", ErrorLimit(share=0.05)),
        (" 0.5 % ", ErrorLimit(share=0.005)),
        ("100%", ErrorLimit(share=1.0)),
        ("0%", ErrorLimit(share=0.0)),
        ("7", ErrorLimit(num_errors=7)),
        (7, ErrorLimit(num_errors=7)),
        (0, ErrorLimit(num_errors=0)),
    ],
    ids=repr,
)
def test_error_limits(value: Any, expected: ErrorLimit) -> None:
    assert error_limit(value) == expected


@pytest.mark.parametrize("written", ["5%", "7", "0.5%", "0"])
def test_an_error_limit_is_written_as_it_is_read(written: str) -> None:
    assert str(error_limit(written)) == written


@pytest.mark.parametrize("value", [*NO_AMOUNTS, "101%", "7.5", 7.5, "5 percent"], ids=repr)
def test_no_error_limits(value: Any) -> None:
    with pytest.raises(ValueError, match=r"a number of episodes or a share.*such as 7 or 5%"):
        error_limit(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("90", 90),
        (90, 90),
        (0.5, 0.5),
        ("90s", 90),
        ("10m", 600),
        ("10min", 600),
        ("2h30m", 9_000),
        ("2H 30M", 9_000),
        ("1.5h", 5_400),
        ("1d2h3m4s", 93_784),
        (1e-5, 1e-5),
    ],
    ids=repr,
)
def test_durations(value: Any, expected: float) -> None:
    assert duration_s(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    "value", [*NO_AMOUNTS, "0", 0, "30m2h", "10 parsecs", "1e5", "m"], ids=repr
)
def test_no_durations(value: Any) -> None:
    with pytest.raises(ValueError, match="a duration above 0, such as 90s, 10m or 2h30m"):
        duration_s(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("200000", 200_000),
        (200_000, 200_000),
        (2e6, 2_000_000),
        ("200k", 200_000),
        ("1.5M", 1_500_000),
        ("1.5m", 1_500_000),
        ("2G", 2_000_000_000),
        ("2B", 2_000_000_000),
        ("1_500_000", 1_500_000),
        ("1,500,000", 1_500_000),
    ],
    ids=repr,
)
def test_token_counts(value: Any, expected: int) -> None:
    found = token_count(value)

    assert found == expected
    assert isinstance(found, int)


@pytest.mark.parametrize(
    "value", [*NO_AMOUNTS, "0", 0, "1.5", 1.5, "1.2345k", "5T", "1,5M"], ids=repr
)
def test_no_token_counts(value: Any) -> None:
    with pytest.raises(ValueError, match=r"a whole number above 0, such as 200000, 200k or 1.5M"):
        token_count(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(5, 5.0), ("5", 5.0), ("$5", 5.0), ("0.50", 0.5), (0.001, 0.001)],
    ids=repr,
)
def test_dollars(value: Any, expected: float) -> None:
    assert dollars(value) == expected


@pytest.mark.parametrize("value", [*NO_AMOUNTS, "0", 0, "5€", "$"], ids=repr)
def test_no_dollars(value: Any) -> None:
    with pytest.raises(ValueError, match=r"US dollars above 0, such as 5 or 0\.50"):
        dollars(value)


@pytest.mark.parametrize(
    ("value", "expected"), [("auto", "auto"), ("AUTO", "auto"), ("8", 8), (8, 8)], ids=repr
)
def test_concurrencies(value: Any, expected: object) -> None:
    assert concurrency(value) == expected


@pytest.mark.parametrize("value", [*NO_AMOUNTS, "0", 0, 1.5, "automatic"], ids=repr)
def test_no_concurrencies(value: Any) -> None:
    with pytest.raises(ValueError, match="'auto' or a whole number of at least 1"):
        concurrency(value)
