"""Where a store is, and so what it is asked through."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from pytest_babyai.gateway.store_queries import ClickHouseStore, GatewayStore


class StorePlace(NamedTuple):
    """Where a store is.

    Attributes:
        clickhouse_url: The database, None where a running gateway has it, or nobody.
        gateway_url: A running gateway that has to have a store, as something is asked of it.
    """

    clickhouse_url: str | None = None
    gateway_url: str | None = None

    def queries(self) -> ClickHouseStore | GatewayStore | None:
        """Returns what the store is asked through, None without one."""
        if self.clickhouse_url is not None:
            return ClickHouseStore(self.clickhouse_url)
        if self.gateway_url is not None:
            return GatewayStore(self.gateway_url, os.environ.get("TENSORZERO_API_KEY"))
        return None


NO_STORE: Final = StorePlace()
