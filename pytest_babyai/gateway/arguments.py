"""What a model is told of an episode's past; the same when played and when learned from."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_babyai.records import Step


class StepHistory:
    """The last steps of an episode, as requests carry them.

    Args:
        length: How many steps a request carries.
    """

    def __init__(self, length: int) -> None:
        self._steps: deque[tuple[str, str]] = deque(maxlen=length)

    def add(self, step: Step) -> None:
        """Adds the step that was played last."""
        # The executed action and not the answered one: only it explains what is seen next.
        self._steps.append((step.observation, step.action))

    def steps(self) -> tuple[tuple[str, str], ...]:
        """Returns observations and the actions executed on them, oldest first."""
        return tuple(self._steps)
