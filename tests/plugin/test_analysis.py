"""Tests that analyse a run: when they run, what they get, and how they are selected."""

from __future__ import annotations

import pytest

from tests.plugin.provider import SOLVED_SEEDS

SUITE = """
import pytest

@pytest.mark.babyai_analysis
def test_analysis(babyai_results):
    assert list(babyai_results["task"].unique()) == ["goto"]
    assert (babyai_results["num_steps"] >= 1).all()

@pytest.mark.babyai(variants=["baseline", "history"])
def test_episode(babyai_episode):
    pass

def test_plain():
    pass
"""


@pytest.fixture
def analysed(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(test_suite=SUITE)
    return project


def test_an_analysis_runs_after_the_last_episode(analysed: pytest.Pytester) -> None:
    result = analysed.runpytest("-v")

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(
        ["*::test_episode*", "*::test_episode*", "*::test_analysis PASSED*"], consecutive=False
    )


def test_a_frame_has_a_row_per_episode(analysed: pytest.Pytester) -> None:
    analysed.makepyfile(
        test_suite=SUITE
        + "\n@pytest.mark.babyai_analysis\n"
        + "def test_rows(babyai_results): assert len(babyai_results) == 2\n"
    )

    analysed.runpytest().assert_outcomes(passed=5)


def test_a_failed_analysis_fails_the_run(analysed: pytest.Pytester) -> None:
    analysed.makepyfile(
        test_suite=SUITE
        + "\n@pytest.mark.babyai_analysis\n"
        + "def test_floor(babyai_results): assert babyai_results['success'].mean() > 1\n"
    )

    result = analysed.runpytest()

    result.assert_outcomes(passed=4, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("history", 2),
        ("goto and not history", 2),
        ("not test_analysis", 3),
        ("test_plain", 1),
        ("analysis or baseline", 2),
    ],
)
def test_an_analysis_follows_the_episodes_that_are_selected(
    analysed: pytest.Pytester, expression: str, passed: int
) -> None:
    analysed.runpytest("-k", expression).assert_outcomes(passed=passed, deselected=4 - passed)


def test_an_analysis_follows_marks(analysed: pytest.Pytester) -> None:
    analysed.runpytest("-m", "history").assert_outcomes(passed=2, deselected=2)


def test_what_is_deselected_by_name_stays_out(analysed: pytest.Pytester) -> None:
    result = analysed.runpytest("--deselect", "test_suite.py::test_analysis")

    result.assert_outcomes(passed=3, deselected=1)


@pytest.mark.parametrize("options", [(), ("-k", "history or plain")], ids=["all", "some"])
def test_an_analysis_runs_once_with_several_processes(
    analysed: pytest.Pytester, options: tuple[str, ...]
) -> None:
    result = analysed.runpytest("-p", "xdist", "-n", "2", *options)

    result.assert_outcomes(passed=3 if options else 4)


def test_the_controller_has_all_episodes(analysed: pytest.Pytester) -> None:
    analysed.makepyfile(
        test_suite="import pytest\n\n"
        f"@pytest.mark.babyai(seeds={SOLVED_SEEDS})\n"
        "def test_episode(babyai_episode): pass\n\n"
        "@pytest.mark.babyai_analysis\n"
        "def test_rows(babyai_results): assert len(babyai_results) == 10\n"
    )

    analysed.runpytest("-p", "xdist", "-n", "2").assert_outcomes(passed=11)


def test_an_analysis_without_an_episode_is_skipped(analysed: pytest.Pytester) -> None:
    result = analysed.runpytest("test_suite.py::test_analysis", "-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED * no episode was played; *"])


def test_the_results_need_the_mark(project: pytest.Pytester) -> None:
    project.makepyfile(test_suite="def test_rows(babyai_results): pass\n")

    result = project.runpytest()

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*babyai_results needs a test with @pytest.mark.babyai_analysis*"])


def test_frames_are_not_shared(project: pytest.Pytester) -> None:
    test = "@pytest.mark.babyai_analysis\ndef test_{}(babyai_results):\n"
    body = "    assert 'own' not in babyai_results\n    babyai_results['own'] = 1\n\n"
    suite = project.path / "test_suite.py"
    suite.write_text(suite.read_text() + "\n" + (test + body).format("a") + test.format("b") + body)

    project.runpytest().assert_outcomes(passed=3)
