"""Conditions that choose episodes: ``progression>=1``, ``return>=0.7``, ``success>=100%``.

Metrics, floors and ceilings are written as in gates, without a scope or a level; besides,
``>``, ``<`` and ``=`` compare as they say.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pytest_babyai.records import EpisodeResult

METRICS: Final = ("success", "progression", "return", "steps")
"""What conditions may be about: those metrics of gates that a journal and a store both have."""
DEFAULT_CONDITION: Final = "progression>=1"
TOLERANCE: Final = 1e-6
"""Values this close count as equal: a store keeps metrics in single precision, a journal in double,
and both have to choose the same episodes."""

_EARLIER_NAMES: Final = {"episode_return": "return", "num_steps": "steps"}
_ORDER: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_ASCII_OF: Final = {"≥": ">=", "≤": "<=", "==": "="}
_CONDITION = re.compile(
    r"\s*(?P<metric>[^\s<>=!≤≥]+)\s*(?P<order>[<>=!≤≥]+)\s*(?P<value>[^\s%]+)\s*(?P<percent>%?)\s*"
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A metric, how it compares, and with what.

    Attributes:
        metric: One of `METRICS`.
        order: ``>=``, ``<=``, ``>``, ``<`` or ``=``.
        value: The value compared with.
    """

    metric: str
    order: str
    value: float

    def __str__(self) -> str:
        """Writes it as it is given."""
        return f"{self.metric}{self.order}{self.value:g}"

    def bounds(self) -> list[tuple[str, float]]:
        """Returns the same condition with `TOLERANCE` as comparisons, all of which have to hold."""
        low, high = self.value - TOLERANCE, self.value + TOLERANCE
        if self.order == "=":
            return [(">=", low), ("<=", high)]
        return [(self.order, low if self.order in {">=", "<"} else high)]

    def holds(self, found: float) -> bool:
        """Whether a value of the metric meets the condition."""
        return all(_ORDER[order](found, bound) for order, bound in self.bounds())

    def holds_for(self, result: EpisodeResult) -> bool:
        """Whether an episode meets the condition."""
        values = {
            "success": float(result.success),
            "progression": result.progression,
            "return": result.episode_return,
            "steps": float(result.num_steps),
        }
        return self.holds(values[self.metric])


def parse_conditions(written: Iterable[str], place: str = "--where") -> tuple[Condition, ...]:
    """Reads conditions, all of which an episode has to meet.

    Args:
        written: Such as ``["progression>=1"]``.
        place: Names their origin in an error.

    Raises:
        SettingsError: One is no condition, or names no metric.
    """
    return tuple(_parse(text, place) for text in written)


def _parse(text: str, place: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    order = _ASCII_OF.get(match["order"], match["order"]) if match else ""
    if match is None or order not in {*_ORDER, "="}:
        raise SettingsError(
            f"{place}: {text!r} is not METRIC>=NUMBER, such as {DEFAULT_CONDITION!r} "
            "(>=, >, <=, < and = compare)"
        )
    metric = _EARLIER_NAMES.get(match["metric"], match["metric"])
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS)
        raise SettingsError(f"{place}: unknown metric {metric!r} in {text!r}; {hint}")
    value = _number(match["value"], text, place)
    return Condition(metric, order, value / 100 if match["percent"] else value)


def _number(written: str, text: str, place: str) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SettingsError(f"{place}: {written!r} in {text!r} is no number")
    return value
