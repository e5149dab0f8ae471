"""A scheduler for pytest-xdist that hands every worker the items it looks ahead in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xdist.scheduler import LoadScheduling

from pytest_babyai.plugin.distribution import num_episodes, partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest


class PartitionScheduling(LoadScheduling):  # type: ignore[misc]  # xdist is not typed
    """Deals the items out at once where they play episodes; else load scheduling as it is.

    Args:
        config: pytest's configuration.
        log: xdist's log.
        parts: Part by the id of a worker; filled while workers are set up.
    """

    def __init__(self, config: pytest.Config, log: Any, parts: Mapping[str, int]) -> None:
        super().__init__(config, log)
        self._parts = parts

    def schedule(self) -> None:
        """Hands out the items, or what a crashed worker left of them."""
        ids = next(iter(self.node2collection.values()))
        if self.collection is not None or not num_episodes(ids):
            super().schedule()
            return
        if not self._check_nodes_have_same_collection():
            return
        self.collection: list[str] | None = ids
        if self.maxschedchunk is None:  # what a crash leaves is sent in chunks
            self.maxschedchunk: int | None = len(ids)
        dealt = partition(ids, len(self.nodes))
        for node in self.nodes:
            own = dealt[self._parts[node.gateway.id] % len(dealt)]
            self.node2pending[node].extend(own)
            if own:
                node.send_runtest_some(own)
            # Nothing more will come; a worker that knows this runs its last item at once.
            node.shutdown()
