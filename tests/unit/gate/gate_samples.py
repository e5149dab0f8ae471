"""Runs that the tests of gates share."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from pytest_babyai.gate import RunScores, RunSnapshot, ScoredEpisode, UnscoredEpisode
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TASKS = ("goto", "open")
SEEDS = tuple(range(200, 220))


def episode(
    progression: float, variant: str = "history", task: str = "goto", seed: int = 200, **more: Any
) -> ScoredEpisode:
    fields = {"episode_return": 0.9 * progression, "num_steps": 8 if progression else 64}
    return ScoredEpisode(EpisodeSpec(variant, task, seed), progression, **(fields | more))


def failed(variant: str = "history", task: str = "goto", seed: int = 200) -> UnscoredEpisode:
    return UnscoredEpisode(EpisodeSpec(variant, task, seed), "rate limit")


def episodes(
    outcomes: Iterable[float],
    variant: str = "history",
    *,
    tasks: Sequence[str] = TASKS,
    seeds: Sequence[int] = SEEDS,
    **more: Any,
) -> list[ScoredEpisode]:
    """Gives progressions to the episodes of a variant, seed by seed; the last one is repeated."""
    places = [(task, seed) for seed in seeds for task in tasks]
    given = list(outcomes)
    padded = [*given, *itertools.repeat(given[-1], max(0, len(places) - len(given)))]
    return [
        episode(value, variant, task, seed, **more)
        for value, (task, seed) in zip(padded, places, strict=False)
    ]


def run(*outcomes: float, variant: str = "history", **more: Any) -> RunScores:
    return RunScores.of(episodes(outcomes, variant, **more))


def alternating(num_solved_of_ten: int, num: int = 40) -> list[float]:
    """Returns progressions of which so many of ten are 1."""
    return [float((number * 7) % 10 < num_solved_of_ten) for number in range(num)]


def snapshot(scores: RunScores | None = None, **changes: Any) -> RunSnapshot:
    scores = scores or run(*alternating(5))
    pairs = {(each.spec.task, each.spec.seed) for each in scores.episodes}
    fields: dict[str, Any] = {
        "model_label": "gpt-4o-mini",
        "offline": False,
        "settings": {"environment": "builtin", "history_length": 8, "num_dists": 0},
        "versions": {"minigrid": "3.0.0", "pytest-babyai": "0.1.0"},
        "variant_hashes": {"history": "ab12cd34ef"},
        "fingerprints": {(task, seed): f"{seed:016x}" for task, seed in pairs},
        "scores": scores,
        "models": ("gpt-4o-2025",),
    }
    return RunSnapshot(**fields | changes)
