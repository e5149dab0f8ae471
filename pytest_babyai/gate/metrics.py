"""What can be judged: the metrics, and their values in a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from pytest_babyai.gate.scores import ScoredEpisode, UnscoredEpisode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_babyai.gate.scores import RunScores

Pair = tuple[str, int]
"""Task and seed: what two runs are paired on."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that every episode has.

    Attributes:
        name: As rules and tables call it.
        value: An episode's value; None if unknown.
        lower_is_better: True for steps, tokens, cost and errors.
        is_share: Whether it lies in [0, 1].
        counts_errors: Whether episodes without a score have a value too.
        decimals: Digits after the point in a reason.
        example: A floor or ceiling that shows how a rule of it is written.
    """

    name: str
    value: Callable[[ScoredEpisode], float | None]
    example: str
    lower_is_better: bool = False
    is_share: bool = False
    counts_errors: bool = False
    decimals: int = 3

    @property
    def example_of_change(self) -> str:
        """A change that shows how a rule against a reference is written."""
        if self.lower_is_better:
            return f"{self.name}>{'+0.05' if self.is_share else '+10%'}"
        return f"{self.name}<-0.05"


def _metrics() -> Iterator[Metric]:
    yield Metric(
        "success", lambda episode: float(episode.progression >= 1), "success>=0.8", is_share=True
    )
    yield Metric(
        "progression", lambda episode: episode.progression, "progression>=0.8", is_share=True
    )
    yield Metric("return", lambda episode: episode.episode_return, "return>=0.7")
    for name, value, example, decimals in (
        ("steps", lambda episode: episode.num_steps, "steps<=40", 1),
        ("input_tokens", lambda episode: episode.input_tokens, "input_tokens<=20000", 0),
        ("output_tokens", lambda episode: episode.output_tokens, "output_tokens<=1000", 0),
        ("cost", lambda episode: episode.cost, "cost<=0.01", 5),
    ):
        yield Metric(name, value, example, lower_is_better=True, decimals=decimals)
    yield Metric(
        "errors",
        lambda _: 0.0,
        "errors<=0.05",
        lower_is_better=True,
        is_share=True,
        counts_errors=True,
    )


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {metric.name: metric for metric in _metrics()}
)
"""By name; ``errors`` is the share of episodes without a score, the others leave those out."""


@dataclass(frozen=True, slots=True)
class MetricValues:
    """The values of one metric of one variant.

    Attributes:
        by_pair: Values by (task, seed); more than one where an episode was played repeatedly.
        num_errors: Episodes that have no score and hence no value.
        undefined: First episode whose value is unknown or not finite, with that value.
    """

    by_pair: Mapping[Pair, tuple[float, ...]]
    num_errors: int
    undefined: tuple[str, float | None] | None

    @property
    def means(self) -> dict[Pair, float]:
        """Mean value by (task, seed)."""
        return {pair: math.fsum(group) / len(group) for pair, group in self.by_pair.items()}


def metric_values(
    run: RunScores, metric: Metric, variant: str, task: str | None = None
) -> MetricValues:
    """Collects the values of a metric of a variant, on one task or on all of them."""
    by_pair: dict[Pair, list[float]] = {}
    num_errors, undefined = 0, None
    for episode in run.of_cell(variant, task):
        if isinstance(episode, UnscoredEpisode) and not metric.counts_errors:
            num_errors += 1
            continue
        value = 1.0 if isinstance(episode, UnscoredEpisode) else metric.value(episode)
        if value is None or not math.isfinite(value):
            undefined = undefined or (str(episode.spec), value)
            continue
        by_pair.setdefault((episode.spec.task, episode.spec.seed), []).append(value)
    groups = {pair: tuple(group) for pair, group in by_pair.items()}
    return MetricValues(groups, num_errors, undefined)
