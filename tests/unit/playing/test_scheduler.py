"""The scheduler, on a real loop thread, with episodes that the tests let end by hand."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_babyai.errors import CredentialsError, JournalError, NotStartedError, UsageError
from pytest_babyai.playing.loop_thread import LoopThread
from pytest_babyai.playing.scheduler import Scheduler
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_babyai.playing.limiter import AdaptiveLimit
    from pytest_babyai.records import EpisodeOutcome


class Stage:
    """Plays episodes that end when they are told to; remembers what ran."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.num_running = 0
        self.most_running = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.errors: dict[str, Exception] = {}
        self.changed = threading.Condition()

    async def play(self, key: str) -> EpisodeOutcome:
        gate = self.gates.setdefault(key, asyncio.Event())
        with self.changed:
            self.started.append(key)
            self.num_running += 1
            self.most_running = max(self.most_running, self.num_running)
            self.changed.notify_all()
        try:
            await gate.wait()
        finally:
            self.num_running -= 1
        if key in self.errors:
            raise self.errors[key]
        return cast("EpisodeOutcome", f"outcome of {key}")

    def wait_for_start_of(self, *keys: str) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: set(keys) <= set(self.started), PATIENCE_S)


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    loop_thread = LoopThread()
    yield loop_thread
    loop_thread.close(PATIENCE_S)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def scheduler_of(thread: LoopThread, stage: Stage, concurrency: int = 2) -> Scheduler[str]:
    return Scheduler(thread, stage.play, concurrency=concurrency)


def end(thread: LoopThread, stage: Stage, key: str) -> None:
    stage.wait_for_start_of(key)
    thread.loop.call_soon_threadsafe(stage.gates[key].set)


