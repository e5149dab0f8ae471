"""A project in a temporary directory, on a model provider that answers as the test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt  # noqa: F401
import httpcore  # noqa: F401
import httpx  # noqa: F401
import minigrid  # noqa: F401
import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
import pytest
import scipy.special  # noqa: F401
import tabulate  # noqa: F401
import vl_convert  # noqa: F401

import pytest_babyai.playing.player
import pytest_babyai.plugin.activation  # noqa: F401
from pytest_babyai.gateway.client import import_tensorzero
from tests.plugin.provider import Provider, go_forward

# pytester forgets what its runs import; this saves time, and NumPy, TensorZero and others
# cannot be imported twice.
import_tensorzero()

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITE = """
import pytest

@pytest.mark.babyai
def test_episode(babyai_episode):
    assert babyai_episode.result.num_steps >= 1
"""


@pytest.fixture(scope="session")
def running_provider() -> Iterator[Provider]:
    provider = Provider()
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture
def provider(running_provider: Provider) -> Provider:
    running_provider.answer = go_forward
    running_provider.requests = []
    return running_provider


@pytest.fixture(autouse=True)
def _outside_of_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture
def project(pytester: pytest.Pytester, provider: Provider) -> pytest.Pytester:
    """A project with the suite above, on the fake provider.

    On seed 2 of ``goto``, "go forward" is the solution; on seed 0 it is not.
    """
    pytester.makepyfile(test_suite=SUITE)
    model = f"""
        [models.policy]
        routing = ["fake"]
        [models.policy.providers.fake]
        type = "openai"
        model_name = "fake"
        api_base = "{provider.url}"
        api_key_location = "none"
    """
    pytester.makefile(".toml", fake=model)
    pytester.makeini(
        """
        [pytest]
        babyai_model = fake.toml
        babyai_variants = baseline
        babyai_tasks = goto
        babyai_seeds = 2
        asyncio_default_fixture_loop_scope = function
        """
    )
    return pytester
