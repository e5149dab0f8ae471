"""The journal of a run: nothing that finished is lost, nothing is played twice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from pytest_babyai.records import EpisodeResult
from tests.patience import PATIENCE_S, until
from tests.plugin.provider import SOLVED_SEEDS, TEN_SOLVED, completion, go_forward, never

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request

LONG_EPISODES = ("--babyai-seeds=2,0,53,1", "--babyai-threshold=0")
"""Seeds that are solved at once, and seeds that take all of their 64 steps."""

HOLD_THE_END = f"""
import pathlib, time, pytest

@pytest.hookimpl(trylast=True)
def pytest_keyboard_interrupt():
    pathlib.Path("interrupted").touch()
    give_up_s = time.monotonic() + {PATIENCE_S}
    while not pathlib.Path("again").exists() and time.monotonic() < give_up_s:
        time.sleep(0.01)
"""


def journalled(project: pytest.Pytester) -> list[str]:
    """Node ids of the newest run's scores, in the order of the file."""
    log = open_run(project.path / RUNS_DIRECTORY)
    return [entry.nodeid for entry in log.entries() if isinstance(entry.outcome, EpisodeResult)]


def table(result: pytest.RunResult) -> list[str]:
    """The lines of the summary's table that do not depend on time."""
    names = ("variant", "episodes", "errors", "success", "progression", "return", "steps", "input")
    return [line for line in result.outlines if line.startswith(names)]


def test_every_episode_is_a_line_of_the_journal(project: pytest.Pytester) -> None:
    project.runpytest(TEN_SOLVED)

    expected = [f"test_suite.py::test_episode[baseline-goto-{seed}]" for seed in SOLVED_SEEDS]
    assert sorted(journalled(project)) == sorted(expected)


def test_the_journal_keeps_trajectories(project: pytest.Pytester) -> None:
    project.runpytest()

    (entry,) = open_run(project.path / RUNS_DIRECTORY).entries()
    (step,) = entry.outcome.steps
    assert (step.action, step.output) == ("go forward", '{"action": "go forward"}')
    assert entry.layout_fingerprint is not None


def test_trajectories_can_be_left_out(project: pytest.Pytester) -> None:
    project.runpytest("--babyai-trajectories=off")

    (entry,) = open_run(project.path / RUNS_DIRECTORY).entries()
    assert entry.outcome.steps == ()
    assert entry.outcome.num_steps == 1


def test_the_journal_can_be_switched_off(project: pytest.Pytester) -> None:
    project.runpytest("--babyai-journal=off").assert_outcomes(passed=1)

    assert not (project.path / ".babyai").exists()


def test_the_manifest_tells_how_to_repeat_the_run(project: pytest.Pytester) -> None:
    project.runpytest()

    manifest = open_run(project.path / RUNS_DIRECTORY).manifest
    assert manifest.model_label == "fake (fake)"
    assert set(manifest.variants) == {"baseline"}
    assert manifest.variants["baseline"].parts["template system"]
    assert manifest.session.settings["seeds"] == [2]
    assert manifest.session.versions["tensorzero"]


def test_resuming_a_finished_run_asks_nothing(project: pytest.Pytester, provider: Provider) -> None:
    first = project.runpytest(TEN_SOLVED)
    provider.requests.clear()

    second = project.runpytest(TEN_SOLVED, "--babyai-resume")

    second.assert_outcomes(passed=10)
    assert provider.requests == []
    assert table(second) == table(first)
    second.stdout.fnmatch_lines(["10 episodes played before, and not played again"])


def test_the_bare_option_takes_no_path_for_a_run(project: pytest.Pytester) -> None:
    project.runpytest()

    project.runpytest("--babyai-resume", "test_suite.py").assert_outcomes(passed=1)


def test_a_test_sees_the_steps_of_an_episode_that_was_played_before(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode):
            assert [step.action for step in babyai_episode.result.steps] == ["go forward"]
        """
    )
    project.runpytest().assert_outcomes(passed=1)

    project.runpytest("--babyai-resume").assert_outcomes(passed=1)


def test_a_failed_episode_is_played_again(project: pytest.Pytester, provider: Provider) -> None:
    async def reset(_: Request) -> web.StreamResponse:
        raise ConnectionResetError

    provider.answer = reset
    project.runpytest("--babyai-max-attempts=1").assert_outcomes(errors=1)
    provider.answer = go_forward

    project.runpytest("--babyai-resume").assert_outcomes(passed=1)


def test_new_seeds_and_variants_are_played_and_nothing_else(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest("--babyai-seeds=2")
    provider.requests.clear()

    result = project.runpytest(
        "--babyai-seeds=2", "--babyai-variants=baseline,history", "--babyai-resume"
    )

    result.assert_outcomes(passed=2)
    assert len(provider.requests) == 1


def test_a_changed_setting_is_refused_by_name(project: pytest.Pytester) -> None:
    project.runpytest()

    result = project.runpytest("--babyai-resume", "--babyai-history-length=3")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: cannot resume run *: history_length 8 → 3; *"])


def test_an_unknown_run_is_refused(project: pytest.Pytester) -> None:
    project.runpytest()

    result = project.runpytest("--babyai-resume=yesterday")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: no run 'yesterday' in *"])


def test_processes_share_one_complete_journal(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest(TEN_SOLVED, "-n", "2")

    result.assert_outcomes(passed=10)
    assert len(journalled(project)) == len(set(journalled(project))) == 10
    provider.requests.clear()

    project.runpytest(TEN_SOLVED, "-n", "2", "--babyai-resume").assert_outcomes(passed=10)
    assert provider.requests == []


def test_a_worker_that_crashes_takes_no_episode_along(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import os, pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode): pass

        def test_other():
            os._exit(1)
        """
    )

    result = project.runpytest(TEN_SOLVED, "-p", "xdist", "-n", "2")

    result.assert_outcomes(passed=10, failed=1)
    assert len(set(journalled(project))) == 10


