"""Where a session's store is, and how it is started and left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_babyai.gateway import stored

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pytest_babyai.gateway.stored import StorePlace
    from pytest_babyai.plugin.ending import Ending
    from pytest_babyai.plugin.selection import Selection


def tells_store(selection: Selection) -> bool:
    """Whether there is a store that is told of episodes."""
    settings = selection.settings
    has_database = bool(settings.store or stored.clickhouse_url_of(settings))
    return has_database or settings.record == "on"


def check_store(selection: Selection) -> None:
    """Refuses options that exclude each other or need a store; see `stored.check_store`."""
    stored.check_store(selection.settings)


def open_store(selection: Selection, stack: ExitStack, ending: Ending) -> StorePlace:
    """Starts or joins the embedded store, where there is one; see `stored.open_store`.

    Args:
        selection: Settings of the session.
        stack: Ends it.
        ending: How long that may take.
    """
    from pytest_babyai.store.embedded import STOP_TIMEOUT_S

    settings = selection.settings
    directory = None if settings.store is None else selection.path_of("store", settings.store)
    place = stored.open_store(settings, directory, on_progress=_say)
    stack.callback(
        lambda: place.leave(ending.at_most_s(STOP_TIMEOUT_S), kill=not ending.is_hurried)
    )
    return place


def _say(line: str) -> None:
    print(line, file=sys.__stderr__, flush=True)
