"""How fast requests may become more, and how many fewer a refusal makes them: pure arithmetic."""

from __future__ import annotations

from typing import Final

_FIRST_CUT: Final = 0.5
_LATER_CUTS: Final = 0.8
_ROUNDS_PER_GEAR: Final = 8
_ROUNDS_AT_EDGE: Final = 8
_MAX_PATIENCE_S: Final = 30.0


class Pace:
    """Additive increase, multiplicative decrease, after a slow start (Jacobson 1988).

    * Slow start: every answer makes room for one request more, which doubles the limit in a round,
      until the provider refuses for the first time (429). That cut halves the limit.
    * From then on a round of answers, as many as the limit, adds one request; after every 8
      rounds without a setback one more than before, so that an early refusal is made good.
    * Each later refusal cuts the limit to 80 %. Requests that were sent before a cut say nothing
      of the limit after it: a burst of refusals is one.
    * Just below the limit that was refused growth rests for 8 rounds before that is tried again:
      most of the time is spent there, and few requests are refused.
    * A failure of another kind (5xx, timeout, gateway) holds the limit until a whole round of
      answers has come in. It says that something is ill, not that there is too much.
    * Answers that come in while slots are free are no proof that more would be taken.

    Tickets tell which limit a request was sent under: the value of `num_cuts` at that time.

    Attributes:
        limit: Requests that may be in flight, from 1 to ``maximum``.
        maximum: Most there may ever be.
        num_cuts: How often the limit was cut.
    """

    def __init__(self, start: int, maximum: int) -> None:
        self.limit = start
        self.maximum = maximum
        self.num_cuts = 0
        self._num_answers = 0  # towards the next growth; below 0 while it is held
        self._num_rounds = 0
        self._num_cuts_in_vain = 0
        self._refused_limit = maximum + 2  # as good as none

    @property
    def patience_s(self) -> float:
        """Seconds to leave a provider alone that refused and names no wait.

        None after a first cut; from the second without any answer in between 1, 2, 4 up to 30.
        """
        doublings = self._num_cuts_in_vain - 2
        return 0.0 if doublings < 0 else min(2.0 ** min(doublings, 64), _MAX_PATIENCE_S)

    def answered(self, ticket: int, *, busy: bool) -> bool:
        """Counts an answer; returns whether the limit has grown.

        Args:
            ticket: Of its request.
            busy: Whether the slots were in use.
        """
        if ticket != self.num_cuts:
            return False
        self._num_cuts_in_vain = 0
        if self._num_answers < 0:
            self._num_answers += 1
            return False
        if not busy or self.limit >= self.maximum:
            return False
        self._num_answers += 1
        if self.num_cuts and self._num_answers < self.limit:
            return False
        self._grow()
        return True

    def refused(self, ticket: int) -> bool:
        """Counts a 429; returns whether it cuts the limit."""
        if ticket != self.num_cuts:
            return False
        self._refused_limit = self.limit
        self.limit = max(1, int(self.limit * (_LATER_CUTS if self.num_cuts else _FIRST_CUT)))
        self.num_cuts += 1
        self._num_cuts_in_vain += 1
        self._num_rounds = 0
        self._num_answers = 0
        self._rest_at_edge()
        return True

    def failed(self, ticket: int) -> bool:
        """Counts a failure of another kind; returns whether growth was not already held."""
        if ticket != self.num_cuts:
            return False
        is_new = self._num_answers >= 0
        self._num_answers = min(self._num_answers, -self.limit)
        self._num_rounds = 0
        return is_new

    def _grow(self) -> None:
        step = 1
        if self.num_cuts:
            step += self._num_rounds // _ROUNDS_PER_GEAR
            self._num_rounds += 1
        edge = self._refused_limit - 1
        ceiling = self.maximum if self.limit >= edge else min(edge, self.maximum)
        self.limit = min(self.limit + step, ceiling)
        self._num_answers = 0
        self._rest_at_edge()

    def _rest_at_edge(self) -> None:
        if self.limit == self._refused_limit - 1:
            self._num_answers = -_ROUNDS_AT_EDGE * self.limit
