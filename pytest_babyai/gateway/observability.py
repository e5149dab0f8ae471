"""What of a configuration a database asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.configuration import GatewayConfiguration
from pytest_babyai.gateway.feedback import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITES: Final = frozenset({"async_writes", "batch_writes"})
_IN_BATCHES: Final = {
    "async_writes": False,
    # Some INSERTs a second, not two an inference. TensorZero has to be asked twice for it in an
    # embedded gateway: that waits for its last batch while it is let go of, which must not happen
    # on a thread of its own runtime. `Gateway.close` does it on another.
    "batch_writes": {
        "enabled": True,
        "flush_interval_ms": 200,
        "__force_allow_embedded_batch_writes": True,
    },
}
_UNVALIDATED: Final = "unstable_disable_feedback_target_validation"
"""Without it a gateway looks an episode up for every value; `FeedbackQueue` knows its episodes."""


def with_observability(
    configuration: GatewayConfiguration, *, has_store: bool
) -> GatewayConfiguration:
    """Returns the same configuration for a gateway with a store or without.

    With one, a gateway whose database is missing does not start; it writes in batches unless the
    files say how it is to write. Without one, what the files say stays; where they say nothing it
    stores nothing, as it would else look for a database.
    """
    gateway = toml_files.tables(configuration.tree, "gateway")
    said = toml_files.tables(gateway, "observability")
    observability = _stored(said) if has_store else {"enabled": False, **said}
    if has_store:
        gateway = {_UNVALIDATED: True, **gateway}
    tree = {**configuration.tree, "gateway": {**gateway, "observability": observability}}
    return replace(configuration, tree=tree)


def _stored(said: Mapping[str, Any]) -> dict[str, Any]:
    batches = {} if _WRITES & said.keys() else _IN_BATCHES
    return {**batches, **said, "enabled": True}


def feedback_configuration() -> GatewayConfiguration:
    """Returns a configuration that takes feedback alone, without models and their credentials."""
    metric = {"type": "float", "level": "episode", "optimize": "max"}
    return GatewayConfiguration(
        config_dir=Path(),
        model_file=Path(),
        model_label="",
        variant_parts={},
        credential_variables=(),
        tree={
            "gateway": {"disable_pseudonymous_usage_analytics": True},
            "metrics": dict.fromkeys(METRICS, metric),
        },
    )
