"""``--babyai-collect``: experience on the training seeds, and on no other."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.gateway.inference import TRAIN_SEEDS
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER
from pytest_babyai.settings.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.settings.model import Settings

_PLACES: Final = ("store", "clickhouse_url", "gateway_url")


def collection_sources(sources: Sequence[Source]) -> list[Source]:
    """Returns what collecting stands for, as a source; none unless it is asked for.

    Args:
        sources: Those that may ask for it, and that may name a store.
    """
    if next((found for each in sources if (found := each.values.get("collect"))), "off") != "on":
        return []
    chosen: dict[str, Any] = {
        "variants": TEACHER,
        "seed": TRAIN_SEEDS.start,
        "episodes": len(TRAIN_SEEDS),
        "gate": "aggregate",
        "fail": [],
    }
    has_store = any(each.values.get(name) for each in sources for name in _PLACES)
    has_store = has_store or bool(os.environ.get(CLICKHOUSE_VARIABLE))
    if not has_store and find_spec("chdb") is not None:
        chosen["store"], has_store = STORE_DIRECTORY, True
    if has_store:
        chosen["record"] = "on"
    return [Source(chosen, lambda definition: f"--babyai-collect ({definition.flag})")]


def check_seeds(settings: Settings) -> None:
    """Refuses to collect on seeds that are for evaluation.

    Raises:
        SettingsError: There is such a seed.
    """
    if settings.collect != "on":
        return
    for seed in _evaluation_seeds(settings.played_seeds):
        raise SettingsError(
            f"--babyai-collect plays the training seeds {TRAIN_SEEDS.start} to "
            f"{TRAIN_SEEDS.stop - 1}; seed {seed} is for evaluation"
        )


def _evaluation_seeds(seeds: Iterable[int]) -> Iterable[int]:
    return (seed for seed in seeds if seed not in TRAIN_SEEDS)
