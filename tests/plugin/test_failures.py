"""What goes wrong around the model: one clear line each, and the other results are kept."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.plugin.provider import completion, go_forward, never

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.plugin.provider import Answer, Provider, Request


async def html(_: Request) -> web.StreamResponse:
    return web.Response(text="<html><body>Welcome</body></html>", content_type="text/html")


async def too_many_requests(_: Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "slow down"}}, status=429)


async def unauthorized(_: Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "bad key sk-abcdefghijklmnop"}}, status=401)


def only_for_the_grey_key(answer: Answer) -> Answer:
    """Seed 2 looks for the grey key; the other seeds get their answers."""

    async def choose(request: Request) -> web.StreamResponse:
        return await (answer if "grey key" in str(request) else go_forward)(request)

    return choose


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (html, "provider error: *"),
        (too_many_requests, "rate limit error: *slow down*"),
    ],
    ids=["html", "429"],
)
def test_a_failing_model_is_a_typed_error_beside_the_other_results(
    project: pytest.Pytester, provider: Provider, answer: Answer, kind: str
) -> None:
    provider.answer = only_for_the_grey_key(answer)

    result = project.runpytest(
        "--babyai-seeds=0,2", "--babyai-threshold=0", "--babyai-max-attempts=1"
    )

    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([kind, "replay: pytest *baseline-goto-2*", "errors*1"])


def test_a_refused_key_ends_the_run_with_one_line(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = unauthorized

    result = project.runpytest("--babyai-seeds=0-39", "--babyai-concurrency=2")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert len(provider.requests) < 10
    (line,) = [each for each in result.outlines if "Exit:" in each]
    assert "401" in line
    assert "sk-abcdefghijklmnop" not in result.stdout.str() + result.stderr.str()


def test_a_model_that_hangs_is_a_timeout_beside_the_other_results(
    project: pytest.Pytester, provider: Provider
) -> None:
    # The other episode asks nothing any more: no answer, however slow the machine, comes too late.
    project.runpytest("--babyai-seeds=53").assert_outcomes(passed=1)
    provider.answer = never

    result = project.runpytest(
        "--babyai-seeds=53,2", "--babyai-max-attempts=1", "--babyai-timeout=0.2", "--babyai-resume"
    )

    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "timeout error: no answer within 0.2 s*",
            "replay: pytest *baseline-goto-2*",
            "errors*1",
        ]
    )


def test_an_empty_answer_goes_forward(project: pytest.Pytester, provider: Provider) -> None:
    async def empty(_: Request) -> web.StreamResponse:
        return completion("")

    provider.answer = empty

    result = project.runpytest()

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 answer without a valid action*"])


def test_a_key_never_reaches_the_output(project: pytest.Pytester, provider: Provider) -> None:
    provider.answer = unauthorized

    result = project.runpytest("--babyai-max-attempts=1")

    assert "sk-abcdefghijklmnop" not in result.stdout.str() + result.stderr.str()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, nor can while the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_server_that_is_down_is_a_provider_error(
    project: pytest.Pytester, closed_port: int
) -> None:
    model = project.path / "fake.toml"
    model.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{closed_port}", model.read_text()))

    result = project.runpytest("--babyai-max-attempts=1")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["provider error: *"])


def test_a_gateway_that_is_down_ends_the_run_with_one_line(
    project: pytest.Pytester, closed_port: int
) -> None:
    url = f"http://127.0.0.1:{closed_port}"

    result = project.runpytest(f"--babyai-gateway-url={url}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gateway URL {url}: nothing answers *"])


def test_balrog_that_is_not_installed_ends_the_run_with_one_line(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-environment=balrog")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: BALROG is not installed; install *"])


def test_a_retry_saves_the_episode(project: pytest.Pytester, provider: Provider) -> None:
    failures = iter([too_many_requests])

    async def fail_once(request: Request) -> web.StreamResponse:
        return await next(failures, go_forward)(request)

    provider.answer = fail_once

    result = project.runpytest()

    result.assert_outcomes(passed=1)
    assert len(provider.requests) == 2


@pytest.mark.parametrize("ci", ["", "true"])
def test_many_failures_are_counted_and_a_few_are_told(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    monkeypatch.setenv("CI", ci)

    result = project.runpytest("--babyai-seeds=20-23", "--babyai-details=2")

    text = result.stdout.str()
    assert text.count("replay: pytest") == 2
    assert text.count("FAILED test_suite.py") == 2
    result.stdout.fnmatch_lines(["variant*goto", "baseline*/4", "*failed*"])


def test_expected_failures_are_no_wall_of_text(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=20-23", "--babyai-gate=aggregate", "-ra")

    assert result.stdout.str().count("XFAIL") == 3


def test_failures_of_other_tests_are_all_told(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_other="""
        import pytest

        @pytest.mark.parametrize("number", range(5))
        def test_other(number): assert False
        """
    )

    result = project.runpytest("--babyai-seeds=0", "--babyai-details=0")

    assert result.stdout.str().count("FAILED test_other.py") == 5
    result.assert_outcomes(failed=6)


class HalfABody(web.Response):
    """Promises a thousand bytes, sends thirty and hangs up."""

    async def prepare(self, request: web.BaseRequest) -> None:
        assert request.transport is not None
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        request.transport.write(head + b'{"id": "c", "choices": [{"mess')
        request.transport.close()

    async def write_eof(self, data: bytes = b"") -> None:
        del data


class Reset(HalfABody):
    """Hangs up without a word."""

    async def prepare(self, request: web.BaseRequest) -> None:
        assert request.transport is not None
        request.transport.abort()


@pytest.mark.parametrize("response", [HalfABody, Reset])
def test_a_broken_connection_is_a_provider_error(
    project: pytest.Pytester, provider: Provider, response: type[web.Response]
) -> None:
    async def break_off(_: Request) -> web.StreamResponse:
        return response()

    provider.answer = break_off

    result = project.runpytest("--babyai-max-attempts=1")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["provider error: *"])
