"""Precisions as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.playing.stopping import PRECISION_METRICS as METRICS
from pytest_babyai.playing.stopping import Precision, parse_precision


@pytest.mark.parametrize(
    ("text", "precision"),
    [
        ("±0.05", Precision()),
        ("+-0.05", Precision()),
        ("+/-0.05", Precision()),
        ("0.05", Precision()),
        (".05", Precision()),
        (0.05, Precision()),
        ("5%", Precision()),
        ("± 5 %", Precision()),
        ("success ± 0.05 @ 95 %", Precision()),
        ("±0.1@90%", Precision(half_width=0.1, level=0.9)),
        ("progression±0.02@99.9%", Precision("progression", 0.02, 0.999)),
    ],
)
def test_precisions_are_read(text: object, precision: Precision) -> None:
    assert parse_precision(text) == precision


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected a half width such as '±0.05' or 'progression±0.05@90%', found ''"),
        ("five", "expected a half width"),
        ("-0.05", "expected a half width"),
        ("0.05@95", "expected a half width"),
        ("±0.05, ±0.1", "expected a half width"),
        ("nan", "expected a half width"),
        (None, "expected a half width such as .*, found None"),
        (True, "expected a half width such as .*, found True"),
        ("sucess±0.05", "unknown metric 'sucess' in 'sucess±0.05'; did you mean 'success'?"),
        ("steps±0.1", "unknown metric 'steps' in 'steps±0.1'; choose from success, progression"),
        ("±5", "a half width lies between 0 and 0.5, as in '±0.05' .*, found '±5'"),
        ("0", "a half width lies between 0 and 0.5"),
        ("50%", "a half width lies between 0 and 0.5"),
        (float("inf"), "expected a half width"),
        ("±0.05@100%", "a level lies from 50% to below 100%, .*, found '±0.05@100%'"),
        ("±0.05@5%", "a level lies from 50% to below 100%"),
    ],
)
def test_what_is_none_is_told(text: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        parse_precision(text)


@given(
    st.builds(
        Precision,
        st.sampled_from(METRICS),
        st.integers(1, 499).map(lambda number: number / 1000),
        st.integers(50, 99).map(lambda number: number / 100),
    )
)
def test_a_precision_is_written_as_it_is_read(precision: Precision) -> None:
    assert parse_precision(str(precision)) == precision
