"""The limit of open files is raised, never lowered."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.store.directory import raise_file_limit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _limit_of_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_it_is_raised() -> None:
    assert raise_file_limit(1000) == 1000


def test_it_is_never_lowered() -> None:
    assert raise_file_limit(100) == 512
