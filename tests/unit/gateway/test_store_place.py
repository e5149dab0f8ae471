"""Where a store is decides what it is asked through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.gateway.store_place import NO_STORE, StorePlace
from pytest_babyai.gateway.store_queries import ClickHouseStore, GatewayStore

if TYPE_CHECKING:
    import pytest


def test_a_database_is_asked_itself() -> None:
    place = StorePlace(clickhouse_url="http://localhost:8123/tensorzero")

    assert isinstance(place.queries(), ClickHouseStore)


def test_the_database_of_a_running_gateway_is_asked_through_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TENSORZERO_API_KEY", "sk-t0-key")

    queries = StorePlace(gateway_url="http://localhost:3000").queries()

    assert isinstance(queries, GatewayStore)
    assert queries._headers == {"Authorization": "Bearer sk-t0-key"}


def test_without_a_store_there_is_nothing_to_ask() -> None:
    assert NO_STORE.queries() is None
