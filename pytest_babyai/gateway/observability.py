"""What of a configuration a database asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.configuration import GatewayConfiguration
from pytest_babyai.gateway.feedback import METRICS


def with_observability(
    configuration: GatewayConfiguration, *, has_store: bool
) -> GatewayConfiguration:
    """Returns the same configuration for a gateway with a store or without.

    With one, a gateway whose database is missing does not start. Without one, what the files say
    stays; where they say nothing it stores nothing, as it would else look for a database.
    """
    gateway = toml_files.tables(configuration.tree, "gateway")
    said = toml_files.tables(gateway, "observability")
    observability = {**said, "enabled": True} if has_store else {"enabled": False, **said}
    tree = {**configuration.tree, "gateway": {**gateway, "observability": observability}}
    return replace(configuration, tree=tree)


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
