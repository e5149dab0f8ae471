"""The metrics: what is measured of an episode. Tables, gates, reports and export all read this."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_babyai.records import EpisodeResult

PRIMARY: Final = "success"
"""The metric that decides which variant is better, unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that every episode has.

    Attributes:
        name: As rules, frames and error lines call it.
        title: As headings call it.
        value: An episode's value; None if unknown.
        example: A floor or ceiling that shows how a rule of it is written.
        lower_is_better: True for steps, tokens, cost and errors.
        high: Greatest value that it can have, infinite without one; the least is 0.
        is_share: Whether it is a share of something, and so never has a change in percent.
        counts_errors: Whether episodes without a score have a value too.
        is_score: Whether an episode that fails has a value, so that an error might be one.
        decimals: Digits after the point.
        scale: Factor before writing, 100 for percentages.
        unit: Text after the number.
    """

    name: str
    title: str
    value: Callable[[EpisodeResult], float | None]
    example: str
    lower_is_better: bool = False
    high: float = math.inf
    is_share: bool = False
    counts_errors: bool = False
    is_score: bool = False
    decimals: int = 2
    scale: float = 1.0
    unit: str = ""

    @property
    def label(self) -> str:
        """Its name as rows of tables have it."""
        return self.name.replace("_", " ")

    @property
    def example_of_change(self) -> str:
        """A change that shows how a rule against a reference is written."""
        if self.lower_is_better:
            return f"{self.name}>{'+0.05' if self.is_share else '+10%'}"
        return f"{self.name}<-0.05"

    @property
    def direction(self) -> str:
        """Says which end of the scale is the good one."""
        return "lower is better" if self.lower_is_better else "higher is better"

    def is_better(self, value: float, bound: float) -> bool:
        """Returns whether the value lies on the good side of the bound."""
        return value < bound if self.lower_is_better else value > bound


def _success(result: EpisodeResult) -> float:
    return float(result.success)


def _progression(result: EpisodeResult) -> float:
    return result.progression


def _return(result: EpisodeResult) -> float:
    return result.episode_return


def _steps(result: EpisodeResult) -> float:
    return result.num_steps


def _usage(name: str) -> Callable[[EpisodeResult], float | None]:
    def value(result: EpisodeResult) -> float | None:
        found: float | None = getattr(result.usage, name)
        return found

    return value


def _no_error(_: EpisodeResult) -> float:
    return 0.0


def _efficiency(result: EpisodeResult) -> float | None:
    if not result.success:
        return 0.0
    from pytest_babyai.environment.expert import steps_of_expert  # searches, so only where asked

    shortest = steps_of_expert(result.spec.task, result.spec.seed, result.layout_fingerprint)
    return None if shortest is None else shortest / max(shortest, result.num_steps)


def _metrics() -> Iterator[Metric]:
    share: dict[str, Any] = {"high": 1.0, "is_score": True, "is_share": True}
    percent: dict[str, Any] = {"decimals": 1, "scale": 100.0, "unit": " %"}
    fewer: dict[str, Any] = {"lower_is_better": True}
    for name, title, value, example, more in (
        ("success", "Success rate", _success, "success>=0.8", share | percent),
        ("progression", "Progression", _progression, "progression>=0.8", share),
        ("return", "Episode return", _return, "return>=0.7", share | {"is_share": False}),
        ("efficiency", "Efficiency (SPL)", _efficiency, "efficiency>=0.5", share),
    ):
        yield Metric(name, title, value, example, **more)
    yield Metric(
        "steps", "Steps per episode", _steps, "steps<=40", is_score=True, decimals=1, **fewer
    )
    for name, example, more in (
        ("input_tokens", "input_tokens<=20000", {"decimals": 0}),
        ("output_tokens", "output_tokens<=1000", {"decimals": 0}),
        ("cost", "cost<=0.01", {"decimals": 4, "unit": " $"}),
    ):
        title = f"{name.replace('_', ' ').capitalize()} per episode"
        yield Metric(name, title, _usage(name), example, **fewer, **more)
    yield Metric(
        "errors", "Errors", _no_error, "errors<=0.05",
        **percent, **fewer, high=1.0, is_share=True, counts_errors=True,
    )  # fmt: skip


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {metric.name: metric for metric in _metrics()}
)
"""By name, in the order of tables.

``efficiency`` is success weighted by path length (SPL, Anderson et al. 2018, arXiv 1807.06757): the
shortest possible number of steps over the one a solved episode took, else 0. ``errors`` is
the share of episodes without a score; all others leave those out.
"""
