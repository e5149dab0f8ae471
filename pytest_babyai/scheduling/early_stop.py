"""When a variant is known precisely enough to start no more of its episodes."""

from __future__ import annotations

import collections
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pytest_babyai.records import EpisodeResult
from pytest_babyai.statistics.sequential import confidence_sequence, num_values_needed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec
    from pytest_babyai.scheduling.precision import Precision
    from pytest_babyai.statistics import Interval

Key = TypeVar("Key")

_NUM_SINGLE_LOOKS: Final = 50


def seed_by_seed(
    keys: Iterable[Key], seed_of: Callable[[Key], int], duration_of: Callable[[Key], float]
) -> list[Key]:
    """Returns the keys seed by seed as they first appear, within a seed the longest first.

    `EarlyStop` counts whole seeds. Were the longest episodes of all seeds played first, no seed
    would be whole before the run is nearly over.
    """
    ordered = list(keys)
    rank: dict[int, int] = {}
    for key in ordered:
        rank.setdefault(seed_of(key), len(rank))
    return sorted(ordered, key=lambda key: (rank[seed_of(key)], -duration_of(key)))


@dataclass(frozen=True, slots=True)
class VariantPrecision:
    """How precisely a variant is known.

    Attributes:
        variant: The variant.
        precision: What was asked for.
        is_reached: Whether it is known so precisely; nothing changes any more from then on.
        mean: Mean over whole seeds, None without any.
        interval: Confidence sequence of that mean.
        num_seeds: Whole seeds, counted from the first planned one.
        num_planned_seeds: Seeds that were to be played.
        num_left_out: Seeds passed over, as an episode of theirs has no score.
        num_episodes: Episodes of the whole seeds.
        num_looks: How often the interval was looked at.
        num_seeds_needed: Whole seeds that the precision would take, were others like these; None
            once it is reached, and where nobody should wait for it.
    """

    variant: str
    precision: Precision
    is_reached: bool
    mean: float | None
    interval: Interval
    num_seeds: int
    num_planned_seeds: int
    num_left_out: int
    num_episodes: int
    num_looks: int
    num_seeds_needed: int | None = None

    @property
    def half_width(self) -> float:
        """Half of the interval's width."""
        return (self.interval.high - self.interval.low) / 2

    def line(self, plus_minus: str = "±") -> str:
        """Tells in one line what came of it.

        Args:
            plus_minus: Where the terminal cannot print the sign, ``+/-``.
        """
        parts = [f"{self.variant}: {self._found(plus_minus)}"]
        if self.num_seeds_needed is not None:
            wanted = f"{plus_minus}{self._number(self.precision.half_width)}"
            parts.append(f"{wanted} would take about {self.num_seeds_needed:,} seeds")
        if self.num_left_out:
            seeds = "1 seed" if self.num_left_out == 1 else f"{self.num_left_out:,} seeds"
            parts.append(f"{seeds} left out, as an episode there has no score")
        return "; ".join(parts)

    def _found(self, plus_minus: str) -> str:
        if self.mean is None:
            return f"not stopped, none of {self.num_planned_seeds:,} seeds has all its scores"
        state = "stopped" if self.is_reached else "not stopped"
        unit = " %" if self.precision.metric == "success" else ""
        looks = "1 look" if self.num_looks == 1 else f"{self.num_looks:,} looks"
        ends = f"[{self._number(self.interval.low)}, {self._number(self.interval.high)}]"
        return (
            f"{state} after {self.num_seeds:,} of {self.num_planned_seeds:,} seeds, "
            f"{self.precision.metric} {self._number(self.mean)}{unit} "
            f"{plus_minus}{self._number(self.half_width)} {ends} "
            f"({100 * self.precision.level:g} % confidence sequence over {looks})"
        )

    def _number(self, share: float) -> str:
        return f"{100 * share:.1f}" if self.precision.metric == "success" else f"{share:.3f}"


