"""One time limit for many calls, on a loop of virtual time."""

from __future__ import annotations

import asyncio

import pytest

from pytest_babyai.gateway.time_limit import TimeLimit
from tests.unit.playing.virtual_time import loop_time_s, run_virtually


def test_a_call_in_time_gives_its_result() -> None:
    async def main() -> object:
        return await TimeLimit(5).wait_for(asyncio.sleep(4.9, "done"))

    assert run_virtually(main) == "done"


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    async def main() -> tuple[bool, float]:
        hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        with pytest.raises(TimeoutError):
            await TimeLimit(5).wait_for(hanging)
        return hanging.cancelled(), loop_time_s()

    assert run_virtually(main) == (True, 5.0)


def test_calls_that_started_later_are_overdue_later() -> None:
    limit = TimeLimit(5)
    ended: list[tuple[str, float]] = []

    async def hang(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            await limit.wait_for(asyncio.Event().wait())
        except TimeoutError:
            ended.append((name, loop_time_s()))

    async def main() -> None:
        await asyncio.gather(hang("late", 2), hang("early", 0), hang("latest", 4))

    run_virtually(main)

    assert ended == [("early", 5.0), ("late", 7.0), ("latest", 9.0)]


def test_the_limit_holds_again_after_a_quiet_time() -> None:
    async def main() -> float:
        limit = TimeLimit(5)
        await limit.wait_for(asyncio.sleep(0))
        await asyncio.sleep(15)
        with pytest.raises(TimeoutError):
            await limit.wait_for(asyncio.Event().wait())
        return loop_time_s()

    assert run_virtually(main) == 20.0


def test_a_call_keeps_its_own_error() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_virtually(lambda: TimeLimit(5).wait_for(broken()))


def test_cancelling_the_waiter_cancels_the_call() -> None:
    async def main() -> bool:
        hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = asyncio.ensure_future(TimeLimit(5).wait_for(hanging))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        return hanging.cancelled()

    assert run_virtually(main)