def test_episodes_start_in_order_up_to_the_bound(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("abcd")
    stage.wait_for_start_of("a", "b")

    end(thread, stage, "b")
    stage.wait_for_start_of("c")

    assert stage.started == ["a", "b", "c"]
    assert stage.most_running == 2


def test_a_future_gives_the_outcome(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("a")
    end(thread, stage, "a")

    assert cast("str", scheduler.future("a").result(PATIENCE_S)) == "outcome of a"


def test_a_key_that_nobody_submitted_starts_when_it_is_asked_for(
    thread: LoopThread, stage: Stage
) -> None:
    scheduler = scheduler_of(thread, stage)

    future = scheduler.future("late")
    end(thread, stage, "late")

    assert cast("str", future.result(PATIENCE_S)) == "outcome of late"


def test_no_key_is_played_twice(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("aa")
    scheduler.submit("a")
    end(thread, stage, "a")
    scheduler.future("a").result(PATIENCE_S)
    scheduler.submit("ab")
    stage.wait_for_start_of("b")

    assert stage.started == ["a", "b"]


def test_next_finished_gives_keys_in_the_order_of_their_ends(
    thread: LoopThread, stage: Stage
) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("ab")
    end(thread, stage, "b")
    first = scheduler.next_finished(PATIENCE_S)
    end(thread, stage, "a")

    assert [first, scheduler.next_finished(PATIENCE_S)] == ["b", "a"]


def test_next_finished_gives_up_after_its_time(thread: LoopThread, stage: Stage) -> None:
    assert scheduler_of(thread, stage).next_finished(0.01) is None


def test_an_error_of_one_episode_stays_its_own(thread: LoopThread, stage: Stage) -> None:
    stage.errors["a"] = RuntimeError("a bug")
    scheduler = scheduler_of(thread, stage, concurrency=1)
    scheduler.submit("ab")
    end(thread, stage, "a")
    end(thread, stage, "b")

    with pytest.raises(RuntimeError, match="a bug"):
        scheduler.future("a").result(PATIENCE_S)
    assert cast("str", scheduler.future("b").result(PATIENCE_S)) == "outcome of b"


def test_a_usage_error_ends_what_has_not_started(thread: LoopThread, stage: Stage) -> None:
    stage.errors["a"] = CredentialsError("no key")
    scheduler = scheduler_of(thread, stage, concurrency=1)
    scheduler.submit("abc")
    end(thread, stage, "a")

    for key in "abc":
        with pytest.raises(UsageError, match="no key"):
            scheduler.future(key).result(PATIENCE_S)
    assert stage.started == ["a"]


def test_progress_counts(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("abcd")
    end(thread, stage, "a")
    stage.wait_for_start_of("c")

    progress = scheduler.progress()

    assert (progress.num_submitted, progress.num_running, progress.num_finished) == (4, 2, 1)


def test_outcomes_are_those_that_finished_well(thread: LoopThread, stage: Stage) -> None:
    stage.errors["b"] = RuntimeError("a bug")
    scheduler = scheduler_of(thread, stage, concurrency=3)
    scheduler.submit("abc")
    for key in "ab":
        end(thread, stage, key)
        scheduler.next_finished(PATIENCE_S)

    assert {key: str(outcome) for key, outcome in scheduler.outcomes().items()} == {
        "a": "outcome of a"
    }


def test_cancel_ends_what_runs_and_what_waits(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage, concurrency=1)
    scheduler.submit("ab")
    stage.wait_for_start_of("a")

    scheduler.cancel()

    for key in "ab":
        with pytest.raises(CancelledError):
            scheduler.future(key).result(PATIENCE_S)
    assert stage.started == ["a"]


class Limit:
    """A limiter whose limit the tests set, on the loop's thread as a limiter would."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.callbacks: list[Callable[[], None]] = []

    history: list[dict[str, Any]] = []  # noqa: RUF012 - always empty

    def try_acquire(self) -> int | None:
        return 0

    async def acquire(self) -> int:
        return 0

    def release(self, ticket: int, error: BaseException | None = None) -> None:
        """Nothing to free."""

    def on_growth(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    async def resize(self, limit: int) -> None:
        grown = limit > self.limit
        self.limit = limit
        for callback in self.callbacks if grown else ():
            callback()


def test_more_episodes_start_when_the_limit_grows(thread: LoopThread, stage: Stage) -> None:
    limit = Limit(1)
    scheduler = Scheduler(thread, stage.play, concurrency=cast("AdaptiveLimit", limit))
    scheduler.submit("abcd")
    stage.wait_for_start_of("a")

    thread.run(limit.resize(3))
    stage.wait_for_start_of("a", "b", "c")

    assert stage.started == ["a", "b", "c"]


def test_fewer_episodes_run_once_the_limit_has_shrunk(thread: LoopThread, stage: Stage) -> None:
    limit = Limit(3)
    scheduler = Scheduler(thread, stage.play, concurrency=cast("AdaptiveLimit", limit))
    scheduler.submit("abcdef")
    stage.wait_for_start_of("a", "b", "c")
    thread.run(limit.resize(1))

    for key in "abc":
        end(thread, stage, key)
        scheduler.future(key).result(PATIENCE_S)
    stage.wait_for_start_of("d")

    assert (stage.started, stage.num_running) == (list("abcd"), 1)


def test_draining_lets_finish_what_runs(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage, concurrency=1)
    scheduler.submit("abc")
    stage.wait_for_start_of("a")

    scheduler.drain("the budget is used up")
    end(thread, stage, "a")

    assert cast("str", scheduler.future("a").result(PATIENCE_S)) == "outcome of a"
    for key in "bc":
        with pytest.raises(NotStartedError, match="the budget is used up"):
            scheduler.future(key).result(PATIENCE_S)
    assert stage.started == ["a"]


def test_what_was_not_started_is_told_as_ended(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage, concurrency=1)
    scheduler.submit("abc")
    stage.wait_for_start_of("a")

    scheduler.drain("enough")

    assert [scheduler.next_finished(PATIENCE_S) for _ in range(2)] == ["b", "c"]
    progress = scheduler.progress()
    assert (progress.num_running, progress.num_finished, progress.num_not_started) == (1, 0, 2)


def test_what_is_submitted_after_draining_is_not_started(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.drain("enough")

    with pytest.raises(NotStartedError, match="enough"):
        scheduler.future("late").result(PATIENCE_S)


def test_the_first_reason_to_drain_stays(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.drain("first")
    scheduler.drain("second")

    with pytest.raises(NotStartedError, match="first"):
        scheduler.future("late").result(PATIENCE_S)
    assert scheduler.refusal == "first"


def test_draining_that_keeps_nothing_from_starting_is_no_refusal(
    thread: LoopThread, stage: Stage
) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("a")
    stage.wait_for_start_of("a")
    scheduler.drain("enough")
    end(thread, stage, "a")
    scheduler.future("a").result(PATIENCE_S)

    assert scheduler.refusal is None


def test_a_reason_to_stop_is_asked_before_each_start(thread: LoopThread, stage: Stage) -> None:
    def reason() -> str | None:
        return "two are enough" if len(stage.started) == 2 else None

    scheduler = Scheduler(thread, stage.play, concurrency=1, stop_reason=reason)
    scheduler.submit("abcd")
    for key in "ab":
        end(thread, stage, key)
        scheduler.future(key).result(PATIENCE_S)

    for key in "cd":
        with pytest.raises(NotStartedError, match="two are enough"):
            scheduler.future(key).result(PATIENCE_S)
    assert stage.started == ["a", "b"]
    assert scheduler.refusal == "two are enough"


def test_outcomes_leave_out_what_was_not_started(thread: LoopThread, stage: Stage) -> None:
    scheduler = scheduler_of(thread, stage)
    scheduler.drain("enough")
    scheduler.submit("a")
    scheduler.next_finished(PATIENCE_S)

    assert scheduler.outcomes() == {}


class Finish:
    """What is done with outcomes, which ends when it is told to."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, _: str, outcome: EpisodeOutcome) -> EpisodeOutcome:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return cast("EpisodeOutcome", f"{outcome}, finished")


def test_the_next_episode_plays_while_one_is_finished(thread: LoopThread, stage: Stage) -> None:
    finish = Finish()
    scheduler = Scheduler(thread, stage.play, concurrency=1, finish=finish)
    scheduler.submit("ab")
    end(thread, stage, "a")
    stage.wait_for_start_of("b")
    progress = scheduler.progress()

    assert not scheduler.future("a").done()
    assert (progress.num_running, progress.num_finished) == (2, 0)
    thread.loop.call_soon_threadsafe(finish.gate.set)
    assert cast("str", scheduler.future("a").result(PATIENCE_S)) == "outcome of a, finished"
    assert scheduler.next_finished(PATIENCE_S) == "a"


def test_what_cannot_be_finished_ends_with_its_error(thread: LoopThread, stage: Stage) -> None:
    finish = Finish()
    finish.error = JournalError("the disk is full")
    finish.gate.set()
    scheduler = Scheduler(thread, stage.play, concurrency=1, finish=finish)
    scheduler.submit("ab")
    stage.wait_for_start_of("a")
    scheduler.submit("c")
    end(thread, stage, "a")

    for key in "ac":
        with pytest.raises(JournalError, match="the disk is full"):
            scheduler.future(key).result(PATIENCE_S)
    assert scheduler.next_finished(PATIENCE_S) in {"a", "b", "c"}


def test_an_episode_that_fails_is_not_finished(thread: LoopThread, stage: Stage) -> None:
    stage.errors["a"] = RuntimeError("a bug")
    scheduler = Scheduler(thread, stage.play, concurrency=1, finish=Finish())
    scheduler.submit("a")
    end(thread, stage, "a")

    with pytest.raises(RuntimeError, match="a bug"):
        scheduler.future("a").result(PATIENCE_S)


def test_cancel_ends_what_is_finished_as_well(thread: LoopThread, stage: Stage) -> None:
    scheduler = Scheduler(thread, stage.play, concurrency=1, finish=Finish())
    scheduler.submit("ab")
    end(thread, stage, "a")
    stage.wait_for_start_of("b")

    scheduler.cancel()

    for key in "ab":
        with pytest.raises(CancelledError):
            scheduler.future(key).result(PATIENCE_S)


def test_closing_the_thread_cancels_what_runs(stage: Stage) -> None:
    thread = LoopThread()
    scheduler = scheduler_of(thread, stage)
    scheduler.submit("a")
    stage.wait_for_start_of("a")

    thread.close(PATIENCE_S)

    assert stage.num_running == 0
    assert thread.loop.is_closed()


def test_a_thread_is_closed_twice_without_harm() -> None:
    thread = LoopThread()
    thread.close(PATIENCE_S)
    thread.close(PATIENCE_S)

    assert thread.loop.is_closed()


def test_run_gives_what_the_coroutine_gives(thread: LoopThread) -> None:
    async def seven() -> int:
        return 7

    assert thread.run(seven()) == 7


def test_run_raises_what_the_coroutine_raises(thread: LoopThread) -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        thread.run(broken())
