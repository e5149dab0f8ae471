"""The pytest plugin: options, marker and fixture; everything else waits for a marked test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.plugin.options import (
    add_options,
    check_options,
    complete_options,
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
    parser: pytest.Parser, args: list[str]
) -> Generator[None, object, object]:
    """Completes options that stand without a value, and refuses those that there are not."""
    complete_options(args)
    result = yield  # a conftest.py may add options
    refuse_unknown_options(parser, args)
    return result


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker and refuses wrong options at once."""
    config.addinivalue_line("markers", MARKER)
    config.addinivalue_line("markers", ANALYSIS_MARKER)
    check_options(config)
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        from pytest_babyai.plugin.distribution import ControllerHooks

        config.pluginmanager.register(ControllerHooks(config), "babyai-controller")


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives marked tests their variants, tasks and seeds."""
    if metafunc.definition.get_closest_marker("babyai") is not None:
        from pytest_babyai.plugin.session import activate

        activate(metafunc.config).parametrize(metafunc)
    elif metafunc.definition.get_closest_marker("babyai_analysis") is not None:
        from pytest_babyai.plugin.session import activate

        activate(metafunc.config)


@pytest.fixture
def babyai_episode(request: pytest.FixtureRequest) -> Episode:
    """The finished episode of this item's variant, task and seed.

    ``await babyai_episode`` or ``babyai_episode.result`` gives the `EpisodeResult`. An episode
    that the infrastructure kept from being played is an error of the item, never a score.
    """
    from pytest_babyai.plugin.session import activate

    return activate(request.config).episode(request.node)


@pytest.fixture
def babyai_results(request: pytest.FixtureRequest) -> pd.DataFrame:
    """The played episodes of the session, a row each, for tests marked ``babyai_analysis``.

    `pytest_babyai.reporting.tables_export` tells the columns. Every test gets a frame of its own.
    """
    from pytest_babyai.plugin.analysis import results_frame
    from pytest_babyai.plugin.session import activate

    return results_frame(activate(request.config), request.node)
