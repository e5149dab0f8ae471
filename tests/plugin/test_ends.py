"""How a run ends: signals, an environment that blocks, a second run in the same process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from tests.plugin.provider import TEN_SOLVED, go_forward, never

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("processes", [(), ("-p", "xdist", "-n", "1")], ids=["one", "xdist"])
def test_a_signal_ends_a_run_as_an_interrupt_does(
    project: pytest.Pytester, provider: Provider, name: str, processes: tuple[str, ...]
) -> None:
    async def hang_on_seed_0(request: Request) -> web.StreamResponse:
        return await (never if "green key" in str(request) else go_forward)(request)

    provider.answer = hang_on_seed_0
    command = [sys.executable, "-m", "pytest", "--babyai-seeds=0,2", "-v", *processes]
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
        process.send_signal(getattr(signal, name))
        rest = process.stdout.read().decode()

    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "1 of 2 episodes" in rest
    assert "go on with: pytest" in rest
    assert name in rest


def test_an_environment_that_blocks_cannot_hang_the_end(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import asyncio, threading, time
        import pytest_babyai.playing.player as player

        original = player.run_episode
        reported, blocked = threading.Event(), threading.Event()

        async def run_episode(spec, **arguments):
            if spec.seed == 53:
                while not reported.is_set():
                    await asyncio.sleep(0.01)
                blocked.set()
                time.sleep(3600)
            return await original(spec, **arguments)

        player.run_episode = run_episode
        player.BLOCKED_S = 0.2

        def pytest_runtest_logreport(report):
            if report.when == "teardown" and "goto-2]" in report.nodeid:
                reported.set()
                blocked.wait()
                raise KeyboardInterrupt
        """
    )

    result = project.runpytest_subprocess(
        "--babyai-seeds=2,53", "--babyai-concurrency=1", "-v", timeout=60
    )

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*1 of 2 episodes*"])


def test_a_second_run_in_one_process_starts_clean_after_a_failure(
    project: pytest.Pytester, provider: Provider
) -> None:
    failed = project.runpytest_inprocess("--babyai-gateway-url=http://127.0.0.1:9")
    assert failed.ret == pytest.ExitCode.USAGE_ERROR

    result = project.runpytest_inprocess(TEN_SOLVED)

    result.assert_outcomes(passed=10)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert len(provider.requests) >= 10


def test_a_finished_episode_never_waits_for_a_store(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import asyncio
        import pytest_babyai.playing.player as player

        class Link:
            tags, num_missing, num_inferences = {}, 0, 0

            async def episode_id(self, spec, repeat=0):
                return None

            async def complete(self, outcome):
                await asyncio.Event().wait()

            def tell(self, outcome, *, is_stored=False):
                pass

            async def close(self, shutdown):
                pass

            def lines(self, run_id):
                return []

        original = player.Player.__init__

        def with_link(self, *arguments, **named):
            original(self, *arguments, **{**named, "link": Link()})

        player.Player.__init__ = with_link
        player.CLOSE_TIMEOUT_S = 0.2
        """
    )

    result = project.runpytest_subprocess(TEN_SOLVED, timeout=60)

    result.assert_outcomes(passed=10)
    assert len(list(open_run(project.path / RUNS_DIRECTORY).entries())) == 10


INTERRUPT = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"


def test_an_interrupt_at_the_start_leaves_nothing_behind(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.makeconftest(
        f"""
        import asyncio
        import pytest_babyai.playing.player as player

        original = player.open_journal

        def open_journal(run, *, run_id):
            {INTERRUPT}
            return original(run, run_id=run_id)

        player.open_journal = open_journal
        """
    )

    result = project.runpytest_subprocess(TEN_SOLVED)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert provider.requests == []
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert not (project.path / RUNS_DIRECTORY).exists()


def test_an_interrupt_in_the_summary_loses_nothing_of_it(project: pytest.Pytester) -> None:
    project.makeconftest(
        f"""
        def pytest_terminal_summary():
            {INTERRUPT}
        """
    )

    result = project.runpytest_subprocess(TEN_SOLVED, "--babyai-md=report.md")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["10 episodes in *", "*report.md written"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_a_clock_that_is_set_back_costs_no_episode(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest("--babyai-seeds=2,53").assert_outcomes(passed=2)
    project.makeconftest(
        """
        import time

        real = time.time
        time.time = lambda: real() - 86_400
        """
    )
    provider.requests.clear()

    result = project.runpytest_subprocess("--babyai-seeds=2,53,85", "--babyai-resume")

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["2 episodes played before, and not played again"])
    entries = list(open_run(project.path / RUNS_DIRECTORY).entries())
    assert [entry.outcome.spec.seed for entry in entries] == [2, 53, 85]
