"""TensorZero's own client, which lists the inferences of a store."""

from __future__ import annotations

import gc
import glob
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gateway.client import import_tensorzero
from pytest_babyai.gateway.credentials import check_clickhouse_url, keep_from_proxies, url_secrets
from pytest_babyai.gateway.failures import (
    Scrubber,
    build_failure,
    is_store_failure,
    store_build_failure,
)
from pytest_babyai.gateway.observability import with_observability
from pytest_babyai.gateway.toml_files import tables, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.gateway.configuration import GatewayConfiguration

_DRAIN_S: Final = 0.1
"""TensorZero's threads outlive its client; a process that ends before them may crash."""

_NO_MODEL: Final = {
    "routing": ["none"],
    "providers": {
        "none": {
            "type": "openai",
            "model_name": "none",
            "api_base": "http://127.0.0.1:9/v1",
            "api_key_location": "none",
        }
    },
}
"""Stands for models that are never asked, so that none of their keys is needed."""


class OpenClient:
    """TensorZero's client for as long as it is open.

    It is to be reached through this object alone, since its threads end with its last reference.

    Attributes:
        client: A ``TensorZeroGateway``.
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def close(self) -> None:
        """Lets go of the client, and waits until its threads have come to rest."""
        self.client = None
        gc.collect()
        time.sleep(_DRAIN_S)


@contextmanager
def embedded_client(
    configuration: GatewayConfiguration, clickhouse_url: str | None = None
) -> Iterator[OpenClient]:
    """Opens TensorZero's client, embedded in this process.

    Args:
        configuration: Its functions and templates; models are left out.
        clickhouse_url: The database to read, None for none.

    Raises:
        ConfigurationError: TensorZero refuses the configuration.
        SettingsError: The database cannot be used.
    """
    scrub = Scrubber(url_secrets(clickhouse_url or ""))
    if clickhouse_url is not None:
        check_clickhouse_url(clickhouse_url)
    keep_from_proxies([clickhouse_url or ""])
    configuration = _without_models(
        with_observability(configuration, has_store=clickhouse_url is not None)
    )
    tensorzero = import_tensorzero()
    with tempfile.TemporaryDirectory(prefix="babyai-gateway-") as directory:
        merged = Path(directory) / "tensorzero.toml"
        merged.write_text(configuration.to_toml(), encoding="utf-8")
        try:
            opened = OpenClient(
                tensorzero.TensorZeroGateway.build_embedded(
                    config_file=glob.escape(str(merged)), clickhouse_url=clickhouse_url
                )
            )
        except tensorzero.BaseTensorZeroError as error:
            if clickhouse_url is not None and is_store_failure(str(error)):
                raise store_build_failure(str(error), clickhouse_url, scrub) from None
            raise build_failure(str(error), configuration, str(merged), scrub) from None
    try:
        yield opened
    finally:
        opened.close()


def _without_models(configuration: GatewayConfiguration) -> GatewayConfiguration:
    names = {str(name) for name in values_of(tables(configuration.tree, "functions"), "model")}
    kept = {name: part for name, part in configuration.tree.items() if name != "embedding_models"}
    return replace(configuration, tree={**kept, "models": dict.fromkeys(sorted(names), _NO_MODEL)})
