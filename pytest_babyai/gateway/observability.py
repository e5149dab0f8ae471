"""What of a configuration a database asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.configuration import GatewayConfiguration
from pytest_babyai.gateway.feedback import METRICS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Client = TypeVar("Client")

_BATCHES: Final = "batch_writes"
_WRITES: Final = frozenset({"async_writes", _BATCHES})
_IN_BATCHES: Final = {
    "async_writes": False,
    # Some INSERTs a second, not two an inference. TensorZero has to be asked twice for it in an
    # embedded gateway: that waits for its last batch while it is let go of, which must not happen
    # on a thread of its own runtime. `Gateway.close` does it on another.
    _BATCHES: {
        "enabled": True,
        "flush_interval_ms": 200,
        "__force_allow_embedded_batch_writes": True,
    },
}
_UNVALIDATED: Final = "unstable_disable_feedback_target_validation"
"""Without it a gateway looks an episode up for every value; `FeedbackQueue` knows its episodes."""


async def build_with_store(
    build: Callable[[GatewayConfiguration], Awaitable[Client]], configuration: GatewayConfiguration
) -> Client:
    """Builds a gateway that writes in batches; a TensorZero that refuses to writes one by one.

    Args:
        build: Builds a gateway of a configuration.
        configuration: What the files say.

    Raises:
        Exception: What ``build`` raises.
    """
    try:
        return await build(with_observability(configuration, has_store=True))
    except Exception as error:
        if _BATCHES not in str(error):
            raise
    return await build(with_observability(configuration, has_store=True, in_batches=False))


def with_observability(
    configuration: GatewayConfiguration, *, has_store: bool, in_batches: bool = True
) -> GatewayConfiguration:
    """Returns the same configuration for a gateway with a store or without.

    With one, a gateway whose database is missing does not start; it writes in batches unless the
    files say how it is to write. Without one, what the files say stays; where they say nothing it
    stores nothing, as it would else look for a database.
    """
    gateway = toml_files.tables(configuration.tree, "gateway")
    said = toml_files.tables(gateway, "observability")
    batches = _IN_BATCHES if in_batches and not _WRITES & said.keys() else {}
    observability = (
        {**batches, **said, "enabled": True} if has_store else {"enabled": False, **said}
    )
    if has_store:
        gateway = {_UNVALIDATED: True, **gateway}
    tree = {**configuration.tree, "gateway": {**gateway, "observability": observability}}
    return replace(configuration, tree=tree)


def feedback_configuration() -> GatewayConfiguration:
    """Returns a configuration that takes feedback alone, without models and their credentials."""
    metric = {"type": "float", "level": "episode", "optimize": "max"}
    return GatewayConfiguration(
        config_dir=Path(),
        model_file=Path(),
        variant_parts={},
        credential_variables=(),
        tree={
            "gateway": {"disable_pseudonymous_usage_analytics": True},
            "metrics": dict.fromkeys(METRICS, metric),
        },
    )
