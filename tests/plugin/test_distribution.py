"""Several processes: the partition, and pytest's own options beside ``-n``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from pytest_babyai.plugin.distribution import Share, num_episodes, partition, split_evenly
from tests.plugin.provider import TEN_SOLVED

if TYPE_CHECKING:
    from tests.plugin.provider import Provider

nodeids = st.lists(
    st.one_of(
        st.builds("t.py::test_a[baseline-goto-{}]".format, st.integers(0, 20)),
        st.builds("t.py::test_b[x-baseline-goto-{}]".format, st.integers(0, 20)),
        st.builds("t.py::test_c[baseline-goto-{}-r1]".format, st.integers(0, 20)),
        st.builds("t.py::test_plain[{}]".format, st.integers(0, 20)),
    ),
    unique=True,
)


@given(nodeids, st.integers(1, 5))
def test_every_item_is_in_one_part(ids: list[str], num_parts: int) -> None:
    parts = partition(ids, num_parts)

    assert sorted(index for part in parts for index in part) == list(range(len(ids)))
    assert all(part == sorted(part) for part in parts)


@given(nodeids, st.integers(1, 5))
def test_parts_are_of_even_size_where_items_share_no_episode(
    ids: list[str], num_parts: int
) -> None:
    alone = [each for each in ids if "test_a" in each or "test_plain" in each]

    sizes = [len(part) for part in partition(alone, num_parts)]

    assert max(sizes) - min(sizes) <= 1


def test_items_of_one_episode_are_in_the_same_part() -> None:
    ids = [f"t.py::{name}[baseline-goto-{seed}]" for name in ("a", "b") for seed in range(6)]

    for part in partition(ids, 4):
        seeds = [ids[index].rpartition("-")[2] for index in part]
        assert all(seeds.count(seed) == 2 for seed in seeds)


def test_episodes_are_counted_once() -> None:
    ids = ["t.py::a[baseline-goto-1]", "t.py::b[baseline-goto-1]", "t.py::c[3]", "t.py::d"]

    assert num_episodes(ids) == 1


@given(st.integers(1, 1000), st.integers(1, 50))
def test_a_bound_is_shared_out_wholly(total: int, num_parts: int) -> None:
    shares = [split_evenly(total, Share(part, num_parts, [], [])) for part in range(num_parts)]

    assert sum(shares) == max(total, num_parts)
    assert max(shares) - min(shares) <= 1


def test_processes_named_by_tx_play_as_well(project: pytest.Pytester) -> None:
    result = project.runpytest(TEN_SOLVED, "--dist=load", "--tx=2*popen")

    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["10 episodes in *"])


def test_other_ways_of_distributing_play_no_episode_twice(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = project.runpytest("--babyai-seeds=2", "-n", "2", "--dist=loadscope")

    result.assert_outcomes(passed=1)
    assert len(provider.requests) == 1


def test_the_first_failure_ends_all_processes(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest("--babyai-seeds=0,1,3-40", "-n", "2", "-x", "--babyai-concurrency=2")

    assert result.parseoutcomes()["failed"] < 38
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(provider.requests) < 40 * 64


def test_only_selected_episodes_are_played(project: pytest.Pytester, provider: Provider) -> None:
    result = project.runpytest(TEN_SOLVED, "-n", "2", "-k", "goto-162")

    result.assert_outcomes(passed=1)
    assert len(provider.requests) == 3


def test_only_the_last_failures_run_again(project: pytest.Pytester, provider: Provider) -> None:
    project.runpytest("--babyai-seeds=0,2,1", "-n", "2").assert_outcomes(passed=1, failed=2)
    provider.requests.clear()

    project.runpytest("--babyai-seeds=0,2,1", "-n", "2", "--lf").assert_outcomes(failed=2)

    assert len(provider.requests) == 2 * 64


def test_unrelated_tests_are_distributed_as_ever(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.parametrize("number", range(20))
        def test_number(number): pass
        """
    )

    result = project.runpytest("-n", "2")

    result.assert_outcomes(passed=20)
    result.stdout.no_fnmatch_line("*BabyAI*")


def test_a_failed_collection_of_a_setting_ends_with_its_line(project: pytest.Pytester) -> None:
    result = project.runpytest("-n", "2", "--babyai-tasks=gotoo")

    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*'gotoo'*did you mean 'goto'*"])


def test_a_gateway_that_is_down_ends_the_run_of_several_processes_with_one_line(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest(
        "--babyai-gateway-url=http://127.0.0.1:9", "--babyai-seeds=0-19", "-p", "xdist", "-n", "2"
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = [line for line in result.outlines if "nothing answers" in line]
    assert len(told) == 1
    assert "Exit: gateway URL http://127.0.0.1:9: nothing answers" in told[0]
    assert not result.parseoutcomes().get("errors")


def test_decisions_on_concurrency_of_all_workers_are_in_the_manifest(
    project: pytest.Pytester,
) -> None:
    options = ("--babyai-concurrency=auto", "-p", "xdist", "-n", "2")

    project.runpytest(TEN_SOLVED, *options).assert_outcomes(passed=10)

    notes = open_run(project.path / RUNS_DIRECTORY).manifest.session.notes
    assert sorted(notes["concurrency"]) == ["gw0", "gw1"]
    assert all(decisions for decisions in notes["concurrency"].values())
