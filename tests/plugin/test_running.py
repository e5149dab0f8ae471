"""How episodes run: look-ahead, order, -x, --lf, Ctrl-C, several processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.plugin.provider import action, go_forward

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request


class Crowd:
    """Answers, and remembers how many requests were in flight at once."""

    def __init__(self, latency_s: float = 0.02) -> None:
        self.latency_s = latency_s
        self.num_now = 0
        self.num_most = 0

    async def answer(self, request: Request) -> web.StreamResponse:
        self.num_now += 1
        self.num_most = max(self.num_most, self.num_now)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.num_now -= 1
        return await go_forward(request)


def test_episodes_are_played_at_once(project: pytest.Pytester, provider: Provider) -> None:
    crowd = Crowd()
    provider.answer = crowd.answer

    project.runpytest("--babyai-seeds=0-9", "--babyai-threshold=0").assert_outcomes(passed=10)

    assert crowd.num_most == 10


def test_the_bound_on_requests_in_flight_holds(
    project: pytest.Pytester, provider: Provider
) -> None:
    crowd = Crowd(latency_s=0.005)
    provider.answer = crowd.answer

    result = project.runpytest(
        "--babyai-seeds=0-9", "--babyai-threshold=0", "--babyai-concurrency=3"
    )

    result.assert_outcomes(passed=10)
    assert crowd.num_most == 3


def test_only_selected_episodes_are_played(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest("--babyai-seeds=0-9", "-k", "goto-2", "-v")

    result.assert_outcomes(passed=1, deselected=9)
    assert len(provider.requests) == 1


def test_a_skipped_item_plays_no_episode(project: pytest.Pytester, provider: Provider) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        @pytest.mark.skipif(True, reason="not today")
        def test_episode(babyai_episode): pass
        """
    )

    project.runpytest().assert_outcomes(skipped=1)
    assert provider.requests == []


def test_a_listing_plays_no_episode(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--collect-only")
    project.runpytest("--setup-plan")

    assert provider.requests == []


async def keep_seed_0_waiting(request: Request) -> web.StreamResponse:
    await asyncio.sleep(0.02 if "green key" in str(request["messages"]) else 0)
    return await go_forward(request)


def test_items_run_in_the_order_of_their_episodes_ends(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = keep_seed_0_waiting

    result = project.runpytest("--babyai-seeds=0,2", "--babyai-threshold=0", "-v")

    result.stdout.fnmatch_lines(["*goto-2] PASSED*", "*goto-0] PASSED*"])


def test_stepwise_keeps_the_order_of_the_items(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = keep_seed_0_waiting

    result = project.runpytest("--babyai-seeds=0,2", "--babyai-threshold=0", "-v", "--stepwise")

    result.stdout.fnmatch_lines(["*goto-0] PASSED*", "*goto-2] PASSED*"])


def test_items_of_other_tests_keep_their_places(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        def test_before(): pass

        @pytest.mark.babyai
        def test_episode(babyai_episode): pass

        def test_after(): pass
        """
    )

    result = project.runpytest("-v")

    result.stdout.fnmatch_lines(["*::test_before *", "*::test_episode*", "*::test_after *"])


def test_fixtures_of_a_wider_scope_are_set_up_once(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.fixture(scope="module", params=["a", "b"])
        def judge(request):
            print("judge", request.param)
            yield request.param

        @pytest.mark.babyai(seeds=[0, 2, 5], threshold=0)
        def test_episode(judge, babyai_episode): pass
        """
    )

    result = project.runpytest("-s")

    result.assert_outcomes(passed=6)
    assert result.stdout.str().count("judge") == 2


def test_the_first_failure_ends_the_run(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0,1,3,4", "-x")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1 of 4 episodes*", "*stopping after 1 failures*"])


def test_only_the_last_failures_run_again(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--babyai-seeds=0,2").assert_outcomes(passed=1, failed=1)
    provider.requests.clear()

    result = project.runpytest("--babyai-seeds=0,2", "--lf")

    result.assert_outcomes(failed=1)
    assert len(provider.requests) == 64


def test_processes_play_no_episode_twice(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest("--babyai-seeds=0-5", "--babyai-threshold=0", "-n", "2")

    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["episodes*6", "6 episodes in *"])
    assert len({str(request["messages"]) for request in provider.requests[:6]}) >= 2
    assert len(provider.requests) == sum_of_steps(project)


def sum_of_steps(project: pytest.Pytester) -> int:
    """Plays the same six episodes in one process and counts their requests."""
    done = project.runpytest("--babyai-seeds=0-5", "--babyai-threshold=0")
    (line,) = (line for line in done.outlines if "6 episodes in" in line)
    return int(line.split(" · ")[1].split()[0].replace(",", ""))


def test_a_wrong_option_ends_a_distributed_run(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-variants=histroy", "-n", "2")

    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*unknown variant 'histroy'*did you mean*"])


def test_an_interrupt_leaves_a_partial_summary(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def hang_on_seed_0(request: Request) -> web.StreamResponse:
        if "green key" in str(request["messages"]):
            await asyncio.sleep(60)
        return action("go forward")

    provider.answer = hang_on_seed_0
    command = [sys.executable, "-m", "pytest", "--babyai-seeds=0,2", "-v"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=project.path, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        seen = b""
        while b"goto-2] PASSED" not in seen:
            chunk = os.read(process.stdout.fileno(), 4096)
            assert chunk, seen.decode()
            seen += chunk
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().decode()

    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "1 of 2 episodes" in rest
    assert "KeyboardInterrupt" in rest
