from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.unit.store.store_fakes import FakeEngine, Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest_asyncio.fixture
async def served(engine: FakeEngine) -> AsyncIterator[Served]:
    """The embedded store's application on an engine that notes what it is told."""
    served = Served(engine)
    yield served
    await served.client.aclose()
    served.close()
    engine.close()
