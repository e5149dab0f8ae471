"""Gates: which items there are, how they end, and what they leave in reports."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from tests.plugin.provider import TEN_SOLVED

if TYPE_CHECKING:
    from tests.plugin.provider import Provider, Request

NO_THRESHOLD = "--babyai-threshold=0"
AGGREGATE = "--babyai-gate=aggregate"
FAILING = ("--babyai-seeds=20-25", AGGREGATE, "--babyai-fail=success>=0.9")
"""None of these seeds is solved by going forward."""

MARKED = """
import pytest

@pytest.mark.babyai(fail="steps<=1")
def test_quick(babyai_episode):
    pass

@pytest.mark.babyai
def test_any(babyai_episode):
    pass
"""


async def internal_error(_: Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "out of order"}}, status=500)


def test_a_gate_that_holds_passes(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-fail=success>=1", "-v")

    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["babyai-gates::baseline:success>=1 PASSED*"])


def test_a_gate_that_does_not_hold_fails_the_run(project: pytest.Pytester) -> None:
    result = project.runpytest(*FAILING)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines(["FAILED babyai-gates::baseline:success>=0.9 - success 0.*"])


def test_a_failed_gate_shows_no_traceback(project: pytest.Pytester) -> None:
    printed = project.runpytest(*FAILING).stdout.str()

    assert "gates.py" not in printed
    assert "Traceback" not in printed


def test_an_undecided_gate_is_skipped_with_what_would_decide(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-fail=success>=0.5", "-rs")

    result.assert_outcomes(passed=1, skipped=1)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["SKIPPED * inconclusive: *a single seed shows no spread"])


def test_every_variant_and_task_of_a_rule_is_a_gate(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-variants=baseline,history",
        "--babyai-tasks=goto,pickup",
        "--babyai-fail=*/*:errors<=0",
        "--collect-only",
        "-q",
    )

    result.stdout.fnmatch_lines(
        [
            f"babyai-gates::{variant}/{task}:errors<=0"
            for variant in ("baseline", "history")
            for task in ("goto", "pickup")
        ]
    )


def test_several_rules_may_be_given(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-fail=success>=1", "--babyai-fail=errors<=0, steps<=64")

    assert sum(result.parseoutcomes().values()) == 4


def test_rules_of_the_ini_file_stand_on_lines(project: pytest.Pytester) -> None:
    ini = project.path / "tox.ini"
    ini.write_text(ini.read_text().rstrip() + "\nbabyai_fail =\n    success>=1\n    errors<=0\n")

    project.runpytest().assert_outcomes(passed=3)


def test_rules_of_the_settings_file_are_a_list(project: pytest.Pytester) -> None:
    config = project.path / "config"
    project.runpython_c("import pytest_babyai.__main__ as m; m.main(['init', '.'])")
    (config / "babyai.yml").write_text("fail: ['success>=1', 'errors<=0']\n")

    result = project.runpytest("test_suite.py")

    result.assert_outcomes(passed=3)


def test_rules_may_be_meant_for_one_model(project: pytest.Pytester) -> None:
    marker = '@pytest.mark.babyai(fail={"fake.toml": "success>=1", "offline": ["errors<=0"]})'
    suite = project.path / "test_suite.py"
    suite.write_text(suite.read_text().replace("@pytest.mark.babyai", marker))

    result = project.runpytest("-v")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["babyai-gates::*baseline:success>=1 PASSED*"])


def test_rules_of_a_marker_judge_the_episodes_of_its_test(project: pytest.Pytester) -> None:
    project.makepyfile(test_suite=MARKED)

    result = project.runpytest("-v")

    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.fnmatch_lines(
        ["babyai-gates::test_suite.py::test_quick::baseline:steps<=1 SKIPPED*"]
    )


def test_a_typo_in_a_rule_ends_the_run_before_it_starts(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = project.runpytest("--babyai-fail=sucess>=0.5")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: --babyai-fail: rule 'sucess>=0.5': unknown metric *did you mean 'success'?*"]
    )
    assert not provider.requests


def test_a_change_without_anything_to_compare_with_is_refused(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-fail=success<-0.05")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --babyai-fail: *needs a second variant, or a baseline*"])


def test_rules_of_a_file_wait_for_their_variant_and_their_baseline(
    project: pytest.Pytester,
) -> None:
    ini = project.path / "tox.ini"
    rules = ("history:success>=1", "baseline/open:success>=1", "success<-0.05", "errors<=0")
    text = ini.read_text().rstrip() + "\nbabyai_fail ="
    ini.write_text("\n    ".join([text, *rules]) + "\n")

    project.runpytest().assert_outcomes(passed=2)


def test_a_change_may_refer_to_another_variant(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-variants=baseline,history",
        TEN_SOLVED,
        AGGREGATE,
        "--babyai-reference=baseline",
        "--babyai-fail=success<-0.05",
        "-v",
    )

    # Ten seeds that agree are no proof.
    result.stdout.fnmatch_lines(["babyai-gates::history:success<-0.05 SKIPPED*"])
    assert "babyai-gates::baseline:" not in result.stdout.str()


def test_an_unknown_variant_of_reference_is_one_line(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-reference=histroy")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --babyai-reference: unknown variant 'histroy'; *"])


def test_gates_judge_what_was_selected(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-variants=baseline,history", "-k", "history", "--babyai-fail=success>=1", "-v"
    )

    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines(["babyai-gates::history:success>=1 PASSED*"])


def test_gates_of_an_unfinished_run_decide_nothing(project: pytest.Pytester) -> None:
    result = project.runpytest(
        "--babyai-seeds=0-9",
        NO_THRESHOLD,
        "--babyai-concurrency=1",
        "--babyai-max-tokens=7k",
        "--babyai-fail=success>=0.9",
        "-rs",
    )

    result.stdout.fnmatch_lines(["SKIPPED * inconclusive: * of 10 episodes were not played"])


def test_a_share_of_errors_is_a_gate(project: pytest.Pytester, provider: Provider) -> None:
    provider.answer = internal_error

    result = project.runpytest("--babyai-fail=errors<=0", "--babyai-max-attempts=1")

    result.assert_outcomes(errors=1, failed=1)


def test_previously_failed_episodes_alone_are_not_judged(project: pytest.Pytester) -> None:
    project.runpytest("--babyai-seeds=2,3", "--babyai-fail=errors<=0", "-p", "cacheprovider")

    result = project.runpytest(
        "--babyai-seeds=2,3", "--babyai-fail=errors<=0", "-p", "cacheprovider", "--lf"
    )

    result.assert_outcomes(failed=1)


def test_gates_are_counted_in_junit(project: pytest.Pytester) -> None:
    project.runpytest(*FAILING, "--junitxml=junit.xml")

    cases = ET.parse(project.path / "junit.xml").getroot().iter("testcase")
    (gate,) = (case for case in cases if case.get("classname") == "babyai-gates")
    assert gate.get("name") == "baseline:success>=0.9"
    failure = gate.find("failure")
    assert failure is not None
    assert "all of it below 0.9" in str(failure.get("message"))
    assert len((failure.text or "").splitlines()) == 1


def test_gates_are_told_in_the_summary(project: pytest.Pytester) -> None:
    result = project.runpytest("--babyai-fail=success>=1")

    result.stdout.fnmatch_lines(["passed baseline:success>=1: *", "1 gate: *1 passed*"])


@pytest.mark.parametrize("num_workers", ["2", "3"])
def test_gates_are_judged_once_with_several_processes(
    project: pytest.Pytester, num_workers: str
) -> None:
    result = project.runpytest(
        TEN_SOLVED, "-p", "xdist", "-n", num_workers, "--babyai-fail=errors<=0"
    )

    result.assert_outcomes(passed=11)


def test_rules_of_markers_reach_the_controller(project: pytest.Pytester) -> None:
    project.makepyfile(test_suite=MARKED.replace("steps<=1", "steps<=0"))

    result = project.runpytest(TEN_SOLVED, "-p", "xdist", "-n", "2")

    result.assert_outcomes(passed=20, failed=1)
    result.stdout.fnmatch_lines(["FAILED babyai-gates::test_suite.py::test_quick::baseline:*"])
