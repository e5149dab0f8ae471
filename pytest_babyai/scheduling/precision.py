"""How precisely variants are to be known: read from text such as ``±0.05``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import did_you_mean

if TYPE_CHECKING:
    from pytest_babyai.records import EpisodeResult

METRICS: Final = ("success", "progression")
"""What a precision may be asked of: metrics within [0, 1]."""

_EXAMPLES: Final = "'±0.05' or 'progression±0.05@90%'"
_TEXT: Final = re.compile(
    r"(?P<metric>[^\W\d]\w*)?\s*(?:±|\+/?-)?\s*(?P<number>\d*\.?\d+)\s*(?P<percent>%?)"
    r"\s*(?:@\s*(?P<level>\d+(?:\.\d+)?)\s*%)?",
    re.ASCII,
)
_NUM_DIGITS: Final = 12
_MIN_LEVEL: Final = 0.5
_MAX_HALF_WIDTH: Final = 0.5


@dataclass(frozen=True, slots=True)
class Precision:
    """How precisely a variant has to be known; ``str`` gives the text that `parse_precision` reads.

    Attributes:
        metric: A name of `METRICS`.
        half_width: Half of the interval's width, in (0, 0.5).
        level: Confidence level of the interval, from 0.5 to below 1.
    """

    metric: str = "success"
    half_width: float = 0.05
    level: float = 0.95

    def __str__(self) -> str:
        """Writes metric, half width and level."""
        return f"{self.metric}±{self.half_width:g}@{100 * self.level:g}%"

    def value_of(self, result: EpisodeResult) -> float:
        """Returns an episode's value of the metric."""
        return float(result.success) if self.metric == "success" else result.progression


def parse_precision(text: object) -> Precision:
    """Reads ``±0.05``, ``+-0.05``, ``0.05``, ``5%``, ``progression±0.05@90%``; blanks are free.

    Args:
        text: Text, or a number as YAML has it.

    Raises:
        ValueError: It is none; the text says what was found and what would be right.
    """
    written = str(text).strip() if isinstance(text, (str, float)) else ""
    match = _TEXT.fullmatch(written)
    if match is None:
        raise ValueError(f"expected a half width such as {_EXAMPLES}, found {text!r}")
    metric = match["metric"] or METRICS[0]
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r} in {text!r}; {did_you_mean(metric, METRICS)}")
    half_width = round(float(match["number"]) / (100 if match["percent"] else 1), _NUM_DIGITS)
    if not 0 < half_width < _MAX_HALF_WIDTH:
        raise ValueError(f"a half width lies between 0 and 0.5, as in {_EXAMPLES}, found {text!r}")
    level = round(float(match["level"] or 95) / 100, _NUM_DIGITS)
    if not _MIN_LEVEL <= level < 1:
        raise ValueError(f"a level lies from 50% to below 100%, as in {_EXAMPLES}, found {text!r}")
    return Precision(metric, half_width, level)
