from __future__ import annotations

import asyncio

import pytest

from pytest_babyai.gateway.time_limit import TimeLimit

pytestmark = pytest.mark.asyncio


async def test_a_call_in_time_gives_its_result() -> None:
    assert await TimeLimit(5).wait_for(asyncio.sleep(0, "done")) == "done"


async def test_a_call_that_takes_too_long_is_cancelled() -> None:
    hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await TimeLimit(0.01).wait_for(hanging)

    assert hanging.cancelled()


async def test_calls_that_started_later_are_overdue_later() -> None:
    limit = TimeLimit(0.05)
    ended: list[str] = []

    async def hang(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        try:
            await limit.wait_for(asyncio.Event().wait())
        except TimeoutError:
            ended.append(name)

    await asyncio.gather(hang("late", 0.02), hang("early", 0), hang("latest", 0.04))

    assert ended == ["early", "late", "latest"]


async def test_the_limit_holds_again_after_a_quiet_time() -> None:
    limit = TimeLimit(0.01)
    await limit.wait_for(asyncio.sleep(0))
    await asyncio.sleep(0.03)

    with pytest.raises(TimeoutError):
        await limit.wait_for(asyncio.Event().wait())


async def test_a_call_keeps_its_own_error() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await TimeLimit(5).wait_for(broken())


async def test_cancelling_the_waiter_cancels_the_call() -> None:
    hanging: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiter = asyncio.ensure_future(TimeLimit(5).wait_for(hanging))
    await asyncio.sleep(0)

    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter

    assert hanging.cancelled()
