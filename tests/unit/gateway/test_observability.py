"""What of a configuration a store asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.observability import (
    build_with_store,
    feedback_configuration,
    with_observability,
)
from tests.unit.gateway.gateway_fakes import configuration_of, edit

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.gateway.configuration import GatewayConfiguration


def observability_of(config_dir: Path, *, has_store: bool) -> dict[str, Any]:
    configuration = with_observability(configuration_of(config_dir), has_store=has_store)
    return toml_files.tables(configuration.tree, "gateway", "observability")


@pytest.mark.parametrize("said", ["observability.enabled = false", ""])
def test_a_store_is_not_optional_once_it_is_asked_for(config_dir: Path, said: str) -> None:
    edit(config_dir / "tensorzero.toml", "observability.enabled = false", said)

    assert observability_of(config_dir, has_store=True)["enabled"] is True


def test_a_store_is_written_in_batches(config_dir: Path) -> None:
    observability = observability_of(config_dir, has_store=True)

    assert observability["async_writes"] is False
    assert observability["batch_writes"]["enabled"] is True


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("async_writes = true", {"async_writes": True}),
        ("batch_writes = {enabled = false}", {"batch_writes": {"enabled": False}}),
    ],
)
def test_the_files_may_say_how_a_store_is_written(
    config_dir: Path, line: str, said: dict[str, Any]
) -> None:
    edit(
        config_dir / "tensorzero.toml",
        "observability.enabled = false",
        f"observability.{line}",
    )

    assert observability_of(config_dir, has_store=True) == {"enabled": True, **said}


class Builder:
    """Builds gateways, but for those of which it has something to say."""

    def __init__(self, refusal: str) -> None:
        self.refusal = refusal
        self.observability: list[dict[str, Any]] = []

    async def __call__(self, configuration: GatewayConfiguration) -> str:
        said = toml_files.tables(configuration.tree, "gateway", "observability")
        self.observability.append(said)
        if self.refusal and "batch_writes" in said:
            raise ValueError(self.refusal)
        return "built"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("refusal", "in_batches"), [("", [True]), ("batch_writes: unknown field", [True, False])]
)
async def test_a_tensorzero_that_knows_no_batches_writes_one_by_one(
    config_dir: Path, refusal: str, in_batches: list[bool]
) -> None:
    build = Builder(refusal)

    assert await build_with_store(build, configuration_of(config_dir)) == "built"
    assert ["batch_writes" in said for said in build.observability] == in_batches
    assert all(said["enabled"] for said in build.observability)


@pytest.mark.asyncio
async def test_any_other_refusal_is_told(config_dir: Path) -> None:
    build = Builder("no such database")

    with pytest.raises(ValueError, match="no such database"):
        await build_with_store(build, configuration_of(config_dir))

    assert len(build.observability) == 1


def test_without_a_store_none_is_looked_for(config_dir: Path) -> None:
    edit(config_dir / "tensorzero.toml", "observability.enabled = false", "")

    assert observability_of(config_dir, has_store=False) == {"enabled": False}


def test_without_a_store_the_files_have_the_word(config_dir: Path) -> None:
    edit(config_dir / "tensorzero.toml", "enabled = false", "enabled = true")

    assert observability_of(config_dir, has_store=False) == {"enabled": True}


def test_the_rest_of_the_configuration_stays(config_dir: Path) -> None:
    edit(
        config_dir / "tensorzero.toml",
        "observability.enabled = false",
        "observability.async_writes = false",
    )
    before = configuration_of(config_dir)

    after = with_observability(before, has_store=True)

    assert toml_files.tables(after.tree, "gateway") == {
        **toml_files.tables(before.tree, "gateway"),
        "observability": {"async_writes": False, "enabled": True},
        "unstable_disable_feedback_target_validation": True,
    }
    assert after.tree["functions"] == before.tree["functions"]
    assert after.variant_hashes == before.variant_hashes


def test_feedback_needs_neither_models_nor_credentials() -> None:
    configuration = feedback_configuration()

    assert configuration.credential_variables == ()
    assert set(configuration.tree) == {"gateway", "metrics"}
    assert set(configuration.tree["metrics"]) == {"episode_return", "progression"}
