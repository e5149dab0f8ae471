from __future__ import annotations

from pytest_babyai.playing.limiter import DecisionLog


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_times_count_from_the_start() -> None:
    clock = Clock()
    log = DecisionLog(clock)
    clock.now_s = 103.25
    log.add("cut", 4, "rate limit")

    assert log.entries == [{"at_s": 3.25, "event": "cut", "limit": 4, "reason": "rate limit"}]


def test_equal_decisions_in_a_row_are_one_entry() -> None:
    clock = Clock()
    log = DecisionLog(clock)
    for limit in (9, 10, 11):
        log.add("grow", limit, "answers")
        clock.now_s += 1

    assert log.entries == [
        {
            "at_s": 0.0,
            "event": "grow",
            "limit": 11,
            "reason": "answers",
            "until_s": 2.0,
            "count": 3,
        }
    ]


def test_a_long_history_keeps_its_ends() -> None:
    log = DecisionLog(Clock(), max_entries=4)
    for number in range(10):
        log.add("cut", number, f"reason {number}")

    kept = [entry.get("limit", entry.get("count")) for entry in log.entries]

    assert kept == [0, 1, 6, 8, 9]
    assert log.entries[2] == {"event": "omitted", "count": 6}


def test_entries_are_copies() -> None:
    log = DecisionLog(Clock())
    log.add("cut", 1, "x")
    log.entries[0]["limit"] = 7

    assert log.entries[0]["limit"] == 1
