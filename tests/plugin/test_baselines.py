"""Baselines: who writes them, and what a run says when it is compared with one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.plugin.provider import action

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request

SEEDS = ("--babyai-seeds=2,53,85,1", "--babyai-gate=aggregate")
"""Going forward solves three of them at once, and the last one never."""


async def turn_left(_: Request) -> web.StreamResponse:
    return action("turn left")


@pytest.fixture
def blessed(project: pytest.Pytester) -> pytest.Pytester:
    """A project whose run on these seeds is the baseline ``main``."""
    assert project.runpytest(*SEEDS, "--babyai-save=main").ret == 0
    return project


def test_a_run_is_blessed(blessed: pytest.Pytester) -> None:
    _, *lines = (blessed.path / "config/baselines/main.jsonl").read_text().splitlines()

    assert [json.loads(line)["key"]["seed"] for line in lines] == [1, 2, 53, 85]


def test_nothing_else_writes_a_baseline(blessed: pytest.Pytester) -> None:
    path = blessed.path / "config/baselines/main.jsonl"
    path.chmod(0o444)
    before = path.read_bytes()

    blessed.runpytest("--babyai-seeds=2,53", "--babyai-compare=main", "--babyai-gate=aggregate")

    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["main.jsonl"]


def test_a_baseline_may_be_a_path(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-save=blessed/now.json")

    result.stdout.fnmatch_lines(["baseline *blessed/now.json written; commit it"])
    assert (project.path / "blessed/now.json").is_file()


def test_an_unfinished_run_is_not_blessed(project: pytest.Pytester) -> None:
    result = project.runpytest(
        *SEEDS, "--babyai-concurrency=1", "--babyai-max-tokens=100", "--babyai-save=main"
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: --babyai-save: *episodes were not played*"])
    assert not (project.path / "config/baselines").exists()


def test_a_run_is_compared(blessed: pytest.Pytester) -> None:
    result = blessed.runpytest(*SEEDS, "--babyai-compare=main")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["Compared with baseline main", "* success %*undecided"])


def test_a_worse_run_fails_its_gate(blessed: pytest.Pytester, provider: Provider) -> None:
    provider.answer = turn_left

    result = blessed.runpytest(
        *SEEDS, "--babyai-compare=main", "--babyai-fail=steps>+5%", "--babyai-fail=return<-0.5"
    )

    result.stdout.fnmatch_lines(["*baseline:steps>+5%: steps changed by *"])
    assert result.parseoutcomes()["xfailed"] == 4


def test_an_unknown_baseline_is_one_line(blessed: pytest.Pytester, provider: Provider) -> None:
    provider.requests.clear()

    result = blessed.runpytest(*SEEDS, "--babyai-compare=mian")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --babyai-compare: no baseline 'mian' in *'main'*"])
    assert not provider.requests


def test_a_baseline_of_other_seeds_is_refused_before_anything_is_paid(
    blessed: pytest.Pytester, provider: Provider
) -> None:
    provider.requests.clear()

    result = blessed.runpytest("--babyai-seeds=20-22", "--babyai-compare=main")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: baseline main: no task and seed in common: *"])
    assert not provider.requests


def test_a_baseline_of_other_levels_is_refused_before_anything_is_paid(
    blessed: pytest.Pytester, provider: Provider
) -> None:
    provider.requests.clear()

    result = blessed.runpytest(*SEEDS, "--babyai-compare=main", "--babyai-num-dists=3")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: baseline main: * levels are not the ones of this run*"])
    assert not provider.requests


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"pytest_babyai_baseline": 99}', "*main.jsonl: *written with baseline schema 99*"),
        ("[1, 2", "*main.jsonl: no baseline, or a damaged one: Expecting*"),
        ('{"schema": 3}', "*main.jsonl: *this is none of pytest-babyai; write one with*"),
    ],
    ids=["schema", "torn", "other"],
)
def test_a_baseline_that_cannot_be_read_is_one_line(
    blessed: pytest.Pytester, content: str, line: str
) -> None:
    (blessed.path / "config/baselines/main.jsonl").write_text(content)

    result = blessed.runpytest(*SEEDS, "--babyai-compare=main")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {line}"])


def test_several_processes_compare_once(blessed: pytest.Pytester) -> None:
    result = blessed.runpytest(
        *SEEDS, "-p", "xdist", "-n", "2", "--babyai-compare=main", "--babyai-fail=success<-0.05"
    )

    assert result.ret == pytest.ExitCode.OK
    assert result.stdout.str().count("Compared with baseline main") == 1
    result.assert_outcomes(passed=3, xfailed=1, skipped=1)


def test_several_processes_refuse_an_unknown_baseline(blessed: pytest.Pytester) -> None:
    result = blessed.runpytest(*SEEDS, "-p", "xdist", "-n", "2", "--babyai-compare=mian")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --babyai-compare: no baseline 'mian'*"])


def test_several_processes_bless_once(project: pytest.Pytester) -> None:
    project.runpytest(*SEEDS, "-p", "xdist", "-n", "2", "--babyai-save=main")

    assert (project.path / "config/baselines/main.jsonl").is_file()


def test_variants_are_compared_with_the_first(project: pytest.Pytester) -> None:
    result = project.runpytest(*SEEDS, "--babyai-variants=baseline,history")

    result.stdout.fnmatch_lines(
        ["* success % against variant baseline (95 %):", "  history *undecided"]
    )