class _Variant:
    """The planned seeds of a variant, and what of them is over."""

    def __init__(self, precision: Precision, num_episodes_by_seed: dict[int, int]) -> None:
        self.is_reached = False
        self.num_looks = 0
        self.num_counted = 0
        self._precision = precision
        self._num_missing = num_episodes_by_seed
        self._values: dict[int, list[float | None]] = {seed: [] for seed in num_episodes_by_seed}
        self.means: list[float] = []

    @property
    def num_planned(self) -> int:
        return len(self._values)

    @property
    def num_episodes(self) -> int:
        counted = list(self._values.values())[: self.num_counted]
        return sum(len(values) for values in counted if None not in values)

    def record(self, seed: int, value: float | None) -> None:
        if self._num_missing.get(seed, 0) > 0:
            self._num_missing[seed] -= 1
            self._values[seed].append(value)
            self._advance()

    def interval(self) -> Interval:
        precision = self._precision
        return confidence_sequence(
            self.means,
            half_width=precision.half_width,
            horizon=self.num_planned,
            level=precision.level,
        )

    def num_needed(self) -> int | None:
        if self.is_reached:
            return None
        wanted = self._precision
        found = num_values_needed(self.means, half_width=wanted.half_width, level=wanted.level)
        return None if found is None else max(found, len(self.means) + 1)

    def _advance(self) -> None:
        seeds = list(self._values)
        while not self.is_reached and self.num_counted < self.num_planned:
            seed = seeds[self.num_counted]
            if self._num_missing[seed]:
                return
            self.num_counted += 1
            scores = [value for value in self._values[seed] if value is not None]
            if len(scores) == len(self._values[seed]):
                self.means.append(math.fsum(scores) / len(scores))
                self._look()

    def _look(self) -> None:
        number = len(self.means)
        if number % max(1, number // _NUM_SINGLE_LOOKS):
            return
        self.num_looks += 1
        found = self.interval()
        self.is_reached = found.high - found.low <= 2 * self._precision.half_width


class EarlyStop:
    """Is told every finished episode, and tells which variants need no more of them.

    A value is the mean of a whole seed, all tasks and repeats of it, as episodes of one seed are
    not independent of each other. Seeds count in the order of the plan, and a seed only after all
    before it. For the episodes that are over at some moment are no fair sample: who solves a task
    is done sooner than who wanders about until the step limit, so their mean is too good. In the
    order of the plan it makes no difference which ones were faster, and a run comes to the same
    however many episodes are in flight, or if it is interrupted and resumed.

    A seed with an episode that has no score is left out: its other tasks are no fair sample
    either. The interval is looked at after every seed, from 100 on after every second, from 150 on
    after every third and so on; it allows for any number of looks
    (see `pytest_babyai.statistics.sequential`).

    Args:
        precision: When to stop.
        planned: Every episode of the run once, seeds in the order in which they are played; repeats
            each.
    """

    def __init__(self, precision: Precision, planned: Iterable[EpisodeSpec]) -> None:
        self._precision = precision
        counts: dict[str, dict[int, int]] = collections.defaultdict(dict)
        for spec in planned:
            counts[spec.variant][spec.seed] = counts[spec.variant].get(spec.seed, 0) + 1
        self._variants = {name: _Variant(precision, seeds) for name, seeds in counts.items()}

    def record(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode that is over, whether it was played now or in an earlier session.

        Each is to be told once; what was not planned is ignored.
        """
        variant = self._variants.get(outcome.spec.variant)
        if variant is not None:
            variant.record(outcome.spec.seed, self._value(outcome))

    def reason(self, variant: str) -> str | None:
        """Returns the line that says why nothing more of a variant starts, None while it may."""
        found = self._variants.get(variant)
        if found is None or not found.is_reached:
            return None
        seeds = f"{found.num_counted:,} of {found.num_planned:,} seeds"
        return (
            f"{self._precision.metric} of {variant} is known well enough after {seeds} "
            "(--babyai-until)"
        )

    def results(self) -> tuple[VariantPrecision, ...]:
        """Returns how precisely every planned variant is known, in the order of the plan."""
        return tuple(self._result(name, found) for name, found in self._variants.items())

    def lines(self, plus_minus: str = "±") -> Iterator[str]:
        """Yields the summary, a line per variant; see `VariantPrecision.line`."""
        for result in self.results():
            yield result.line(plus_minus)

    def _value(self, outcome: EpisodeOutcome) -> float | None:
        return self._precision.value_of(outcome) if isinstance(outcome, EpisodeResult) else None

    def _result(self, name: str, found: _Variant) -> VariantPrecision:
        precision, means = self._precision, found.means
        return VariantPrecision(
            variant=name,
            precision=precision,
            is_reached=found.is_reached,
            mean=math.fsum(means) / len(means) if means else None,
            interval=found.interval(),
            num_seeds=len(means),
            num_planned_seeds=found.num_planned,
            num_left_out=found.num_counted - len(means),
            num_episodes=found.num_episodes,
            num_looks=found.num_looks,
            num_seeds_needed=found.num_needed(),
        )
