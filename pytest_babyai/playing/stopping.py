"""When enough was played: a variant is known precisely, or what is asked of it is decided.

Both ways (`PrecisionStop`, `DecisionStop`) count whole seeds, all tasks and repeats of them, in the
order of the plan, a seed only after all before it. For the episodes that are over at some moment
are no fair sample: who solves a task is done sooner than who wanders about until the step limit, so
their mean is too good. In the order of the plan it makes no difference which ones were faster, how
many were in flight, or whether the run was interrupted and resumed: it comes to the same. What
was played ahead counts at the next look.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pytest_babyai.errors import SettingsError, did_you_mean
from pytest_babyai.gate.judge import (
    NO_MARGINS,
    Reference,
    Verdict,
    alarm_alphas,
    cells_of,
    spend_all,
    verdict,
)
from pytest_babyai.gate.rules import DEFAULT_LEVEL, Rule
from pytest_babyai.gate.scores import RunScores
from pytest_babyai.metrics import METRICS, PRIMARY
from pytest_babyai.records import EpisodeResult
from pytest_babyai.statistics import holm_alphas
from pytest_babyai.statistics.intervals import normal_quantile
from pytest_babyai.statistics.sequential import (
    FUTILITY,
    conditional_power,
    confidence_sequence,
    nominal_alphas,
    num_values_needed,
    planned_looks,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate.reasons import Cell
    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec
    from pytest_babyai.statistics import Interval

Key = TypeVar("Key")

PRECISION_METRICS: Final = ("success", "progression")
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
_NUM_SINGLE_LOOKS: Final = 50
_NOTHING_YET: Final = 1e-12
_OPEN: Final = "open"
_FUTILE: Final = "futile"


class Stopping(Protocol):
    """Is told every finished episode, and tells which variants need no more of them."""

    def record(self, outcome: EpisodeOutcome) -> None:
        """Counts an episode that is over, whether it was played now or in an earlier session.

        Each is to be told once, in any order; what was not planned is ignored.
        """
        ...

    def reason(self, variant: str) -> str | None:
        """Returns the line that says why nothing more of a variant starts, None while it may."""
        ...

    def lines(self, plus_minus: str = "±") -> Iterator[str]:
        """Yields the summary: what was stopped, at which seed, and what that saved."""
        ...

    def seen(self, scores: RunScores) -> RunScores:
        """Returns the episodes that verdicts rest on; those beyond are in the tables alone."""
        ...

    def spend(self, alpha: float, variant: str) -> float:
        """Returns what of an error probability a verdict on a variant may use at its last look."""
        ...


def seed_by_seed(
    keys: Iterable[Key], seed_of: Callable[[Key], int], duration_of: Callable[[Key], float]
) -> list[Key]:
    """Returns the keys seed by seed as they first appear, within a seed the longest first.

    Whole seeds count. Were the longest episodes of all seeds played first, no seed would be whole
    before the run is nearly over.
    """
    ordered = list(keys)
    rank: dict[int, int] = {}
    for key in ordered:
        rank.setdefault(seed_of(key), len(rank))
    return sorted(ordered, key=lambda key: (rank[seed_of(key)], -duration_of(key)))


def stopping_for(
    precision: Precision | None, decisions: Decisions | None, planned: Iterable[EpisodeSpec]
) -> Stopping | None:
    """Returns what stops variants early, None where nothing does.

    Args:
        precision: What ``--babyai-until`` asks for.
        decisions: What ``--babyai-decide`` asks for.
        planned: Every episode of the run once, seeds in the order in which they are played; repeats
            each.

    Raises:
        SettingsError: Both are asked for.
    """
    if precision is not None and decisions is not None:
        raise SettingsError(
            "--babyai-until and --babyai-decide both say when a variant stops; choose one of them"
        )
    if decisions is not None:
        return DecisionStop(decisions, planned)
    return None if precision is None else PrecisionStop(precision, planned)


class _Seeds:
    """The planned seeds of one variant, and how many are over without a gap."""

    def __init__(self) -> None:
        self.outcomes: dict[int, list[EpisodeOutcome]] = {}
        self.num_whole = 0
        self.num_planned = 0
        self._num_missing: dict[int, int] = {}

    def plan(self, seed: int) -> None:
        self.num_planned += 1
        self._num_missing[seed] = self._num_missing.get(seed, 0) + 1
        self.outcomes.setdefault(seed, [])

    def record(self, outcome: EpisodeOutcome) -> bool:
        """Takes an outcome; returns whether there are more whole seeds than before."""
        seed, before = outcome.spec.seed, self.num_whole
        if self._num_missing.get(seed, 0) > 0:
            self._num_missing[seed] -= 1
            self.outcomes[seed].append(outcome)
            seeds = self.planned
            while self.num_whole < len(seeds) and not self._num_missing[seeds[self.num_whole]]:
                self.num_whole += 1
        return self.num_whole > before

    @property
    def planned(self) -> list[int]:
        return list(self.outcomes)

    def first(self, number: int) -> list[EpisodeOutcome]:
        """Returns the episodes of so many seeds."""
        return [each for group in list(self.outcomes.values())[:number] for each in group]

    def num_not_started(self, number: int) -> int:
        """Returns how many episodes after so many seeds were not played."""
        return sum(self._num_missing[seed] for seed in self.planned[number:])


def _planned(specs: Iterable[EpisodeSpec]) -> dict[str, _Seeds]:
    found: dict[str, _Seeds] = collections.defaultdict(_Seeds)
    for spec in specs:
        found[spec.variant].plan(spec.seed)
    return dict(found)


@dataclass(frozen=True, slots=True)
class Precision:
    """How precisely a variant has to be known; ``str`` gives the text that `parse_precision` reads.

    Attributes:
        metric: A name of `PRECISION_METRICS`.
        half_width: Half of the interval's width, in (0, 0.5).
        level: Confidence level of the interval, from 0.5 to below 1.
    """

    metric: str = PRIMARY
    half_width: float = 0.05
    level: float = 0.95

    def __str__(self) -> str:
        """Writes metric, half width and level."""
        return f"{self.metric}±{self.half_width:g}@{100 * self.level:g}%"


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
    metric = match["metric"] or PRIMARY
    if metric not in PRECISION_METRICS:
        hint = did_you_mean(metric, PRECISION_METRICS)
        raise ValueError(f"unknown metric {metric!r} in {text!r}; {hint}")
    half_width = round(float(match["number"]) / (100 if match["percent"] else 1), _NUM_DIGITS)
    if not 0 < half_width < _MAX_HALF_WIDTH:
        raise ValueError(f"a half width lies between 0 and 0.5, as in {_EXAMPLES}, found {text!r}")
    level = round(float(match["level"] or 95) / 100, _NUM_DIGITS)
    if not _MIN_LEVEL <= level < 1:
        raise ValueError(f"a level lies from 50% to below 100%, as in {_EXAMPLES}, found {text!r}")
    return Precision(metric, half_width, level)


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
    num_looks: int
    num_seeds_needed: int | None = None

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
            seeds = _count(self.num_left_out, "seed")
            parts.append(f"{seeds} left out, as an episode there has no score")
        return "; ".join(parts)

    def _found(self, plus_minus: str) -> str:
        if self.mean is None:
            return f"not stopped, none of {self.num_planned_seeds:,} seeds has all its scores"
        state = "stopped" if self.is_reached else "not stopped"
        unit = " %" if self.precision.metric == "success" else ""
        ends = f"[{self._number(self.interval.low)}, {self._number(self.interval.high)}]"
        return (
            f"{state} after {self.num_seeds:,} of {self.num_planned_seeds:,} seeds, "
            f"{self.precision.metric} {self._number(self.mean)}{unit} "
            f"{plus_minus}{self._number(self.interval.half_width)} {ends} "
            f"({100 * self.precision.level:g} % confidence sequence over "
            f"{_count(self.num_looks, 'look')})"
        )

    def _number(self, share: float) -> str:
        return f"{100 * share:.1f}" if self.precision.metric == "success" else f"{share:.3f}"


@dataclass(slots=True)
class _Known:
    """What whole seeds of a variant have come to."""

    means: list[float] = dataclasses.field(default_factory=list)
    num_counted: int = 0
    num_looks: int = 0
    is_reached: bool = False


class PrecisionStop:
    """``--babyai-until``: stops a variant once its mean is known precisely; see `Stopping`.

    A seed with an episode that has no score is left out: its other tasks are no fair sample
    either. The interval is looked at after every seed, from 100 on after every second, from 150 on
    after every third and so on; it allows for any number of looks.

    Args:
        precision: When to stop.
        planned: Every episode of the run once, seeds in the order in which they are played; repeats
            each.
    """

    def __init__(self, precision: Precision, planned: Iterable[EpisodeSpec]) -> None:
        self._precision = precision
        self._seeds = _planned(planned)
        self._known = {variant: _Known() for variant in self._seeds}

    def record(self, outcome: EpisodeOutcome) -> None:
        """See `Stopping.record`."""
        variant = outcome.spec.variant
        if variant in self._seeds and self._seeds[variant].record(outcome):
            self._advance(variant)

    def reason(self, variant: str) -> str | None:
        """See `Stopping.reason`."""
        known = self._known.get(variant)
        if known is None or not known.is_reached:
            return None
        num_planned = len(self._seeds[variant].planned)
        return (
            f"{self._precision.metric} of {variant} is known well enough after "
            f"{known.num_counted:,} of {num_planned:,} seeds (--babyai-until)"
        )

    def lines(self, plus_minus: str = "±") -> Iterator[str]:
        """See `Stopping.lines`."""
        for result in self.results():
            yield result.line(plus_minus)

    def seen(self, scores: RunScores) -> RunScores:
        """See `Stopping.seen`."""
        return scores

    def spend(self, alpha: float, variant: str) -> float:
        """See `Stopping.spend`."""
        return spend_all(alpha, variant)

    def results(self) -> tuple[VariantPrecision, ...]:
        """Returns how precisely every planned variant is known, in the order of the plan."""
        return tuple(map(self._result, self._seeds))

    def _advance(self, variant: str) -> None:
        known, seeds = self._known[variant], self._seeds[variant]
        metric = METRICS[self._precision.metric]
        while not known.is_reached and known.num_counted < seeds.num_whole:
            outcomes = seeds.outcomes[seeds.planned[known.num_counted]]
            known.num_counted += 1
            results = [each for each in outcomes if isinstance(each, EpisodeResult)]
            if len(results) == len(outcomes):
                values = [metric.value(result) or 0.0 for result in results]
                known.means.append(math.fsum(values) / len(values))
                self._look(variant)

    def _look(self, variant: str) -> None:
        known = self._known[variant]
        if len(known.means) % max(1, len(known.means) // _NUM_SINGLE_LOOKS):
            return
        known.num_looks += 1
        known.is_reached = self._interval(variant).half_width <= self._precision.half_width

    def _interval(self, variant: str) -> Interval:
        return confidence_sequence(
            self._known[variant].means,
            half_width=self._precision.half_width,
            horizon=len(self._seeds[variant].planned),
            level=self._precision.level,
        )

    def _result(self, variant: str) -> VariantPrecision:
        precision, known = self._precision, self._known[variant]
        means, needed = known.means, None
        if not known.is_reached:
            needed = num_values_needed(
                means, half_width=precision.half_width, level=precision.level
            )
        return VariantPrecision(
            variant=variant,
            precision=precision,
            is_reached=known.is_reached,
            mean=math.fsum(means) / len(means) if means else None,
            interval=self._interval(variant),
            num_seeds=len(means),
            num_planned_seeds=len(self._seeds[variant].planned),
            num_left_out=known.num_counted - len(means),
            num_looks=known.num_looks,
            num_seeds_needed=None if needed is None else max(needed, len(means) + 1),
        )


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a run is to decide.

    Attributes:
        rules: Gates.
        reference: The variant that others are compared with; None for no such comparison.
        baseline: Another run that every variant is compared with.
        primary: The metric whose comparisons count.
        margins: By metric the difference that does not matter.
        level: Confidence level of the comparisons.
    """

    rules: tuple[Rule, ...] = ()
    reference: str | None = None
    baseline: Reference | None = None
    primary: str = PRIMARY
    margins: Mapping[str, float] = dataclasses.field(default_factory=lambda: NO_MARGINS)
    level: float = DEFAULT_LEVEL


