"""In which order episodes start, and which sampling seed a repeat of one sends."""

from __future__ import annotations

import hashlib
import statistics
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_babyai.records import EpisodeSpec

Key = TypeVar("Key")
PastKey = TypeVar("PastKey", bound="tuple[str | int, ...]")

_NUM_SEEDS: Final = 2**31
"""Seeds that every provider takes: signed numbers of 32 bits, not negative."""


def longest_first(keys: Iterable[Key], duration_of: Callable[[Key], float]) -> list[Key]:
    """Returns the keys by falling duration, equal ones in their old order.

    Graham's rule (1969): with exact durations the last machine ends at most a third later than
    the best schedule's.
    """
    return sorted(keys, key=lambda key: -duration_of(key))


class DurationEstimates:
    """Expects an episode to take as long as it did before.

    The closest episodes with a past decide: the same variant, task and seed; the same variant and
    task; the same task. One without any takes its task's step limit at the usual pace of the
    others; where there is no past at all, the step limits alone give the order.

    Args:
        past_s: Seconds by (variant, task, seed), (variant, task) or (task,); any mixture.
        step_limits: Most steps of an episode by task.
    """

    def __init__(self, past_s: Mapping[PastKey, float], step_limits: Mapping[str, int]) -> None:
        self._step_limits = step_limits
        self._past_s: dict[tuple[str | int, ...], float] = {
            tuple(key): duration_s for key, duration_s in past_s.items()
        }
        for task, values in _by_task(self._past_s).items():
            self._past_s.setdefault((task,), statistics.median(values))
        paces = [
            duration_s / step_limits[str(key[0])]
            for key, duration_s in self._past_s.items()
            if len(key) == 1 and step_limits.get(str(key[0]))
        ]
        self._has_pace = bool(paces)
        self._step_s = statistics.median(paces) if paces else 1.0

    def duration_of(self, spec: EpisodeSpec) -> float:
        """Returns what to order by: expected seconds, or step limits where there is no past."""
        known_s = self._known_s(spec)
        if known_s is not None:
            return known_s
        return self._step_s * self._step_limits.get(spec.task, 0)

    def expected_s(self, spec: EpisodeSpec) -> float | None:
        """Returns expected seconds, None where there is no past at all."""
        return self.duration_of(spec) if self._has_pace else None

    def _known_s(self, spec: EpisodeSpec) -> float | None:
        task = (spec.task,)
        for key in ((spec.variant, spec.task, spec.seed), (spec.variant, spec.task), task):
            if key in self._past_s:
                return self._past_s[key]
        return None


def _by_task(past_s: Mapping[tuple[str | int, ...], float]) -> dict[str, list[float]]:
    by_task: dict[str, list[float]] = {}
    for key, duration_s in past_s.items():
        if len(key) > 1:
            by_task.setdefault(str(key[1]), []).append(duration_s)
    return by_task


def model_seed(seed: int, task: str, repeat: int) -> int:
    """Returns the model's sampling seed for one repeat of an episode.

    It is the same in every process and on every machine, and the same for all variants, whose
    repeats so stay paired. Repeats of one (task, seed) differ for certain (their seeds are
    neighbours), and as the seed is part of the gateway's cache key, none is answered from
    another's cache. Those of different tasks and seeds differ but for chance.

    Args:
        seed: The environment's seed.
        task: Short name of the task.
        repeat: Counts from 0.

    Returns:
        A number from 0 to 2**31 - 1.
    """
    digest = hashlib.sha256(f"{task}:{seed}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + repeat) % _NUM_SEEDS
