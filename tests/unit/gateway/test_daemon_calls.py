"""Calls on threads that nobody waits for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from pytest_babyai.gateway.daemon_calls import call_on_daemon
from tests.patience import PATIENCE_S, until

HANGS = """
import asyncio, threading
from pytest_babyai.gateway.daemon_calls import call_on_daemon

async def main():
    try:
        await asyncio.wait_for(call_on_daemon(threading.Event().wait), 0.01)
    except asyncio.TimeoutError:
        print("gave up", flush=True)

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_what_a_function_returns_comes_back() -> None:
    assert await call_on_daemon(divmod, 7, 2) == (3, 1)


@pytest.mark.asyncio
async def test_what_a_function_raises_comes_back() -> None:
    with pytest.raises(ZeroDivisionError):
        await call_on_daemon(divmod, 7, 0)


@pytest.mark.asyncio
async def test_a_call_that_nobody_waits_for_any_longer_ends_unheard() -> None:
    may_end = threading.Event()
    threads: list[threading.Thread] = []
    problems: list[dict[str, Any]] = []

    def wait() -> None:
        threads.append(threading.current_thread())
        may_end.wait(PATIENCE_S)

    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call_on_daemon(wait), 0.01)
    may_end.set()
    await until(lambda: threads and not threads[0].is_alive())
    await asyncio.sleep(0)

    assert problems == []


def test_a_call_that_hangs_lets_a_process_end() -> None:
    program = [sys.executable, "-c", HANGS]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE_S, check=True)

    assert done.stdout == "gave up\n"
