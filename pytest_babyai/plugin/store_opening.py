"""Where a session's store is, and how it is started and left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_babyai.errors import SettingsError
from pytest_babyai.gateway.feedback import check_store_options
from pytest_babyai.gateway.store_place import NO_STORE, StorePlace
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE

if TYPE_CHECKING:
    from contextlib import ExitStack

    from pytest_babyai.store.embedded import EmbeddedStore
    from pytest_babyai.plugin.ending import Ending
    from pytest_babyai.plugin.selection import Selection


def tells_store(selection: Selection) -> bool:
    """Whether there is a store that is told of episodes."""
    settings = selection.settings
    has_database = bool(settings.store or clickhouse_url(selection))
    return has_database or settings.record == "on"


def check_store(selection: Selection) -> None:
    """Refuses options that exclude each other or need a store.

    Raises:
        SettingsError: The line names them.
    """
    settings = selection.settings
    if settings.store is not None and settings.clickhouse_url is not None:
        raise SettingsError("--babyai-store and --babyai-clickhouse-url exclude each other")
    for option in ("store", "clickhouse_url"):
        if settings.gateway_url is not None and getattr(settings, option) is not None:
            flag = option.replace("_", "-")
            raise SettingsError(
                f"--babyai-{flag} is for the embedded gateway; the one at "
                f"{settings.gateway_url} has a store of its own"
            )
    has_store = bool(settings.store or clickhouse_url(selection) or settings.gateway_url)
    check_store_options(
        record=settings.record == "on", cache_mode=settings.cache, has_store=has_store
    )


def open_store(selection: Selection, stack: ExitStack, ending: Ending) -> StorePlace:
    """Starts or joins the embedded store, where there is one.

    Args:
        selection: Settings of the session.
        stack: Ends it.
        ending: How long that may take.

    Raises:
        SettingsError: As `check_store`.
        ServerStartError: The embedded store did not start.
    """
    check_store(selection)
    settings = selection.settings
    if settings.store is not None:
        from pytest_babyai.store.embedded import EmbeddedStore

        store = EmbeddedStore(selection.path_of("store", settings.store))
        store.start()
        stack.callback(lambda: _leave(store, ending))
        return StorePlace(clickhouse_url=store.url)
    if settings.gateway_url is not None:
        is_asked = settings.record == "on" or settings.cache in {"on", "read_only"}
        return StorePlace(gateway_url=settings.gateway_url) if is_asked else NO_STORE
    return StorePlace(clickhouse_url=clickhouse_url(selection))


def _leave(store: EmbeddedStore, ending: Ending) -> None:
    from pytest_babyai.store.embedded import STOP_TIMEOUT_S

    store.stop(ending.at_most_s(STOP_TIMEOUT_S), kill=not ending.is_hurried)


def clickhouse_url(selection: Selection) -> str | None:
    """Returns the database that is named by an option or the environment."""
    if selection.settings.gateway_url is not None:
        return None
    return selection.settings.clickhouse_url or os.environ.get(CLICKHOUSE_VARIABLE) or None
