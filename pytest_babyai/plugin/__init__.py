"""The pytest plugin: options, marker and fixture; everything else waits for a marked test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.plugin.options import (
    GATES,
    add_options,
    check_options,
    complete_options,
    given_flags,
    refuse_unknown_options,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    import pandas as pd

    from pytest_babyai.records import Episode

MARKER = (
    "babyai(variants, tasks, seeds, episodes, seed, threshold, history_length, gate, num_dists, "
    "repeats, fail, reference): "
    "play BabyAI-Text episodes; the test gets variant, task and seed, and the fixture "
    "babyai_episode."
)

ANALYSIS_MARKER = (
    "babyai_analysis: runs after the last episode; the fixture babyai_results gives a pandas frame "
    "with a row per episode."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the ``--babyai-…`` options and their ini forms."""
    add_options(parser)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Completes options that stand without a value, and refuses those that there are not."""
    complete_options(args)
    if any(GATES in argument for argument in args):
        from pytest_babyai.plugin.last import REQUESTED, take_gates

        early_config.stash[REQUESTED] = take_gates(args)
    result = yield  # a conftest.py may add options
    refuse_unknown_options(parser, args)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers and refuses wrong options at once."""
    config.addinivalue_line("markers", MARKER)
    config.addinivalue_line("markers", ANALYSIS_MARKER)
    check_options(config)
    if config.getoption("babyai_plan") and not hasattr(config, "workerinput"):
        config.option.dist, config.option.tx = "no", []  # plays nothing: no worker is needed
    if flags := given_flags(config):
        config.pluginmanager.register(UnusedOptions(flags), "babyai-unused-options")
    if config.getoption("dist", default="no") != "no" and not hasattr(config, "workerinput"):
        from pytest_babyai.plugin.xdist import ControllerHooks

        config.pluginmanager.register(ControllerHooks(config), "babyai-controller")


class UnusedOptions:
    """Says so where options of ours were typed and no test is marked."""

    def __init__(self, flags: list[str]) -> None:
        self._flags = flags

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Prints the line."""
        if not terminalreporter.config.pluginmanager.hasplugin("babyai-loop"):
            flags = ", ".join(self._flags)
            terminalreporter.write_line(
                f"WARNING: {flags} without effect: no collected test is marked with "
                "@pytest.mark.babyai",
                yellow=True,
            )


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives marked tests their variants, tasks and seeds."""
    if metafunc.definition.get_closest_marker("babyai") is not None:
        from pytest_babyai.plugin.activation import activate

        activate(metafunc.config).parametrize(metafunc)
    elif metafunc.definition.get_closest_marker("babyai_analysis") is not None:
        from pytest_babyai.plugin.activation import activate

        activate(metafunc.config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses the marker where pytest parametrizes nothing."""
    for item in items:
        is_method = type(item).__name__ == "TestCaseFunction"
        if is_method and item.get_closest_marker("babyai") is not None:
            raise pytest.UsageError(
                f"{item.nodeid}: @pytest.mark.babyai cannot parametrize a method of a "
                "unittest.TestCase; write a function, or a class without it"
            )


@pytest.fixture
def babyai_episode(request: pytest.FixtureRequest) -> Episode:
    """The finished episode of this item's variant, task and seed.

    ``await babyai_episode`` or ``babyai_episode.result`` gives the `EpisodeResult`. An episode
    that the infrastructure kept from being played is an error of the item, never a score.
    """
    from pytest_babyai.plugin.activation import activate
    from pytest_babyai.plugin.outcomes import fixture_value

    return fixture_value(activate(request.config), request.node)


@pytest.fixture
def babyai_results(request: pytest.FixtureRequest) -> pd.DataFrame:
    """The played episodes of the session, a row each, for tests marked ``babyai_analysis``.

    `pytest_babyai.reporting.tables_export` tells the columns. Every test gets a frame of its own.
    """
    from pytest_babyai.plugin.activation import activate
    from pytest_babyai.plugin.last import results_frame

    return results_frame(activate(request.config), request.node)
