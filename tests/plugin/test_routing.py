"""Logs, warnings and output of an episode appear on its own item."""

from __future__ import annotations

import pytest


@pytest.fixture
def noisy(project: pytest.Pytester) -> pytest.Pytester:
    project.makepyfile(
        test_suite="""
        import pytest
        import environment_noise

        @pytest.mark.babyai(seeds=[0, 2, 5], threshold=0)
        def test_episode(babyai_episode):
            assert False, "to see what was captured"
        """,
        environment_noise="""
        import logging, sys, warnings
        from pytest_babyai.environment.babyai import BabyAIEnvironment

        reset = BabyAIEnvironment.reset

        def noisy_reset(self, *, seed=None):
            print(f"out of seed {seed}")
            print(f"err of seed {seed}", file=sys.stderr)
            logging.getLogger("env").warning("log of seed %s", seed)
            warnings.warn(f"warning of seed {seed}", UserWarning, stacklevel=1)
            return reset(self, seed=seed)

        BabyAIEnvironment.reset = noisy_reset
        """,
    )
    return project


def test_an_episode_s_noise_is_captured_on_its_own_item(noisy: pytest.Pytester) -> None:
    result = noisy.runpytest_subprocess("--babyai-details=9")

    result.assert_outcomes(failed=3, warnings=3)
    sections = result.stdout.str().split("____ test_episode[baseline-goto-")[1:]
    for section in sections:
        seed = section.partition("]")[0]
        told = section.partition("short test summary")[0].partition("warnings summary")[0]
        assert told.count("out of seed") == told.count(f"out of seed {seed}") == 1
        assert told.count("err of seed") == told.count(f"err of seed {seed}") == 1
        assert told.count("log of seed") == told.count(f"log of seed {seed}") == 1


def test_a_warning_is_told_of_the_item_of_its_episode(noisy: pytest.Pytester) -> None:
    result = noisy.runpytest_subprocess()

    for seed in (0, 2, 5):
        result.stdout.fnmatch_lines([f"test_suite.py::test_episode[[]baseline-goto-{seed}[]]"])
        result.stdout.fnmatch_lines([f"*UserWarning: warning of seed {seed}"])


def test_nothing_of_an_episode_reaches_the_terminal(noisy: pytest.Pytester) -> None:
    noisy.makepyfile(
        test_suite="""
        import pytest
        import environment_noise

        @pytest.mark.babyai(seeds=[0, 2, 5], threshold=0)
        def test_episode(babyai_episode): pass
        """
    )

    result = noisy.runpytest_subprocess("-p", "no:warnings")

    result.assert_outcomes(passed=3)
    assert "of seed" not in result.stdout.str() + result.stderr.str()
