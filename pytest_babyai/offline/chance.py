"""Pseudo-random numbers that depend on the prompt alone: the same prompt gives the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Chance:
    """A short stream of pseudo-random numbers (SplitMix64: Steele, Lea, Flood 2014).

    Python's own generator takes several times as long to be seeded as a whole answer takes.
    """

    def __init__(self, digest: int, seed: int = 0) -> None:
        self._state = (digest ^ (seed * 0xD1342543DE82EF95)) & _MASK

    def uniform(self) -> float:
        """Returns the next number from 0 up to but without 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

    def choose(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, each as likely as any other."""
        return choices[int(self.uniform() * len(choices))]
