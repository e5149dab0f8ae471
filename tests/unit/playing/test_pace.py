from __future__ import annotations

from pytest_babyai.playing.pace import Pace


def answer_rounds(pace: Pace, number: int) -> list[int]:
    """Answers so many rounds; returns the limits after each."""
    limits = []
    for _ in range(number):
        for _ in range(pace.limit):
            pace.answered(pace.num_cuts, busy=True)
        limits.append(pace.limit)
    return limits


def cut_pace(start: int, maximum: int = 1000) -> Pace:
    pace = Pace(start, maximum)
    pace.refused(0)
    return pace


def test_the_limit_doubles_in_a_round_at_first() -> None:
    assert answer_rounds(Pace(8, 100), 4) == [16, 32, 64, 100]


def test_the_first_refusal_halves_the_limit() -> None:
    assert cut_pace(40).limit == 20


def test_later_refusals_take_a_fifth() -> None:
    pace = cut_pace(40)
    pace.refused(1)

    assert pace.limit == 16


def test_the_limit_never_falls_below_one() -> None:
    pace = Pace(2, 10)
    for ticket in range(5):
        pace.refused(ticket)

    assert pace.limit == 1


def test_what_was_sent_before_a_cut_counts_no_more() -> None:
    pace = cut_pace(40)

    told = pace.answered(0, busy=True), pace.refused(0), pace.failed(0)

    assert told == (False, False, False)
    assert pace.limit == 20


def test_after_a_cut_a_round_adds_one() -> None:
    assert answer_rounds(cut_pace(80), 5) == [41, 42, 43, 44, 45]


def test_growth_gets_faster_while_nothing_goes_wrong() -> None:
    limits = answer_rounds(cut_pace(200), 20)

    assert limits[8] - limits[7] == 2
    assert limits[16] - limits[15] == 3


def test_growth_rests_below_the_limit_that_was_refused() -> None:
    limits = answer_rounds(cut_pace(8), 13)

    assert limits == [5, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 9]


def test_a_failure_holds_growth_for_a_round() -> None:
    pace = cut_pace(80)

    assert pace.failed(1)
    assert answer_rounds(pace, 3) == [40, 41, 42]


def test_a_hold_is_told_once() -> None:
    pace = Pace(8, 100)

    assert [pace.failed(0), pace.failed(0)] == [True, False]


def test_patience_ends_with_the_first_answer() -> None:
    pace = Pace(1, 10)
    for ticket in range(4):
        pace.refused(ticket)
    before_s = pace.patience_s
    pace.answered(4, busy=True)
    pace.refused(4)

    assert (before_s, pace.patience_s) == (4.0, 0.0)
