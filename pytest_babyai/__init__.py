"""Evaluates LLM agents on BabyAI-Text as pytest items, through the TensorZero gateway."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_babyai.api import play, play_async
    from pytest_babyai.records import (
        Episode,
        EpisodeFailure,
        EpisodeResult,
        EpisodeSpec,
        Step,
        Usage,
    )
    from pytest_babyai.reporting.judging import judge

__all__ = [
    "Episode",
    "EpisodeFailure",
    "EpisodeResult",
    "EpisodeSpec",
    "Step",
    "Usage",
    "judge",
    "play",
    "play_async",
]

_PLACES = {
    "judge": "pytest_babyai.reporting.judging",
    "play": "pytest_babyai.api",
    "play_async": "pytest_babyai.api",
}


def __getattr__(name: str) -> Any:
    # pytest imports the plugin, and so this package, in every run of its environment.
    if name in __all__:
        place = _PLACES.get(name, "pytest_babyai.records")
        return getattr(importlib.import_module(place), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
