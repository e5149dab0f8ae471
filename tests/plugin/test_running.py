"""How episodes run: look-ahead, order, -x, --lf, Ctrl-C, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.patience import until
from tests.plugin.provider import TEN_SOLVED, Crowd, go_forward, never

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request


def test_episodes_are_played_at_once(project: pytest.Pytester, provider: Provider) -> None:
    crowd = Crowd(10)
    provider.answer = crowd.answer

    project.runpytest(TEN_SOLVED).assert_outcomes(passed=10)

    assert crowd.num_most == 10


def test_the_bound_on_requests_in_flight_holds(
    project: pytest.Pytester, provider: Provider
) -> None:
    crowd = Crowd(3)
    provider.answer = crowd.answer

    project.runpytest(TEN_SOLVED, "--babyai-concurrency=3").assert_outcomes(passed=10)

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


def is_of_seed_0(request: Request) -> bool:
    return "green key" in str(request["messages"])


def test_items_run_in_the_order_of_their_episodes_ends(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.makepyfile(
        test_suite="""
        import pathlib, pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode, seed):
            pathlib.Path(f"seed-{seed}").touch()
        """
    )

    async def keep_seed_0_waiting(request: Request) -> web.StreamResponse:
        if is_of_seed_0(request):
            await until((project.path / "seed-2").exists)
        return await go_forward(request)

    provider.answer = keep_seed_0_waiting

    result = project.runpytest("--babyai-seeds=0,2", "--babyai-threshold=0", "-v")

    result.stdout.fnmatch_lines(["*goto-2] PASSED*", "*goto-0] PASSED*"])


def test_stepwise_keeps_the_order_of_the_items(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def seed_2_first(request: Request) -> web.StreamResponse:
        if is_of_seed_0(request):
            await until(lambda: any(not is_of_seed_0(each) for each in provider.requests))
        return await go_forward(request)

    provider.answer = seed_2_first

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
    result = project.runpytest("--babyai-seeds=0,1", "-x")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["1 of 2 episodes*", "*stopping after 1 failures*"])


def test_only_the_last_failures_run_again(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--babyai-seeds=0,2").assert_outcomes(passed=1, failed=1)
    provider.requests.clear()

    result = project.runpytest("--babyai-seeds=0,2", "--lf")

    result.assert_outcomes(failed=1)
    assert len(provider.requests) == 64


def test_an_interrupt_leaves_a_partial_summary(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def hang_on_seed_0(request: Request) -> web.StreamResponse:
        return await (never if is_of_seed_0(request) else go_forward)(request)

    provider.answer = hang_on_seed_0
    command = [sys.executable, "-m", "pytest", "--babyai-seeds=0,2", "-v"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=project.path, env=environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        seen = b""
        while b"goto-2] PASSED" not in seen or b"[ 50%]" not in seen:
            chunk = os.read(process.stdout.fileno(), 4096)
            assert chunk, seen.decode()
            seen += chunk
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read().decode()

    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "1 of 2 episodes" in rest
    assert "KeyboardInterrupt" in rest
