"""What an episode's outcome means to pytest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from aiohttp import web

from tests.plugin.provider import completion, go_forward

if TYPE_CHECKING:
    from tests.plugin.provider import Provider, Request


def test_a_solved_episode_passes(project: pytest.Pytester) -> None:
    result = project.runpytest()

    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.OK


def test_an_episode_below_its_threshold_fails(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0")

    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "progression 0.00 below the threshold 1.00 after 64 of 64 steps",
            "mission: go to the green key",
            "  64  a wall 1 step forward; a wall 2 steps left → go forward",
            "replay: pytest 'test_suite.py::test_episode[[]baseline-goto-0[]]' --babyai-seeds=0",
            "FAILED test_suite.py::test_episode[[]baseline-goto-0[]] - Failed: progression 0.0*",
        ]
    )


def test_a_failed_episode_shows_no_traceback(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0")

    result.stdout.no_fnmatch_line("*pytest_babyai/*")
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_threshold_of_zero_is_always_reached(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0", "--babyai-threshold=0")

    result.assert_outcomes(passed=1)


def test_the_aggregate_gate_expects_failures(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0,2", "--babyai-gate=aggregate", "-rx")

    result.assert_outcomes(passed=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["XFAIL *baseline-goto-0] - progression 0.00 below*"])


def test_runxfail_makes_expected_failures_real(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=0", "--babyai-gate=aggregate", "--runxfail")

    result.assert_outcomes(failed=1)


def test_a_check_of_the_test_itself_fails_a_solved_episode(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode):
            assert babyai_episode.result.num_steps > 99
        """
    )

    result = project.runpytest("--babyai-gate=aggregate")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*assert 1 > 99"])


def test_a_failed_check_below_the_threshold_is_told_with_the_episode(
    project: pytest.Pytester,
) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_episode(babyai_episode):
            assert babyai_episode.result.success, "not solved"
        """
    )

    result = project.runpytest("--babyai-seeds=0")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["progression 0.00 below *", "AssertionError: not solved*"])


def test_an_asynchronous_test_awaits_its_episode(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import asyncio, pytest

        @pytest.mark.babyai
        @pytest.mark.asyncio
        async def test_episode(babyai_episode, variant, task, seed):
            result = await babyai_episode
            await asyncio.sleep(0)
            assert (variant, task, seed) == ("baseline", "goto", 2)
            assert result.progression == 1.0
            assert babyai_episode.passed
        """
    )

    project.runpytest().assert_outcomes(passed=1)


async def internal_error(_: Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "out of order"}}, status=500)


def test_a_failing_provider_is_an_error_and_no_score(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = internal_error

    result = project.runpytest("--babyai-max-attempts=1")

    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["provider error: *out of order*", "*1 error in*"])


async def fail_on_the_grey_key(request: Request) -> web.StreamResponse:
    return await (internal_error if "grey key" in str(request) else go_forward)(request)


def test_an_error_leaves_the_other_episodes_their_results(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = fail_on_the_grey_key

    result = project.runpytest("--babyai-max-attempts=1", "--babyai-seeds=0,2")

    result.assert_outcomes(errors=1, failed=1)
    result.stdout.fnmatch_lines(["episodes*1", "errors*1", "steps*64.0*"])


def test_a_fallback_replaces_a_failed_request_and_is_told_loudly(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = internal_error

    result = project.runpytest(
        "--babyai-max-attempts=1", "--babyai-on-error=fallback", "--babyai-gate=aggregate"
    )

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*random*action*"])


def test_an_answer_that_does_not_parse_goes_forward(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def chatter(_: Request) -> web.StreamResponse:
        return completion("I would rather not.")

    provider.answer = chatter

    result = project.runpytest()

    result.assert_outcomes(passed=1)


def test_the_report_takes_the_time_of_its_episode(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def slowly(request: Request) -> web.StreamResponse:
        await asyncio.sleep(0.2)
        return await go_forward(request)

    provider.answer = slowly
    project.runpytest("--junitxml=junit.xml")

    case = ET.parse(project.path / "junit.xml").find(".//testcase")
    assert case is not None
    assert float(case.attrib["time"]) >= 0.2


def test_junit_tells_failures_from_errors(project: pytest.Pytester, provider: Provider) -> None:
    provider.answer = fail_on_the_grey_key

    project.runpytest("--junitxml=junit.xml", "--babyai-seeds=0,2", "--babyai-max-attempts=1")

    suite = ET.parse(project.path / "junit.xml").find("testsuite")
    assert suite is not None
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("1", "1")


def test_the_fixture_needs_the_marker(project: pytest.Pytester) -> None:
    project.makepyfile(test_suite="def test_episode(babyai_episode): pass")

    result = project.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["babyai_episode needs a test with @pytest.mark.babyai"])


def test_two_tests_of_one_episode_share_it(project: pytest.Pytester, provider: Provider) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        def test_steps(babyai_episode):
            assert babyai_episode.result.num_steps == 1

        @pytest.mark.babyai
        def test_return(babyai_episode):
            assert babyai_episode.result.episode_return > 0.9
        """
    )

    result = project.runpytest()

    result.assert_outcomes(passed=2)
    assert len(provider.requests) == 1
    result.stdout.fnmatch_lines(["1 episode in *"])
