"""What a limiter decided, in bounded space."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ENTRIES: Final = 400


class DecisionLog:
    """Keeps the first and the last decisions; equal ones in a row are one entry.

    Args:
        monotonic_s: Seconds that never run backwards.
        max_entries: Most entries that are kept, half of them from the beginning.
    """

    def __init__(self, monotonic_s: Callable[[], float], max_entries: int = MAX_ENTRIES) -> None:
        self._monotonic_s = monotonic_s
        self._started_s = monotonic_s()
        self._max_first = max_entries // 2
        self._first: list[dict[str, Any]] = []
        self._last: deque[dict[str, Any]] = deque(maxlen=max_entries - self._max_first)
        self._num_omitted = 0

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The decisions in order, as JSON types.

        ``{"at_s": 3.2, "event": "cut", "limit": 12, "reason": "rate limit"}`` with seconds since
        the start and the limit from then on. An entry of several equal decisions has
        ``"until_s"`` and ``"count"`` too, and the last one's limit. ``{"event": "omitted",
        "count": 7}`` stands for what was left out.
        """
        omitted = [{"event": "omitted", "count": self._num_omitted}] if self._num_omitted else []
        return [dict(entry) for entry in (*self._first, *omitted, *self._last)]

    def add(self, event: str, limit: int, reason: str) -> None:
        """Notes a decision.

        Args:
            event: Its kind: start, grow, cut, hold or pause.
            limit: Requests that may be in flight from now on.
            reason: Why, in a few words.
        """
        at_s = round(self._monotonic_s() - self._started_s, 3)
        last = (self._last or self._first or [{}])[-1]
        if (last.get("event"), last.get("reason")) == (event, reason):
            last.update(until_s=at_s, limit=limit, count=last.get("count", 1) + 1)
            return
        entry = {"at_s": at_s, "event": event, "limit": limit, "reason": reason}
        if len(self._first) < self._max_first:
            self._first.append(entry)
            return
        self._num_omitted += len(self._last) == self._last.maxlen
        self._last.append(entry)
