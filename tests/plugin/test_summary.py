"""The summary in the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.plugin.provider import completion, go_forward

if TYPE_CHECKING:
    from aiohttp import web

    from tests.plugin.provider import Provider, Request


def test_the_summary_names_model_seeds_time_and_requests(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-seeds=1-2", "--babyai-threshold=0")

    result.stdout.fnmatch_lines(
        [
            "*= BabyAI episodes =*",
            "model: fake (fake)",
            "seeds: 1–2 · *",  # noqa: RUF001
            "2 episodes in * s · * requests · * requests/s",
        ]
    )


def cells(result: pytest.RunResult, name: str) -> str:
    (line,) = (line for line in result.outlines if re.match(rf"{name}  ", line))
    return " ".join(line.removeprefix(name).split())


def test_means_come_with_their_standard_errors(project: pytest.Pytester) -> None:
    # Seed 2 is solved in one step, seed 0 not in its 64.
    result = project.runpytest("--babyai-seeds=0,2", "--babyai-threshold=0")

    assert cells(result, "episodes") == "2"
    assert cells(result, "success") == "50.0 ± 50.0 %"
    assert cells(result, "steps") == "32.5 ± 31.5"
    assert cells(result, "input tokens") == "3,250 ± 3,150"
    assert cells(result, "output tokens") == "325 ± 315"


def test_one_episode_has_no_standard_error(project: pytest.Pytester) -> None:
    result = project.runpytest()

    assert cells(result, "steps") == "1.0 ± –"  # noqa: RUF001


def test_errors_are_in_no_mean(project: pytest.Pytester, provider: Provider) -> None:
    async def refuse_the_grey_key(request: Request) -> web.StreamResponse:
        if "grey key" in str(request):
            raise ConnectionResetError
        return await go_forward(request)

    provider.answer = refuse_the_grey_key

    result = project.runpytest("--babyai-seeds=0,2", "--babyai-max-attempts=1")

    assert cells(result, "episodes") == "1"
    assert cells(result, "errors") == "1"
    assert cells(result, "success") == "0.0 ± –"  # noqa: RUF001


def test_variants_are_columns_or_rows_in_the_order_of_the_settings(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest("--babyai-variants=history,baseline")

    (header,) = (line for line in result.outlines if line.startswith("variant "))
    assert header.split() == ["variant", "history", "baseline"]


def test_verbose_adds_a_table_for_each_task(project: pytest.Pytester) -> None:
    result = project.runpytest("-v", "--babyai-tasks=goto,pickup", "--babyai-threshold=0")

    result.stdout.fnmatch_lines(["task goto", "task pickup"])


def test_a_quiet_run_has_no_tables_for_tasks(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-tasks=goto,pickup", "--babyai-threshold=0")

    result.stdout.no_fnmatch_line("task goto")


def test_the_offline_model_is_labelled(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_suite="""
        import pytest

        @pytest.mark.babyai(variants=["history_and_reasoning"], tasks=["goto"], seeds=[2])
        def test_episode(babyai_episode): pass
        """
    )

    result = pytester.runpytest("-o", "asyncio_default_fixture_loop_scope=function")

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["model: babyai-offline (offline) (OFFLINE: a rule-based policy *"])


def test_nothing_is_printed_where_nothing_was_played(project: pytest.Pytester) -> None:
    result = project.runpytest("-k", "nothing")

    result.stdout.no_fnmatch_line("*BabyAI episodes*")


def test_control_characters_of_a_model_do_not_reach_the_terminal(
    project: pytest.Pytester, provider: Provider
) -> None:
    async def bell(_: Request) -> web.StreamResponse:
        return completion('{"action": "\\u0007\\u001b[2J"}')

    provider.answer = bell

    result = project.runpytest("--babyai-seeds=0")

    assert "\x07" not in result.stdout.str()
    assert "\x1b[2J" not in result.stdout.str()


def test_a_run_that_is_interrupted_before_its_first_report_tells_how_to_go_on(
    project: pytest.Pytester,
) -> None:
    suite = project.path / "test_suite.py"
    suite.write_text("def test_stop(): raise KeyboardInterrupt\n" + suite.read_text())

    result = project.runpytest_inprocess(no_reraise_ctrlc=True)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["run *; see it with: *", "go on with: pytest *--babyai-resume=*"])
    assert "BabyAI episodes" not in result.stdout.str()
