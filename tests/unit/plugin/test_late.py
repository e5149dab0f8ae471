"""Putting analyses behind the episodes costs a run without any next to nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pytest_babyai.plugin.late import LateHooks, LateWork


class FakeItem:
    """An item that counts how often its markers are looked at."""

    def __init__(self, marker: str = "babyai") -> None:
        self.num_looks = 0
        self._marker = marker

    def get_closest_marker(self, name: str) -> object:
        self.num_looks += 1
        return name if name == self._marker else None


def arrange(items: list[FakeItem]) -> None:
    """Lets the hooks order the items of a run in one process."""
    session = SimpleNamespace(plan_of=lambda _: None, late=LateWork(), error=None)
    config = SimpleNamespace(
        option=SimpleNamespace(dist="no"),
        getoption=lambda _, default: default,
        pluginmanager=SimpleNamespace(get_plugin=lambda _: None),
    )
    hooks = LateHooks(cast("Any", session))
    for _ in hooks.pytest_collection_modifyitems(
        cast("Any", None), cast("Any", config), cast("Any", items)
    ):
        pass


def test_every_item_is_looked_at_once_where_there_is_no_analysis() -> None:
    items = [FakeItem() for _ in range(3)]
    before = list(items)

    arrange(items)

    assert items == before
    assert [item.num_looks for item in items] == [1, 1, 1]


def test_analyses_come_last_in_their_own_order() -> None:
    first, second = FakeItem("babyai_analysis"), FakeItem("babyai_analysis")
    episode = FakeItem()
    items = [first, episode, second]

    arrange(items)

    assert items == [episode, first, second]
