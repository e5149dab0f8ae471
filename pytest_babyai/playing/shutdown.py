"""How long the end of a run may take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HURRIED_S: Final = 1.5
"""Seconds after Ctrl-C for everything that is still to be done."""


class Shutdown:
    """Shares out the time for what a run does last.

    Args:
        monotonic_s: Seconds that never run backwards.
    """

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._over_s: float | None = None

    def hurry(self) -> None:
        """Caps what is left of the shutdown at 1.5 s, as after Ctrl-C."""
        if self._over_s is None:
            self._over_s = self._monotonic_s() + HURRIED_S

    @property
    def is_hurried(self) -> bool:
        """Whether the shutdown is capped."""
        return self._over_s is not None

    def at_most_s(self, patient_s: float) -> float:
        """Returns for how many seconds something may be waited for.

        Args:
            patient_s: Without a cap. With one it is half of the time that is left, so that what
                comes after it has its turn.
        """
        if self._over_s is None:
            return patient_s
        return min(patient_s, max(0.0, self._over_s - self._monotonic_s()) / 2)
