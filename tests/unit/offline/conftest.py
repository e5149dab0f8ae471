from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.unit.offline.finetuning_samples import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def offline(tmp_path: Path) -> Iterator[Client]:
    """A server with the real trainer, over an empty directory."""
    with closing(Client(tmp_path / "models")) as client:
        yield client
