"""Several processes: the controller plays every episode once, and workers share the other tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from tests.plugin.provider import TEN_SOLVED, Crowd

if TYPE_CHECKING:
    from tests.plugin.provider import Provider

XDIST = ("-p", "xdist", "-n", "2")
MIXED = """
import pytest

@pytest.mark.babyai
def test_episode(babyai_episode, pytestconfig):
    assert not hasattr(pytestconfig, "workerinput")

@pytest.mark.parametrize("name", ["user-open-3", "baseline-goto-2"])
def test_unrelated(name, pytestconfig):
    assert pytestconfig.workerinput
"""


@pytest.mark.parametrize(
    "distribution",
    [
        ("--dist=load",),
        ("--dist=loadscope",),
        ("--dist=loadfile",),
        ("--dist=loadgroup",),
        ("--dist=worksteal",),
        ("--dist=load", "--maxschedchunk=1"),
    ],
    ids=" ".join,
)
def test_no_way_of_distributing_plays_an_episode_twice(
    project: pytest.Pytester, provider: Provider, distribution: tuple[str, ...]
) -> None:
    project.makepyfile(test_suite=MIXED)

    result = project.runpytest(TEN_SOLVED, *XDIST, *distribution)

    result.assert_outcomes(passed=12)
    result.stdout.fnmatch_lines(["episodes*10", "10 episodes in *"])
    entries = list(open_run(project.path / RUNS_DIRECTORY).entries())
    assert len(entries) == 10
    assert sum(entry.outcome.num_steps for entry in entries) == len(provider.requests)


def test_tests_that_every_worker_runs_play_no_episode_twice(project: pytest.Pytester) -> None:
    project.makepyfile(test_suite=MIXED)

    result = project.runpytest(TEN_SOLVED, *XDIST, "--dist=each")

    result.assert_outcomes(passed=10 + 2 * 2)


def test_a_distribution_without_processes_deselects_nothing(project: pytest.Pytester) -> None:
    result = project.runpytest(TEN_SOLVED, "--dist=loadfile")

    result.assert_outcomes(passed=10)


def test_processes_named_by_tx_play_as_well(project: pytest.Pytester) -> None:
    result = project.runpytest(TEN_SOLVED, "-p", "xdist", "--dist=load", "--tx=2*popen")

    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["10 episodes in *"])


def test_no_more_requests_are_in_flight_than_allowed(
    project: pytest.Pytester, provider: Provider
) -> None:
    crowd = Crowd(3)
    provider.answer = crowd.answer

    result = project.runpytest(TEN_SOLVED, *XDIST, "--babyai-concurrency=3")

    result.assert_outcomes(passed=10)
    assert crowd.num_most == 3


@pytest.mark.parametrize("extra", [("-x",), ("--maxfail=1",)], ids=" ".join)
def test_the_first_failure_ends_the_run(
    project: pytest.Pytester, provider: Provider, extra: tuple[str, ...]
) -> None:
    result = project.runpytest("--babyai-seeds=0,1,3-40", "--babyai-concurrency=2", *XDIST, *extra)

    result.assert_outcomes(failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(provider.requests) < 40 * 64


def test_only_selected_episodes_are_played(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest(TEN_SOLVED, *XDIST, "-k", "goto-162")

    result.assert_outcomes(passed=1, deselected=9)
    assert len(provider.requests) == 3


def test_only_the_last_failures_run_again(project: pytest.Pytester, provider: Provider) -> None:
    project.makepyfile(test_suite=MIXED)
    seeds = "--babyai-seeds=0,2,1"
    project.runpytest(seeds, *XDIST).assert_outcomes(passed=3, failed=2)
    provider.requests.clear()

    project.runpytest(seeds, *XDIST, "--lf").assert_outcomes(failed=2)

    assert len(provider.requests) == 2 * 64


def test_a_run_is_gone_on_with(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--babyai-seeds=2,53", *XDIST).assert_outcomes(passed=2)
    provider.requests.clear()

    result = project.runpytest("--babyai-seeds=2,53,85", *XDIST, "--babyai-resume")

    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["2 episodes played before, and not played again"])
    assert len(list(open_run(project.path / RUNS_DIRECTORY).entries())) == 3


def test_a_used_up_budget_has_its_exit_code(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-seeds=0-9", "--babyai-threshold=0", "--babyai-concurrency=1",
        "--babyai-max-tokens=7k", *XDIST,
    )  # fmt: skip

    assert result.ret == 8


def test_a_variant_that_is_known_well_enough_is_stopped(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-seeds=20-99", "--babyai-gate=aggregate", "--babyai-concurrency=4",
        "--babyai-until=±0.25", *XDIST,
    )  # fmt: skip

    assert result.ret == pytest.ExitCode.OK
    assert result.parseoutcomes()["skipped"] > 20
    result.stdout.fnmatch_lines(["baseline: stopped after * of 80 seeds, success *"])


def test_a_plan_needs_no_processes(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest("--babyai-plan", *XDIST)

    assert result.ret == pytest.ExitCode.OK
    assert provider.requests == []
    result.stdout.fnmatch_lines(["plan: 1 episode *"])


def test_unrelated_tests_are_distributed_as_ever(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_number(number): pass
        """
    )

    result = project.runpytest(*XDIST)

    result.assert_outcomes(passed=20)
    result.stdout.no_fnmatch_line("*BabyAI*")
    result.stdout.no_fnmatch_line("*collected*")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--babyai-tasks=gotoo", "ERROR: --babyai-tasks: *'gotoo'*did you mean 'goto'*"),
        ("--babyai-variants=histroy", "ERROR: --babyai-variants: *'histroy'*did you mean *"),
        ("--babyai-compare=gone", "ERROR: *gone*"),
        ("--babyai-html=/dev/null/x", "ERROR: --babyai-html: *"),
    ],
)
def test_a_wrong_setting_is_one_line_and_a_usage_error(
    project: pytest.Pytester, option: str, line: str
) -> None:
    result = project.runpytest(*XDIST, option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert len([each for each in result.errlines if each.strip()]) == 1


def test_a_gateway_that_is_down_ends_the_run_with_one_line(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-gateway-url=http://127.0.0.1:9", "--babyai-seeds=0-19", *XDIST
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gateway URL http://127.0.0.1:9: nothing answers*"])
    assert not result.parseoutcomes().get("errors")


def test_a_failed_collection_is_told_once(project: pytest.Pytester, provider: Provider) -> None:
    project.makepyfile(test_broken="import nothing_of_that_name")

    result = project.runpytest(*XDIST)

    result.assert_outcomes(errors=1)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert provider.requests == []


def test_gates_judge_a_test_that_is_parametrized_further(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai
        @pytest.mark.parametrize("extra", ["a", "b"])
        def test_episode(babyai_episode, extra): pass
        """
    )
    options = ("--babyai-seeds=20-25", "--babyai-gate=aggregate", "--babyai-fail=success>=0.9")

    for processes in ((), XDIST):
        result = project.runpytest(*options, *processes)

        result.assert_outcomes(xfailed=12, failed=1)
        assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_decisions_on_concurrency_are_in_the_manifest(project: pytest.Pytester) -> None:
    project.runpytest(TEN_SOLVED, "--babyai-concurrency=auto", *XDIST).assert_outcomes(passed=10)

    notes = open_run(project.path / RUNS_DIRECTORY).manifest.session.notes
    assert notes["concurrency"][0]["event"] == "start"
