"""A project without episodes notices nothing of the plugin."""

from __future__ import annotations

import pytest

PROBE = """
import sys

def test_nothing_heavy_is_imported():
    heavy = {"tensorzero", "minigrid", "gymnasium", "numpy", "pandas", "tabulate", "yaml",
             "uvicorn", "starlette", "scipy", "asyncio.base_events"}
    assert heavy & set(sys.modules) <= {"asyncio.base_events"}
    own = {name for name in sys.modules if name.startswith("pytest_babyai")}
    allowed = ("pytest_babyai.plugin", "pytest_babyai.plugin.options", "pytest_babyai.errors",
               "pytest_babyai")
    assert {n for n in own if not n.startswith("pytest_babyai.settings")} <= set(allowed)
"""


@pytest.fixture
def unrelated(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    return pytester


def test_nothing_heavy_is_imported(unrelated: pytest.Pytester) -> None:
    unrelated.makepyfile(PROBE)

    unrelated.runpytest_subprocess("-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_no_file_is_written(unrelated: pytest.Pytester) -> None:
    unrelated.makepyfile(test_nothing="def test_nothing(): pass")

    unrelated.runpytest_subprocess("-p", "no:cacheprovider")

    names = {path.name for path in unrelated.path.iterdir()}
    of_pytester = {"runpytest-0", "runpytest-current", "stdout", "stderr"}
    assert names - of_pytester - {"__pycache__"} == {"test_nothing.py", "tox.ini"}


def test_all_fixtures_carry_the_prefix(unrelated: pytest.Pytester) -> None:
    result = unrelated.runpytest("--fixtures", "-q")

    own = [line for line in result.outlines if "pytest_babyai/plugin" in line]
    assert own
    assert [line for line in own if not line.startswith("babyai_")] == []


def test_users_own_fixtures_named_like_parameters_work(unrelated: pytest.Pytester) -> None:
    unrelated.makepyfile(
        """
        import pytest

        @pytest.fixture
        def seed(): return "mine"

        def test_seed(seed): assert seed == "mine"
        """
    )

    unrelated.runpytest().assert_outcomes(passed=1)


def test_an_unrelated_run_prints_nothing_of_it(unrelated: pytest.Pytester) -> None:
    unrelated.makepyfile("def test_nothing(): pass")

    result = unrelated.runpytest()

    said = [line for line in result.outlines if not line.startswith(("plugins:", "rootdir:"))]
    assert "babyai" not in "\n".join(said).lower()
