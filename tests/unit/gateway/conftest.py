from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pytest_babyai.gateway.client import Gateway, open_gateway
from tests.unit.gateway.gateway_fakes import FakeProvider, configuration_of, write_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def config_dir(tmp_path: Path, provider: FakeProvider) -> Path:
    """A configuration whose model stands on the fake provider."""
    return write_config(tmp_path / "config", api_base=provider.api_base)


@pytest_asyncio.fixture
async def gateway(config_dir: Path) -> AsyncIterator[Gateway]:
    opened = await open_gateway(configuration_of(config_dir), timeout_s=20)
    yield opened
    await opened.close()
