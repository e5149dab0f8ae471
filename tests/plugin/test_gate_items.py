"""Gates as good items: found by test explorers, run by their id, and run again from the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.plugin.provider import TEN_SOLVED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.provider import Provider

AGGREGATE = "--babyai-gate=aggregate"
FAILING = ("--babyai-seeds=20-25", AGGREGATE, "--babyai-fail=success>=0.9", "-p", "cacheprovider")
GATE = "babyai-gates::baseline:success>=0.9"


def test_a_gate_runs_alone_by_its_id_from_the_journal(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest(*FAILING)
    provider.requests.clear()

    result = project.runpytest(GATE, *FAILING)

    result.assert_outcomes(failed=1, deselected=6)
    assert provider.requests == []
    result.stdout.fnmatch_lines(
        ["gates judge 6 episodes of run *, not played again", f"FAILED {GATE} - success 0.*"]
    )


def test_a_gate_is_found_by_the_path_of_a_test_explorer(project: pytest.Pytester) -> None:
    project.runpytest(*FAILING)

    result = project.runpytest(f"{project.path}/{GATE}", *FAILING)

    result.assert_outcomes(failed=1, deselected=6)


def test_a_gate_that_was_never_played_says_so(project: pytest.Pytester) -> None:
    result = project.runpytest(GATE, *FAILING)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gates that run alone judge a run of the journal, *"])


def test_an_unknown_gate_is_one_line(project: pytest.Pytester) -> None:
    result = project.runpytest("babyai-gates::baseline:steps<=3", *FAILING)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: there is no gate 'babyai-gates::*'; there are: {GATE}"])


def test_a_failed_gate_runs_again_without_playing(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest(*FAILING)
    provider.requests.clear()

    result = project.runpytest(*FAILING, "--lf")

    result.assert_outcomes(failed=1, deselected=6)
    assert provider.requests == []


def test_a_deselected_gate_does_not_run(project: pytest.Pytester) -> None:
    result = project.runpytest(*FAILING, "--deselect", GATE)

    result.assert_outcomes(xfailed=6, deselected=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_shard_is_not_judged(project: pytest.Pytester) -> None:
    result = project.runpytest(TEN_SOLVED, "--babyai-shard=1/2", "--babyai-fail=success>=0.1")

    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["1 gate not judged: a shard is a part of the run; *"])


def test_a_test_explorer_can_build_its_tree(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        import pytest

        def pytest_collection_finish(session):
            for item in session.items:
                path = item.parent.path if not isinstance(item, pytest.Function) else item.path
                assert path != session.path and session.path in path.parents
                while path != session.path:
                    path = path.parent
        """
    )

    result = project.runpytest(*FAILING, "--collect-only", "-q")

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([GATE])


def replays(result: pytest.RunResult) -> list[str]:
    return [line.removeprefix("replay: ") for line in result.outlines if line.startswith("replay")]


def test_printed_commands_work_where_they_were_printed(
    project: pytest.Pytester, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    below: Path = project.mkdir("below")
    monkeypatch.chdir(below)
    (below / "options.txt").write_text("--babyai-seeds=0\n--babyai-html=report.html\n")

    result = project.runpytest("..", "@options.txt", "-o", "babyai_threshold=0.5")
    (command,) = replays(result)
    provider.requests.clear()
    again = project.runpytest(*shlex.split(command)[1:])

    again.assert_outcomes(failed=1)
    assert len(provider.requests) == 64
    again.stdout.fnmatch_lines(["progression 0.00 below the threshold 0.50 *"])