@dataclass(frozen=True, slots=True)
class _Stop:
    """When and why a variant was stopped."""

    look: int
    is_decided: bool


class DecisionStop:
    """``--babyai-decide``: stops a variant once all that is asked of it is decided; see `Stopping`.

    A group-sequential test (see `pytest_babyai.statistics.sequential`). After every block of seeds
    that all variants still playing have finished, its gates and comparisons are tested with what
    of the error probability is due, by Holm's procedure over the variants as in a run that is
    looked at once. A variant also stops where no decision is in reach any more. The variant that
    others are compared with plays on as long as one of them does.

    Args:
        decisions: What is asked.
        planned: Every episode of the run once, seeds in the order in which they are played; repeats
            each.
    """

    def __init__(self, decisions: Decisions, planned: Iterable[EpisodeSpec]) -> None:
        self._decisions = decisions
        self._seeds = _planned(planned)
        num_seeds = max((len(seeds.planned) for seeds in self._seeds.values()), default=0)
        self._looks = planned_looks(num_seeds) if num_seeds else ()
        self._num_looks = 0
        self._stops: dict[str, _Stop] = {}

    def record(self, outcome: EpisodeOutcome) -> None:
        """See `Stopping.record`."""
        seeds = self._seeds.get(outcome.spec.variant)
        if seeds is None or not seeds.record(outcome):
            return
        while self._num_looks < len(self._looks) and self._is_due(self._looks[self._num_looks]):
            self._num_looks += 1
            self._look()

    def reason(self, variant: str) -> str | None:
        """See `Stopping.reason`."""
        stop = self._stops.get(variant)
        if stop is None:
            return None
        return (
            f"{variant}: {self._state_of(stop)} after {self._progress(variant)} (--babyai-decide)"
        )

    def lines(self, plus_minus: str = "±") -> Iterator[str]:  # noqa: ARG002 -- as every Stopping
        """See `Stopping.lines`."""
        num_saved = 0
        for variant, seeds in self._seeds.items():
            stop = self._stops.get(variant)
            saved = seeds.num_not_started(self._num_seen(variant)) if stop else 0
            num_saved += saved
            if stop is None:
                yield f"{variant}: not stopped, {seeds.num_whole:,} seeds whole"
                continue
            state = self._state_of(stop)
            last = seeds.planned[self._num_seen(variant) - 1]
            played = f"{self._progress(variant)} (seed {last})"
            yield f"{variant}: {state} after {played}, {_count(saved, 'episode')} saved"
        if self._stops:
            num_planned = sum(seeds.num_planned for seeds in self._seeds.values())
            yield f"{_count(num_saved, 'episode')} of {num_planned:,} saved (--babyai-decide)"

    def seen(self, scores: RunScores) -> RunScores:
        """See `Stopping.seen`."""
        kept = {
            (variant, seed)
            for variant, seeds in self._seeds.items()
            for seed in seeds.planned[: self._num_seen(variant)]
        }
        return scores.where(lambda spec: (spec.variant, spec.seed) in kept)

    def spend(self, alpha: float, variant: str) -> float:
        """See `Stopping.spend`."""
        number = self._look_of(variant)
        return nominal_alphas(alpha, self._looks)[number - 1] if number else _NOTHING_YET

    def _state_of(self, stop: _Stop) -> str:
        if stop.is_decided:
            return "decided"
        return "undecided" if stop.look == len(self._looks) else "no decision in reach"

    def _is_due(self, num_seeds: int) -> bool:
        playing = [seeds for name, seeds in self._seeds.items() if name not in self._stops]
        return bool(playing) and all(
            seeds.num_whole >= min(num_seeds, len(seeds.planned)) for seeds in playing
        )

    def _look_of(self, variant: str) -> int:
        stop = self._stops.get(variant)
        return stop.look if stop else self._num_looks

    def _num_seen(self, variant: str) -> int:
        number = self._look_of(variant)
        return self._looks[number - 1] if number else 0

    def _progress(self, variant: str) -> str:
        num_planned = len(self._seeds[variant].planned)
        return f"{min(self._num_seen(variant), num_planned):,} of {num_planned:,} seeds"

    def _look(self) -> None:
        outcomes = [
            outcome
            for variant, seeds in self._seeds.items()
            for outcome in seeds.first(self._num_seen(variant))
        ]
        scores = RunScores.of_outcomes(outcomes, variants=list(self._seeds))
        states = self._states(scores)
        if scores.num_errors:
            worst = self._states(scores.with_errors_as_failures())
            states = {key: _agreed(state, worst.get(key)) for key, state in states.items()}
        self._stop(states)

    def _stop(self, states: Mapping[tuple[str, str], str]) -> None:
        is_last = self._num_looks == len(self._looks)
        reference = self._decisions.reference
        asked: dict[str, list[str]] = {variant: [] for variant in self._seeds}
        for (variant, _), state in states.items():
            asked[variant].append(state)
        # The reference comes last: it plays on while another one needs it.
        for variant in sorted(self._seeds, key=lambda name: name == reference):
            if variant in self._stops or not (asked[variant] or variant == reference):
                continue
            others = set(self._seeds) - set(self._stops) - {variant}
            is_needed = variant == reference and bool(others) and not is_last
            if is_last or (_OPEN not in asked[variant] and not is_needed):
                is_decided = not {_OPEN, _FUTILE} & set(asked[variant])
                self._stops[variant] = _Stop(self._num_looks, is_decided)

    def _states(self, scores: RunScores) -> dict[tuple[str, str], str]:
        """Returns by variant and question how it stands."""
        decisions = self._decisions
        between = (
            Reference(f"variant {decisions.reference}", scores, decisions.reference)
            if decisions.reference
            else None
        )
        found: dict[tuple[str, str], str] = {}
        for rule in decisions.rules:
            reference = (decisions.baseline or between) if rule.relative else None
            cells = cells_of(rule, scores, reference)
            for cell, alpha in zip(cells, alarm_alphas(cells, self.spend), strict=True):
                if cell.rule.variant in self._seeds:
                    state = self._gate_state(cell, alpha)
                    found[cell.rule.variant, f"gate {cell.rule}"] = state
        for reference in (decisions.baseline, between):
            if reference is not None:
                found |= self._comparison_states(scores, reference)
        return found

    def _gate_state(self, cell: Cell, alarm_alpha: float) -> str:
        rule, evidence = cell.rule, cell.evidence
        if evidence is None:
            return _OPEN
        if rule.is_absolute_end:
            return "broken" if cell.is_bad else _OPEN
        alpha = 1 - rule.level
        if cell.holds(evidence.interval(1 - self.spend(alpha, rule.variant))):
            return "holds"
        if cell.is_bad and cell.p_value <= alarm_alpha:
            return "broken"
        z = normal_quantile(1 - evidence.p_value(rule.bound) / 2)
        ahead = -z if cell.is_bad else z
        sides = (ahead,) if rule.demands_proof else (ahead, -ahead)
        return _FUTILE if self._is_futile(rule.variant, alpha, sides) else _OPEN

    def _comparison_states(
        self, scores: RunScores, reference: Reference
    ) -> dict[tuple[str, str], str]:
        decisions = self._decisions
        rule = Rule(decisions.primary, relative=True, bound=0.0, level=decisions.level)
        cells = [
            cell
            for cell in cells_of(rule, scores, reference)
            if cell.rule.variant in self._seeds
            and reference.partner(cell.rule.variant) in reference.run.variants
        ]
        p_values = [cell.evidence.p_value() if cell.evidence else 1.0 for cell in cells]
        alpha = 1 - decisions.level
        spends = [self._spend_of(cell.rule.variant) for cell in cells]
        alphas = holm_alphas(p_values, alpha, spends)
        return {
            (cell.rule.variant, reference.label): self._comparison_state(
                cell, own, alpha / max(1, len(cells))
            )
            for cell, own in zip(cells, alphas, strict=True)
        }

    def _spend_of(self, variant: str) -> Callable[[float], float]:
        return lambda alpha: self.spend(alpha, variant)

    def _comparison_state(self, cell: Cell, alpha: float, whole_alpha: float) -> str:
        evidence, variant = cell.evidence, cell.rule.variant
        if evidence is None:
            return _OPEN
        margin = self._decisions.margins.get(cell.rule.metric, 0.0)
        said = verdict(evidence.interval(1 - alpha), margin=margin)
        if said is not Verdict.UNDECIDED:
            return str(said.value)
        final = evidence.interval(1 - nominal_alphas(whole_alpha, self._looks)[-1])
        may_tie = final is None or final.half_width * math.sqrt(self._time(variant)) <= margin
        z = normal_quantile(1 - evidence.p_value() / 2)
        return _FUTILE if not may_tie and self._is_futile(variant, whole_alpha, (z,)) else _OPEN

    def _time(self, variant: str) -> float:
        return self._looks[self._look_of(variant) - 1] / self._looks[-1]

    def _is_futile(self, variant: str, alpha: float, scores: Sequence[float]) -> bool:
        time, final = self._time(variant), nominal_alphas(alpha, self._looks)[-1]
        return time < 1 and all(conditional_power(z, time, alpha, final) < FUTILITY for z in scores)


def _agreed(state: str, worst: str | None) -> str:
    # What errors could turn is not decided.
    return state if worst == state or state in {_OPEN, _FUTILE} else _OPEN


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
