"""Other plugins and habits beside the episodes; each test wants its plugin loaded by name."""

from __future__ import annotations

import asyncio
import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.plugin.provider import TEN_SOLVED, Crowd, go_forward

if TYPE_CHECKING:
    from tests.plugin.provider import Provider, Request

AGGREGATE = "--babyai-gate=aggregate"


def run(project: pytest.Pytester, *arguments: str, plugins: tuple[str, ...]) -> pytest.RunResult:
    """Runs pytest in a process of its own with these plugins beside the package's."""
    for plugin in plugins:
        if find_spec(plugin.partition(".")[0]) is None:
            pytest.skip(f"{plugin} is not installed")
    named = [f"-p{name}" for name in ("pytest_asyncio.plugin", "pytest_babyai.plugin", *plugins)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        return project.runpytest_subprocess(*named, *arguments)


def first_request_fails() -> object:
    """Returns an answer that fails once."""
    failed: list[Request] = []

    async def answer(request: Request) -> web.StreamResponse:
        if not failed:
            failed.append(request)
            return web.json_response({"error": {"message": "out of order"}}, status=500)
        return await go_forward(request)

    return answer


def test_a_rerun_plays_a_failed_episode_again(project: pytest.Pytester, provider: Provider) -> None:
    provider.answer = first_request_fails()  # type: ignore[assignment]

    result = run(
        project, "--reruns=1", "--babyai-max-attempts=1", plugins=("pytest_rerunfailures",)
    )

    assert result.parseoutcomes() == {"passed": 1, "rerun": 1}
    # It was played twice, and counts once.
    result.stdout.fnmatch_lines(["episodes*1", "errors*0", "2 episodes in *"])
    assert len(provider.requests) == 2


def test_a_rerun_asks_no_episode_with_a_score_again(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = run(project, "--reruns=2", "--babyai-seeds=0", plugins=("pytest_rerunfailures",))

    assert result.parseoutcomes() == {"failed": 1, "rerun": 2}
    assert len(provider.requests) == 64


def test_repeated_tests_share_their_episode(project: pytest.Pytester, provider: Provider) -> None:
    result = run(project, "--count=3", plugins=("pytest_repeat",))

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["1 episode in *"])
    assert len(provider.requests) == 1


def test_a_time_limit_of_a_test_is_not_charged_for_queueing(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def slowly(request: Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return await go_forward(request)

    provider.answer = slowly

    result = run(
        project, TEN_SOLVED, "--babyai-concurrency=1", "--timeout=2", plugins=("pytest_timeout",)
    )

    result.assert_outcomes(passed=10)


def test_a_soft_check_fails_an_episode_below_its_threshold(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest
        from pytest_check import check

        @pytest.mark.babyai
        def test_episode(babyai_episode):
            check.less(babyai_episode.result.num_steps, 10)
        """
    )

    result = run(project, "--babyai-seeds=0,2", AGGREGATE, plugins=("pytest_check.plugin",))

    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_failed_subtest_fails_an_episode_below_its_threshold(project: pytest.Pytester) -> None:
    if not hasattr(pytest, "Subtests"):
        pytest.skip("this pytest has no subtests of its own")
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode, subtests):
            with subtests.test("short"):
                assert babyai_episode.result.num_steps < 10
        """
    )

    result = run(project, "--babyai-seeds=0,2", AGGREGATE, plugins=())

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert "xfailed" not in result.parseoutcomes()


def test_allure_sees_an_expected_failure(project: pytest.Pytester) -> None:
    result = run(
        project,
        "--babyai-seeds=0",
        AGGREGATE,
        "--alluredir=allure",
        plugins=("allure_pytest.plugin",),
    )  # fmt: skip

    result.assert_outcomes(xfailed=1)
    (path,) = (project.path / "allure").glob("*-result.json")
    told = json.loads(path.read_text())
    assert told["status"] == "skipped"


def test_a_slice_of_another_plugin_is_not_judged(project: pytest.Pytester) -> None:
    result = run(
        project, TEN_SOLVED, "--splits=2", "--group=1", "--babyai-fail=success>=0.1",
        plugins=("pytest_split.plugin",),
    )  # fmt: skip

    result.assert_outcomes(passed=5, deselected=5)
    result.stdout.fnmatch_lines(["1 gate not judged: 5 episodes were left out by another plugin"])


@pytest.mark.parametrize(
    "name",
    [
        "asyncio", "cacheprovider", "capture", "debugging", "doctest", "faulthandler", "junitxml",
        "logging", "setuponly", "setupplan", "skipping", "stepwise", "terminal", "warnings",
    ],
)  # fmt: skip
def test_a_plugin_of_pytest_that_is_missing_is_not_missed(
    project: pytest.Pytester, provider: Provider, name: str
) -> None:
    result = run(project, f"-pno:{name}", "--babyai-seeds=2,0", plugins=())

    assert result.ret == pytest.ExitCode.TESTS_FAILED  # seed 0 is not solved
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert len(provider.requests) == 65


def test_an_episode_may_be_asked_for_by_name(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(request):
            assert request.getfixturevalue("babyai_episode").result.success
        """
    )

    result = project.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 episode in *"])


def test_a_test_case_is_refused_in_one_line(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import unittest, pytest

        @pytest.mark.babyai
        class TestAgent(unittest.TestCase):
            def test_episode(self): pass
        """
    )

    result = project.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: test_suite.py::TestAgent::test_episode: *TestCase*"])


@pytest.mark.parametrize("name", ["seed", "variant", "task"])
def test_a_parameter_of_ours_that_the_test_gives_itself_is_one_line(
    project: pytest.Pytester, name: str
) -> None:
    project.makepyfile(
        test_suite=f"""
        import pytest

        @pytest.mark.babyai
        @pytest.mark.parametrize("{name}", [1, 2])
        def test_episode(babyai_episode, {name}): pass
        """
    )

    result = project.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_suite.py::test_episode: '{name}' is parametrized *"])
    assert len([line for line in result.errlines if line.strip()]) == 1


def test_setup_only_plays_nothing(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest("--setup-only")

    assert provider.requests == []
    assert result.ret == pytest.ExitCode.OK


def test_the_debugger_stops_in_the_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode):
            own_name = "here"
            assert babyai_episode.result.success
        """
    )

    child = project.spawn_pytest("--pdb --babyai-seeds=0 test_suite.py")
    child.expect("Pdb")
    child.sendline("p own_name")
    child.expect("'here'")
    child.sendeof()
    child.wait()


def test_marks_that_may_skip_keep_no_suite_serial(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.makepyfile(
        test_suite="""
        import sys, pytest

        @pytest.mark.babyai
        @pytest.mark.skipif(sys.version_info < (3, 0), reason="old")
        @pytest.mark.xfail(strict=False)
        def test_episode(babyai_episode): pass
        """
    )
    crowd = Crowd(10)
    provider.answer = crowd.answer

    project.runpytest(TEN_SOLVED).assert_outcomes(xpassed=10)

    assert crowd.num_most == 10


def test_options_without_a_marked_test_are_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_plain(): pass")
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")

    result = pytester.runpytest("--babyai-episodes=5", "--babyai-seed=3")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["WARNING: --babyai-episodes, --babyai-seed without effect: no collected test is marked *"]
    )