class Dwindling:
    """Answers so many requests, and no more."""

    def __init__(self, num_answers: int) -> None:
        self.is_over = threading.Event()
        self._num_left = num_answers

    async def answer(self, request: Request) -> web.StreamResponse:
        self._num_left -= 1
        if self._num_left < 0:
            self.is_over.set()
            return await never(request)
        return await go_forward(request)


async def hang_on_long_episodes(request: Request) -> web.StreamResponse:
    text = str(request["messages"])
    is_long = "green key" in text or "yellow key" in text
    return await (never if is_long else go_forward)(request)


class Running:
    """A pytest process in which two of four episodes are reported, and two hang."""

    def __init__(self, project: pytest.Pytester, provider: Provider) -> None:
        self._path = project.path
        self._printed = b""
        provider.answer = hang_on_long_episodes
        self.process = start(project, "-v")
        assert self.process.stdout is not None
        while b"[ 50%]" not in self._printed:  # the line has no end yet
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, self._printed.decode()
            self._printed += part

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def interrupt_again(self) -> None:
        """Sends another Ctrl-C while the first is being heeded; see `HOLD_THE_END`."""
        asyncio.run(until((self._path / "interrupted").exists))
        self.process.send_signal(signal.SIGINT)
        (self._path / "again").touch()

    def printed(self) -> str:
        """Waits for the end."""
        rest, _ = self.process.communicate()
        return (self._printed + rest).decode()


def start(project: pytest.Pytester, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-u", "-m", "pytest", *LONG_EPISODES, "--babyai-concurrency=2"]
    return subprocess.Popen([*command, *options], cwd=project.path, stdout=subprocess.PIPE)


@pytest.mark.parametrize("num_answers", [4, 60, 128])
def test_a_killed_run_ends_as_an_unbroken_one(
    project: pytest.Pytester, provider: Provider, num_answers: int
) -> None:
    unbroken = project.runpytest(*LONG_EPISODES)
    num_requests = len(provider.requests)
    dwindling = Dwindling(num_answers)
    provider.answer = dwindling.answer
    with start(project) as process:
        assert dwindling.is_over.wait(PATIENCE_S)
        process.kill()
    finished = set(journalled(project))
    provider.answer = go_forward
    provider.requests.clear()

    resumed = project.runpytest(*LONG_EPISODES, "--babyai-resume")

    assert table(resumed) == table(unbroken)
    assert len(set(journalled(project))) == len(journalled(project)) == 4
    assert len(finished) < 4
    assert len(provider.requests) <= num_requests


def test_an_interrupted_run_tells_how_to_go_on(
    project: pytest.Pytester, provider: Provider
) -> None:
    running = Running(project, provider)

    running.interrupt()

    command = r"go on with: pytest .*--babyai-resume=\d{8}-\d{6}-\w+"
    assert re.search(command, running.printed())


def test_a_second_interrupt_spoils_nothing(project: pytest.Pytester, provider: Provider) -> None:
    project.makeconftest(HOLD_THE_END)
    running = Running(project, provider)

    running.interrupt()
    running.interrupt_again()

    printed = running.printed()
    assert running.process.returncode == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in printed
    assert "go on with: " in printed


def test_two_runs_in_one_directory_are_two_runs(project: pytest.Pytester) -> None:
    command = [sys.executable, "-m", "pytest", TEN_SOLVED]
    both = [subprocess.Popen(command, cwd=project.path, stdout=subprocess.DEVNULL) for _ in "ab"]

    assert [process.wait() for process in both] == [0, 0]
    runs = [path for path in (project.path / RUNS_DIRECTORY).iterdir() if path.is_dir()]
    assert [len((run / "episodes.jsonl").read_text().splitlines()) for run in runs] == [10, 10]


def test_a_full_disk_ends_the_run_with_one_line(project: pytest.Pytester) -> None:
    six_long_ones = ("--babyai-seeds=0,1,3-6", "--babyai-threshold=0")
    limited = (
        "import resource, sys, pytest;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", limited, *six_long_ones, "-p", "no:cacheprovider"]

    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert re.search(
        r"Exit: .*episodes\.jsonl: File too large.*earlier episodes are kept", done.stdout
    )
    assert 0 < len(journalled(project)) < 6


def test_no_secret_reaches_the_journal(
    project: pytest.Pytester, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "topsecret-0123456789"  # noqa: S105 - made up
    monkeypatch.setenv("MY_API_KEY", secret)

    async def echo(_: Request) -> web.StreamResponse:
        return completion(f'{{"thinking": "the key is {secret}", "action": "go forward"}}')

    provider.answer = echo
    project.runpytest()

    written = b"".join(
        p.read_bytes() for p in Path(project.path, ".babyai").rglob("*") if p.is_file()
    )
    assert b"the key is" in written
    assert secret.encode() not in written
