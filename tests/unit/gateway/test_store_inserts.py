"""When INSERTs that wait are written."""

from __future__ import annotations

import pytest

from pytest_babyai.gateway.clickhouse.inserts import Arrivals, Pace, can_be_merged

PACE = Pace(
    max_busy_share=0.25,
    max_pause_s=1.0,
    max_waiting=100,
    burst=10,
    silence=10.0,
    min_silence_s=0.005,
    patience=4.0,
)


def arrivals(num: int, gap_s: float) -> Arrivals:
    counted = Arrivals(PACE)
    for index in range(num):
        counted.count(index * gap_s)
    return counted


def test_after_the_pause_they_are_due() -> None:
    assert not arrivals(1, 0.0).are_due(0.9, end_s=1.0)
    assert arrivals(1, 0.0).are_due(1.0, end_s=1.0)


def test_as_many_as_may_wait_are_due() -> None:
    assert not arrivals(99, 0.001).are_due(0.1, end_s=9.0)
    assert arrivals(100, 0.001).are_due(0.1, end_s=9.0)


def test_a_burst_is_due_when_it_is_over() -> None:
    burst = arrivals(20, 0.001)
    assert not burst.are_due(0.019 + 0.009, end_s=9.0)
    assert burst.are_due(0.019 + 0.011, end_s=9.0)


def test_a_burst_that_is_smaller_than_the_last_one_is_given_more_time() -> None:
    smaller = arrivals(50, 0.001)
    smaller.reset()
    for index in range(20):
        smaller.count(index * 0.001)
    assert not smaller.are_due(0.019 + 0.039, end_s=9.0)
    assert smaller.are_due(0.019 + 0.041, end_s=9.0)


def test_arrivals_at_once_need_a_little_silence() -> None:
    assert not arrivals(20, 0.0).are_due(0.004, end_s=9.0)
    assert arrivals(20, 0.0).are_due(0.006, end_s=9.0)


def test_a_few_wait_for_more() -> None:
    assert not arrivals(9, 0.001).are_due(0.9, end_s=9.0)


def test_what_was_written_counts_no_longer() -> None:
    counted = arrivals(100, 0.001)
    counted.reset()
    assert not counted.are_due(0.1, end_s=9.0)


@pytest.mark.parametrize(("busy_s", "pause_s"), [(0.01, 0.03), (0.1, 0.3), (5.0, 1.0)])
def test_writing_takes_its_share_of_the_time(busy_s: float, pause_s: float) -> None:
    assert PACE.pause_s(busy_s) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("input_format", "data", "expected"),
    [
        ("JSONEachRow", b'{"a": 1}\n{"a": 2}\n', True),
        ("CSV", b"1", False),
        ("JSONEachRow", b'[{"a": 1}]', False),
        ("JSONEachRow", b'{"a": "' + b"x" * (1 << 20) + b'"}', False),
    ],
)
def test_only_small_inserts_of_json_lines_are_merged(
    input_format: str, data: bytes, *, expected: bool
) -> None:
    assert can_be_merged(input_format, data) is expected
