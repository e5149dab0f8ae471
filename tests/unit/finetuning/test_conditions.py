from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning.conditions import Condition, parse_conditions


@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ("progression>=1", Condition("progression", ">=", 1.0)),
        (" episode_return > 0.7 ", Condition("return", ">", 0.7)),
        ("num_steps<=30", Condition("steps", "<=", 30.0)),
        ("num_steps==5", Condition("steps", "=", 5.0)),
    ],
)
def test_a_condition_is_a_metric_an_order_and_a_number(written: str, condition: Condition) -> None:
    assert parse_conditions([written]) == (condition,)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("progresion>=1", "did you mean 'progression'?"),
        ("progression", "METRIC>=NUMBER"),
        ("progression=>1", "METRIC>=NUMBER"),
        ("progression!=1", "METRIC>=NUMBER"),
        ("progression>=high", "'high'"),
        ("progression>=nan", "'nan'"),
        ("progression>=inf", "'inf'"),
        ("", "METRIC>=NUMBER"),
    ],
)
def test_what_is_no_condition_is_told_in_one_line(written: str, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_conditions([written])

    assert part in str(caught.value)
    assert str(caught.value).startswith("--where: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("order", "below", "equal", "above"),
    [
        (">=", False, True, True),
        (">", False, False, True),
        ("<=", True, True, False),
        ("<", True, False, False),
        ("=", False, True, False),
    ],
)
def test_each_order_compares(order: str, below: bool, equal: bool, above: bool) -> None:  # noqa: FBT001
    condition = Condition("return", order, 0.7)

    assert [condition.holds(value) for value in (0.6, 0.7, 0.8)] == [below, equal, above]


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from([">=", ">", "<", "="]))
def test_single_precision_decides_like_double_unless_the_value_is_at_the_edge(
    bound: float, value: float, order: str
) -> None:
    condition = Condition("return", order, bound)
    single = struct.unpack("f", struct.pack("f", value))[0]

    near_an_edge = abs(abs(value - bound) - 1e-6) < 1e-7 * max(1.0, value)

    assert near_an_edge or condition.holds(value) == condition.holds(single)


def test_an_attained_return_meets_its_own_bound_in_single_precision() -> None:
    attained = 1 - 0.9 * 7 / 128
    single = struct.unpack("f", struct.pack("f", attained))[0]

    assert Condition("return", ">=", attained).holds(single)
