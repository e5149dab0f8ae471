"""Budgets, errors that a run puts up with, adaptive concurrency, the plan, and repetition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from tests.patience import until
from tests.plugin.provider import TEN_SOLVED, go_forward, never

if TYPE_CHECKING:
    from tests.plugin.provider import Provider, Request

TEN_SEEDS = ("--babyai-seeds=0-9", "--babyai-threshold=0")
BUDGET_EXIT = 8


async def internal_error(_: Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "out of order"}}, status=500)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ("--babyai-max-tokens=7k", "token budget used up: * of 7,000 tokens (--babyai-max-tokens)"),
        ("--babyai-max-time=0.001s", "time budget used up: *(--babyai-max-time)"),
    ],
    ids=["tokens", "time"],
)
def test_a_used_up_budget_leaves_the_rest_unplayed(
    project: pytest.Pytester, budget: str, reason: str
) -> None:
    # 64 steps of 110 tokens are 7,040 tokens an episode.
    result = project.runpytest(*TEN_SEEDS, "--babyai-concurrency=1", budget, "-rs")

    assert result.ret == BUDGET_EXIT
    outcomes = result.parseoutcomes()
    assert outcomes["skipped"] >= 7
    assert outcomes.get("passed", 0) + outcomes["skipped"] == 10
    result.stdout.fnmatch_lines([f"SKIPPED * not played: {reason}"])


def test_what_a_budget_left_is_played_by_resuming(
    project: pytest.Pytester, provider: Provider
) -> None:
    # Seed 0 alone takes more than that; going forward solves the others at once.
    four = ("--babyai-seeds=0,2,53,85", "--babyai-threshold=0", "--babyai-concurrency=1")
    first = project.runpytest(*four, "--babyai-max-tokens=7k")
    first.stdout.fnmatch_lines(["go on with: pytest *--babyai-resume=*"])
    num_first = len(provider.requests)
    played = first.parseoutcomes().get("passed", 0)

    project.runpytest(*four, "--babyai-resume").assert_outcomes(passed=4)

    assert 0 < played < 4
    entries = list(open_run(project.path / RUNS_DIRECTORY).entries())
    assert len(entries) == 4
    assert sum(entry.outcome.num_steps for entry in entries) == len(provider.requests)
    assert num_first < len(provider.requests)


def test_an_unknown_price_is_told_once(project: pytest.Pytester) -> None:
    result = project.runpytest(TEN_SOLVED, "--babyai-max-cost=5")

    result.assert_outcomes(passed=10)
    assert result.stdout.str().count("no price is known") == 1


def test_too_many_errors_end_the_run_early(project: pytest.Pytester, provider: Provider) -> None:
    provider.answer = internal_error

    result = project.runpytest(
        *TEN_SEEDS, "--babyai-max-errors=2", "--babyai-max-attempts=1", "--babyai-concurrency=1"
    )

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(errors=3, skipped=7)


def test_auto_concurrency_finds_what_the_provider_bears(
    project: pytest.Pytester, provider: Provider
) -> None:
    num_now, num_refused = 0, 0

    async def at_most_four(request: Request) -> web.StreamResponse:
        nonlocal num_now, num_refused
        num_now += 1
        try:
            if num_now > 4:
                num_refused += 1
                return web.json_response({"error": {"message": "slow down"}}, status=429)
            await until(lambda: num_refused)
            return await go_forward(request)
        finally:
            num_now -= 1

    provider.answer = at_most_four

    result = project.runpytest(TEN_SOLVED, "--babyai-concurrency=auto", "--babyai-max-attempts=9")

    result.assert_outcomes(passed=10)
    manifest = open_run(project.path / RUNS_DIRECTORY).manifest
    events = [decision["event"] for decision in manifest.session.notes["concurrency"]]
    assert "cut" in events


def test_an_episode_that_takes_too_long_is_an_error(
    project: pytest.Pytester, provider: Provider
) -> None:
    provider.answer = never

    result = project.runpytest("--babyai-episode-timeout=0.2s")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["timeout error: *0.2 s*"])


def test_a_plan_plays_nothing(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest(*TEN_SEEDS, "--babyai-plan")

    assert result.ret == pytest.ExitCode.OK
    assert provider.requests == []
    assert not (project.path / ".babyai").exists()
    result.stdout.fnmatch_lines(
        [
            "plan: 10 episodes * seeds: 0–9*",  # noqa: RUF001
            "baseline*goto*10*640*",
            "*smallest difference*",
            "Assumed: every episode plays to its step limit*",
        ]
    )


def test_a_plan_rests_on_what_was_played_before(project: pytest.Pytester) -> None:
    project.runpytest("--babyai-seeds=2")

    result = project.runpytest("--babyai-seeds=2-4", "--babyai-plan")

    result.stdout.fnmatch_lines(["about 3 requests*", "*rest on 1 past episode.*"])


def test_repeats_play_an_episode_several_times(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = project.runpytest("--babyai-repeats=3", "-v")

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*test_episode[[]baseline-goto-2-r0[]] PASSED*"])
    seeds = {request["seed"] for request in provider.requests}
    assert len(seeds) == 3


def test_a_single_play_leaves_the_model_its_own_seed(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest()

    assert provider.requests[0].get("seed") is None


def test_repeats_are_resumed_one_by_one(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--babyai-repeats=2")
    provider.requests.clear()

    project.runpytest("--babyai-repeats=3", "--babyai-resume").assert_outcomes(passed=3)

    assert len(provider.requests) == 1


def test_a_run_ends_though_the_model_hangs(project: pytest.Pytester, provider: Provider) -> None:
    async def hang_on_seed_0(request: Request) -> web.StreamResponse:
        return await (never if "green key" in str(request) else go_forward)(request)

    provider.answer = hang_on_seed_0

    project.runpytest("--babyai-seeds=1,0", "-x").assert_outcomes(failed=1)


UNTIL = ("--babyai-seeds=20-99", "--babyai-gate=aggregate", "--babyai-concurrency=4")


def test_a_variant_that_is_known_well_enough_is_stopped(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = project.runpytest(*UNTIL, "--babyai-until=±0.25", "-rs")

    assert result.ret == pytest.ExitCode.OK
    outcomes = result.parseoutcomes()
    assert outcomes["skipped"] > 20
    assert outcomes["skipped"] + outcomes["xfailed"] + outcomes.get("passed", 0) == 80
    assert len(provider.requests) < 60 * 64
    result.stdout.fnmatch_lines(
        [
            "baseline: stopped after * of 80 seeds, success *",
            "SKIPPED * not played: success of baseline is known well enough after *",
        ]
    )


def test_a_stopped_run_is_whole(project: pytest.Pytester) -> None:
    result = project.runpytest(
        *UNTIL, "--babyai-until=±0.25", "--babyai-save=main", "--babyai-fail=errors<=0"
    )

    assert result.ret == pytest.ExitCode.OK
    assert "go on with" not in result.stdout.str()
    result.stdout.fnmatch_lines(
        ["1 gate: 0 failed, 0 inconclusive, 1 passed", "baseline *written*"]
    )


def test_a_precision_that_is_none_is_one_line(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-until=wide")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --babyai-until: *wide*"])
