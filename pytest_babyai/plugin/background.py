"""What runs behind a session: event loop, local model server, gateway, watch over output."""

from __future__ import annotations

import gc
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pytest_babyai.gateway.client import CLOSE_TIMEOUT_S, Gateway, open_gateway
from pytest_babyai.gateway.inference import CacheOptions
from pytest_babyai.loop_thread import LoopThread
from pytest_babyai.plugin.ending import Ending
from pytest_babyai.plugin.routing import Router
from pytest_babyai.plugin.store_opening import open_store

if TYPE_CHECKING:
    from pytest_babyai.gateway.stored import StorePlace
    from pytest_babyai.plugin.selection import Selection


class Background:
    """An open gateway on an event loop of its own; closed by `close`.

    Attributes:
        thread: The event loop.
        gateway: The gateway, to be used on that loop.
        place: Where its store is.
        ending: How long `close` may take.

    Raises:
        ServerStartError: The offline model server, or the embedded store, did not start.
        ConfigurationError: The gateway refused its configuration.
        CredentialsError: An API key is missing.
        SettingsError: Options of the store are wrong, or no gateway answers at the given URL.
    """

    def __init__(self, selection: Selection) -> None:
        with ExitStack() as stack:
            # The store first: a wrong option is told before anything has been started.
            self.ending = Ending()
            self.place = open_store(selection, stack, self.ending)
            api_base = _start_server(selection, stack)
            self.thread = LoopThread()
            stack.callback(self.thread.close)
            self.gateway = self.thread.run(_open(selection, api_base, self.place))
            stack.callback(
                lambda: self.thread.run(self.gateway.close(self.ending.at_most_s(CLOSE_TIMEOUT_S)))
            )
            router = Router()
            router.install()
            stack.callback(router.uninstall)
            # Thousands of collected items would be searched for garbage again and again.
            gc.freeze()
            stack.callback(gc.unfreeze)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Ends everything, in the opposite order; a second call does nothing."""
        self._stack.close()


def _start_server(selection: Selection, stack: ExitStack) -> str | None:
    port = selection.configuration.offline_port
    if port is None or selection.settings.gateway_url is not None:
        return None
    # Nothing of it is needed elsewhere.
    from pytest_babyai.offline.process import MODELS_DIRECTORY, OfflineServer

    models = selection.rootpath / MODELS_DIRECTORY
    server = OfflineServer(port=port, models_dir=models if models.is_dir() else None)
    stack.callback(server.stop)
    server.start()
    return f"{server.url}/v1"


async def _open(selection: Selection, api_base: str | None, place: StorePlace) -> Gateway:
    configuration = selection.configuration
    if api_base is not None:
        configuration = configuration.with_api_base(api_base)
    settings = selection.settings
    return await open_gateway(
        configuration,
        gateway_url=settings.gateway_url,
        clickhouse_url=place.clickhouse_url,
        timeout_s=settings.timeout_s,
        cache=CacheOptions(settings.cache),
    )
