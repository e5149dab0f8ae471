"""Which sampling seed a repeat of an episode sends to the model."""

from __future__ import annotations

import hashlib
from typing import Final

_NUM_SEEDS: Final = 2**31
"""Seeds that every provider takes: signed numbers of 32 bits, not negative."""


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
