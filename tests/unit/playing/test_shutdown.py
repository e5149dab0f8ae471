"""How long the end of a session may take."""

from __future__ import annotations

from pytest_babyai.playing.shutdown import HURRIED_S, Shutdown


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_an_end_that_nobody_waits_for_has_its_time() -> None:
    shutdown = Shutdown(Time())

    assert (shutdown.is_hurried, shutdown.at_most_s(15.0)) == (False, 15.0)


def test_what_comes_later_gets_half_of_what_is_left() -> None:
    time = Time()
    shutdown = Shutdown(time)
    shutdown.hurry()
    limits = []
    for _ in range(6):
        limits.append(shutdown.at_most_s(15.0))
        time.now_s += limits[-1]

    assert shutdown.is_hurried
    assert limits == [HURRIED_S / 2**number for number in range(1, 7)]


def test_a_second_hurry_gives_no_more_time() -> None:
    time = Time()
    shutdown = Shutdown(time)
    shutdown.hurry()
    time.now_s += HURRIED_S
    shutdown.hurry()

    assert shutdown.at_most_s(15.0) == 0.0


def test_a_short_time_stays_short() -> None:
    shutdown = Shutdown(Time())
    shutdown.hurry()

    assert shutdown.at_most_s(0.1) == 0.1
