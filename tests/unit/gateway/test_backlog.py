"""Inferences do not run far ahead of their store; on a loop of virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pytest_babyai.errors import GatewayError
from pytest_babyai.gateway.backlog import WriteBacklog
from pytest_babyai.retries import Clock
from tests.unit.playing.rollout_fakes import FakeClock
from tests.unit.playing.virtual_time import loop_time_s, run_virtually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.records import Usage


class FakeStore:
    """Has what was written into it."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.num_queries = 0
        self.error: GatewayError | None = None

    async def acknowledged(self, ids: Sequence[str]) -> set[str]:
        raise NotImplementedError

    async def stored(self, inference_ids: Sequence[str]) -> set[str]:
        self.num_queries += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return self.written.intersection(inference_ids)

    async def usages(self, inference_ids: Sequence[str]) -> dict[str, Usage]:
        raise NotImplementedError

    async def metrics(self, episode_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        raise NotImplementedError

    async def episodes(self, episode_ids: Sequence[str]) -> set[str]:
        raise NotImplementedError


class Run:
    """Inferences on a store, one after the other."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.store = FakeStore()
        self.num_answered = 0
        self._backlog = WriteBacklog(self.store, clock or Clock(monotonic_s=loop_time_s))

    def play(self, number: int, *, writes: bool) -> None:
        run_virtually(lambda: self.infer(number, writes=writes))

    async def infer(self, number: int, *, writes: bool) -> None:
        for _ in range(number):
            inference_id = str(self.num_answered)
            self.num_answered += 1
            if writes:
                self.store.written.add(inference_id)
            await self._backlog.add(inference_id)

    def write_all(self) -> None:
        self.store.written |= {str(number) for number in range(self.num_answered)}


def test_a_store_that_keeps_up_is_asked_now_and_then() -> None:
    run = Run()

    run.play(100_000, writes=True)

    assert 0 < run.store.num_queries <= 100_000 / 1024


def test_inferences_wait_for_a_store_that_is_behind() -> None:
    run = Run()

    async def main() -> int:
        task = asyncio.create_task(run.infer(8_000, writes=False))
        await asyncio.sleep(1)
        num_ahead = run.num_answered
        run.store.written |= {str(number) for number in range(8_000)}
        await task
        return num_ahead

    assert run_virtually(main) == 4096
    assert run.num_answered == 8_000


def test_a_store_that_is_slow_is_waited_for_as_long_as_it_writes() -> None:
    run = Run()

    async def write_slowly() -> None:
        for number in range(40):
            await asyncio.sleep(2)
            run.store.written |= {str(each) for each in range(number * 1024)}

    async def main() -> int:
        writing = asyncio.create_task(write_slowly())
        await run.infer(20 * 1024, writes=False)
        num_ahead = run.num_answered - len(run.store.written)
        await writing
        return num_ahead

    assert run_virtually(main) <= 4 * 1024


def test_a_row_that_was_lost_holds_nothing_up() -> None:
    run = Run()

    async def main() -> None:
        await run.infer(1024, writes=False)
        await run.infer(8_000, writes=True)

    run_virtually(main)

    assert run.num_answered == 9_024


def test_a_store_that_is_gone_holds_nothing_up() -> None:
    run = Run()
    run.store.error = GatewayError("gone")

    run.play(8_000, writes=False)

    assert run.num_answered == 8_000


def test_a_store_that_writes_nothing_is_not_waited_for_long() -> None:
    clock = FakeClock()
    run = Run(clock.clock())

    run.play(5_000, writes=False)

    assert run.num_answered == 5_000
    assert sum(clock.waits_s) < 6


def test_an_inference_that_is_given_up_leaves_the_others_waiting() -> None:
    run = Run()

    async def main() -> tuple[bool, bool]:
        first = asyncio.create_task(run.infer(4096, writes=False))
        await asyncio.sleep(1)
        second = asyncio.create_task(run.infer(1, writes=False))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(1)
        still_waits = not second.done()
        run.write_all()
        await second
        return first.cancelled(), still_waits

    assert run_virtually(main) == (True, True)
