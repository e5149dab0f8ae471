"""What there is to say of a run, once, as plain data; terminal, Markdown and HTML only lay it out.

Comparisons and gates enter here and nowhere else: `compared` and `judged` turn what
`pytest_babyai.gate` gives into texts and numbers. They are plain enough to be kept with a run
(`Verdicts`), so that a report made later says what was said then.
"""

from __future__ import annotations

import collections
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gate import Reference, RunScores, compare
from pytest_babyai.gate.judge import spend_all
from pytest_babyai.metrics import PRIMARY
from pytest_babyai.records import EpisodeFailure, EpisodeResult
from pytest_babyai.reporting.changes import Change, changes_between
from pytest_babyai.reporting.diagnosis import DEFINITIONS, diagnose
from pytest_babyai.reporting.measures import ALL_MEASURES
from pytest_babyai.reporting.numbers import (
    COUNT,
    DASH,
    TOKENS,
    count_of,
    format_cost,
    format_duration,
    format_number,
    format_seeds,
    format_signed,
)
from pytest_babyai.reporting.recorded import NO_PROVENANCE, readable_time
from pytest_babyai.reporting.results import Effort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_babyai.gate import Comparison, GateResult, MetricComparison, VariantComparison
    from pytest_babyai.playing.stopping import Stopping
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.results import EpisodeReport, RunReport, VariantSummary

OFFLINE_NOTE: Final = "OFFLINE: a rule-based policy answered, no language model"
GATE_ORDER: Final = ("failed", "inconclusive", "passed")
DEFAULT_MARGIN: Final = 0.05
"""Difference in success, progression and return that does not matter."""

_FAST: Final = 100
_DECIDED: Final = ("worse", "better")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a reader has to know.

    Attributes:
        text: What it is.
        is_warning: Whether it casts doubt on the numbers.
    """

    text: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One metric of a variant against its reference.

    Attributes:
        metric: Its name.
        candidate: The variant's mean, None where unknown, as all that follow.
        reference: The reference's mean.
        mean: Candidate minus reference.
        low: Lower end of the interval.
        high: Upper end.
        detectable: Smallest true difference that so many episodes find.
        verdict: ``better``, ``worse``, ``tied`` or ``undecided``.
        note: Why the verdict is withheld, empty where it is not.
    """

    metric: str
    candidate: float | None
    reference: float | None
    mean: float | None
    low: float | None
    high: float | None
    detectable: float | None
    verdict: str
    note: str = ""

    @property
    def interval_text(self) -> str:
        """The interval, ``[+1.8, +28.2]``; empty where there is none."""
        if self.low is None or self.high is None:
            return ""
        written = ALL_MEASURES[self.metric].number_format
        return f"[{format_signed(self.low, written)}, {format_signed(self.high, written)}]"

    @property
    def text(self) -> str:
        """``+15.0 [+1.8, +28.2] better``; a dash where there is nothing to compare."""
        if self.mean is None:
            return DASH
        mean = format_signed(self.mean, ALL_MEASURES[self.metric].number_format)
        return " ".join(
            part for part in (mean, self.interval_text, self.note or self.verdict) if part
        )


@dataclass(frozen=True, slots=True)
class ComparedVariant:
    """One variant against its reference.

    Attributes:
        variant: The variant.
        sentence: What it came to, in one sentence.
        num_pairs: Pairs of the same task and seed.
        num_seeds: Seeds among them.
        num_unpaired: Pairs that only one side has scored.
        differences: By metric.
        changes: What differs between the two in prompts and settings; None where that is not known.
        primary: The metric that its sentence is about.
    """

    variant: str
    sentence: str
    num_pairs: int
    num_seeds: int
    num_unpaired: int
    differences: Mapping[str, Difference]
    changes: tuple[Change, ...] | None = None
    primary: str = PRIMARY

    @property
    def verdict(self) -> str:
        """What its primary metric says."""
        return self.differences[self.primary].verdict

    def metrics_that_are(self, verdict: str) -> list[str]:
        """Returns the metrics of a verdict, as readers call them."""
        found = [name for name, each in self.differences.items() if each.verdict == verdict]
        found.sort(key=lambda name: name != self.primary)
        exploratory = ("", " (exploratory)")
        return [ALL_MEASURES[name].short + exploratory[name != self.primary] for name in found]


@dataclass(frozen=True, slots=True)
class Compared:
    """A run against a reference.

    Attributes:
        label: Names the reference: ``baseline main``, ``variant baseline``.
        between_variants: Whether it is a variant of the same run.
        title: ``Compared with baseline main``.
        level: Confidence level of the intervals.
        variants: In the order of tables.
        notes: How the runs differ.
        remarks: What was left out.
        how_to_read: What the intervals are.
        primary: The metric whose verdicts count; those of all others are exploratory.
        level_text: ``95 %, Holm over 3 variants``.
        detectable_text: How small a difference could have been found; empty where unknown.
    """

    label: str
    between_variants: bool
    title: str
    level: float
    variants: tuple[ComparedVariant, ...]
    notes: tuple[Notice, ...]
    remarks: tuple[str, ...]
    how_to_read: str
    primary: str = PRIMARY
    level_text: str = ""
    detectable_text: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics worth a column: prices are rarely known and errors rare."""
        return tuple(name for name in ALL_MEASURES if self._is_shown(name))

    def _is_shown(self, metric: str) -> bool:
        found = [each.differences[metric] for each in self.variants if metric in each.differences]
        if metric not in {"cost", "errors"}:
            return bool(found)
        return any(each.candidate or each.reference for each in found)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a rule came to: ``passed``, ``failed`` or ``inconclusive``, and why."""

    outcome: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What was said of a run when it ended; kept with it, for reports that are made later.

    Attributes:
        comparisons: Against a baseline first, then between variants.
        gates: In the order in which they were judged.
        notices: What the session had to say beyond the episodes.
        thresholds: By node id, under the empty one of all that are not named.
        effort: What playing took.
        num_selected: Episodes that were to be played.
        interrupted: Whether it was stopped.
        variants: In the order of tables.
    """

    comparisons: tuple[Compared, ...] = ()
    gates: tuple[Gate, ...] = ()
    notices: tuple[Notice, ...] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    effort: Effort | None = None
    num_selected: int | None = None
    interrupted: bool = False
    variants: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """Returns JSON types; the changes of prompts are left out, the run has the prompts."""
        plain = dataclasses.asdict(self)
        for comparison in plain["comparisons"]:
            for variant in comparison["variants"]:
                if comparison["between_variants"]:
                    variant["changes"] = None
        return plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Verdicts:
        """Rebuilds what `to_plain` gave.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is unknown, or of another type.
        """
        return cls(
            comparisons=tuple(map(_compared_from_plain, plain["comparisons"])),
            gates=tuple(Gate(**each) for each in plain["gates"]),
            notices=tuple(Notice(**each) for each in plain["notices"]),
            thresholds=dict(plain["thresholds"]),
            effort=Effort(**plain["effort"]) if plain["effort"] else None,
            num_selected=plain["num_selected"],
            interrupted=bool(plain["interrupted"]),
            variants=tuple(plain["variants"]),
        )


def _compared_from_plain(plain: Mapping[str, Any]) -> Compared:
    def variant(record: Mapping[str, Any]) -> ComparedVariant:
        changes = record["changes"]
        differences = {k: Difference(**v) for k, v in record["differences"].items()}
        found = None if changes is None else tuple(map(Change.from_plain, changes))
        return ComparedVariant(**{**record, "differences": differences, "changes": found})

    return Compared(
        **{
            **plain,
            "variants": tuple(map(variant, plain["variants"])),
            "notes": tuple(Notice(**each) for each in plain["notes"]),
            "remarks": tuple(plain["remarks"]),
        }
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """The episodes of a variant on a task or a seed.

    Attributes:
        num_solved: Solved.
        num_scored: With a score.
        num_errors: Without one.
        num_below: Below their threshold.
    """

    num_solved: int = 0
    num_scored: int = 0
    num_errors: int = 0
    num_below: int = 0

    @property
    def share(self) -> float | None:
        """Share solved, None without a score."""
        return self.num_solved / self.num_scored if self.num_scored else None

    @property
    def text(self) -> str:
        """``15/20``; a dash where nothing was played."""
        errors = f" + {count_of(self.num_errors, 'error')}" if self.num_errors else ""
        return f"{self.num_solved}/{self.num_scored}{errors}" if self.share is not None else DASH


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why the episodes of a variant fail.

    Attributes:
        variant: The variant.
        num_failed: Scored episodes whose task was not solved, and whose steps are known.
        counts: Episodes among them by finding, in the order of `DEFINITIONS`.
    """

    variant: str
    num_failed: int
    counts: Mapping[str, int]

    def text(self, finding: str) -> str:
        """``12 (24 %)``."""
        number = self.counts[finding]
        return f"{number} ({100 * number / self.num_failed:.0f} %)" if self.num_failed else DASH


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """An episode in a list: its report, the key of links to it, and what was found wrong with it.

    Attributes:
        key: Names it alone, ``history-goto-204``.
        report: Outcome and threshold.
        findings: Steps by finding, from 1 on; empty where the task was solved.
    """

    key: str
    report: EpisodeReport
    findings: Mapping[str, tuple[int, ...]]

    @property
    def outcome(self) -> str:
        """``passed``, ``failed`` or ``error``."""
        if not isinstance(self.report.outcome, EpisodeResult):
            return "error"
        return "failed" if self.report.below_threshold else "passed"

    @property
    def came_to(self) -> str:
        """How it ended: ``64 of 64 steps``, or the kind of its error."""
        outcome = self.report.outcome
        if isinstance(outcome, EpisodeFailure):
            return f"{outcome.kind} error"
        return f"{outcome.num_steps} of {count_of(outcome.max_steps, 'step')}"


@dataclass(frozen=True, slots=True)
class Summary:
    """What there is to say of a run.

    Attributes:
        report: The run.
        provenance: Where its numbers come from.
        headline: How many were solved, errors and failed gates, in one line.
        verdict_lines: A sentence per variant and comparison.
        comparisons: All of them.
        gates: Failed ones first.
        notices: What a reader has to know, in the order of importance.
        effort_text: Episodes, time, requests and cost of this session.
        variants: Means by variant.
        by_task: Episodes by variant and task.
        by_seed: Episodes by variant and seed.
        errors: Errors by variant and kind.
        diagnoses: Why episodes fail; empty where no steps are known.
        episodes: All of them, by key.
    """

    report: RunReport
    provenance: Provenance
    headline: str
    verdict_lines: tuple[str, ...]
    comparisons: tuple[Compared, ...]
    gates: tuple[Gate, ...]
    notices: tuple[Notice, ...]
    effort_text: str
    variants: tuple[VariantSummary, ...]
    by_task: Mapping[tuple[str, str], Cell]
    by_seed: Mapping[tuple[str, int], Cell]
    errors: Mapping[str, Mapping[str, int]]
    diagnoses: tuple[Diagnosis, ...]
    episodes: tuple[EpisodeRow, ...]

    @property
    def detectable_text(self) -> str:
        """How small a difference between variants could have been found; empty where unknown."""
        found = (each.detectable_text for each in self.comparisons if each.between_variants)
        return next(found, "")

    @property
    def gates_text(self) -> str:
        """``4 gates: 0 failed, 0 inconclusive, 4 passed``; empty without gates."""
        return counts_of(self.gates) if self.gates else ""

    @property
    def facts(self) -> dict[str, str]:
        """Model, seeds, run and the like by name, as far as they are known."""
        setup, provenance = self.report.setup, self.provenance
        started = readable_time(provenance.started_at) if provenance.started_at else ""
        facts = {
            "Model": setup.model_label,
            "Seeds": format_seeds(self.report.seeds),
            "Tasks": ", ".join(self.report.tasks),
            "Environment": setup.environment,
            "Started": started,
            "Run": provenance.run_id or "",
            "Commit": provenance.commit or "",
        }
        return {name: value for name, value in facts.items() if value}

    @property
    def failures(self) -> list[EpisodeRow]:
        """Errors, then episodes below their threshold."""
        order = {"error": 0, "failed": 1}
        found = (each for each in self.episodes if each.outcome in order)
        return sorted(found, key=lambda each: order[each.outcome])

    @property
    def cost(self) -> float | None:
        """US dollars of all episodes; None where a price is unknown."""
        return _sum_of_known([each.cost for each in self.variants])


def build_summary(  # noqa: PLR0913 - the parts of a run
    report: RunReport,
    *,
    comparisons: Sequence[Comparison | Compared] = (),
    gates: Sequence[GateResult | Gate] = (),
    notes: Sequence[str] = (),
    notices: Sequence[str | Notice] = (),
    provenance: Provenance = NO_PROVENANCE,
    reference_definitions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Summary:
    """Says what there is to say.

    Args:
        report: The run; episodes that still have their steps are diagnosed.
        comparisons: What its variants are compared with.
        gates: What its rules came to.
        notes: How a baseline's run differs from this one, as `check_comparable` gives them.
        notices: What the session has to say beyond its episodes; ``WARNING`` begins a warning.
        provenance: Where the numbers come from.
        reference_definitions: Definition by variant of the baseline's run, where they are known.
    """
    summaries = report.by_variant()
    definitions = provenance.definitions
    found = tuple(
        with_changes(
            each if isinstance(each, Compared) else compared(each, notes if not number else ()),
            definitions,
            reference_definitions,
        )
        for number, each in enumerate(comparisons)
    )
    ordered = in_order(each if isinstance(each, Gate) else judged(each) for each in gates)
    orphans = [] if found else [notice_of(note) for note in notes]
    said = [each if isinstance(each, Notice) else notice_of(each) for each in notices]
    rows = tuple(_episode_rows(report.episodes))
    return Summary(
        report=report,
        provenance=provenance,
        headline=_headline(report, summaries, ordered),
        verdict_lines=tuple(each.sentence for part in found for each in part.variants),
        comparisons=found,
        gates=ordered,
        notices=(*_notices(report, summaries), *orphans, *said),
        effort_text=_effort_text(report),
        variants=summaries,
        by_task=_cells(report, lambda each: each.spec.task),
        by_seed=_cells(report, lambda each: each.spec.seed),
        errors={each.variant: each.num_errors_by_kind for each in summaries if each.failures},
        diagnoses=tuple(_diagnoses(report.variants, rows)),
        episodes=rows,
    )


def compare_variants(
    report: RunReport,
    reference: str | None = None,
    *,
    margin: float = DEFAULT_MARGIN,
    primary: str = PRIMARY,
    stopping: Stopping | None = None,
) -> Comparison | None:
    """Compares all variants of a run with one of them; None where there is only one.

    Args:
        report: The run.
        reference: The variant to compare with; None takes the first.
        margin: Difference in success, progression, return and efficiency that does not matter.
        primary: The metric whose verdicts count.
        stopping: What stopped variants early, None where nothing did.
    """
    variants = report.variants
    if len(variants) < 2:  # noqa: PLR2004 - a comparison needs two
        return None
    name = reference if reference in variants else variants[0]
    outcomes = [episode.outcome for episode in report.episodes]
    scores = RunScores.of_outcomes(outcomes, variants=variants, tasks=report.tasks)
    if stopping is not None:
        scores = stopping.seen(scores)
    return compare(
        scores,
        Reference(f"variant {name}", scores, name),
        margins=margins(margin),
        primary=primary,
        spend=stopping.spend if stopping else spend_all,
    )


def margins(margin: float) -> dict[str, float]:
    """Returns by metric the difference that does not matter, for `compare`."""
    return dict.fromkeys(("success", "progression", "return", "efficiency"), margin)


def in_order(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """Returns gates with the failed first, then the inconclusive."""
    return tuple(sorted(gates, key=lambda gate: GATE_ORDER.index(gate.outcome)))


def counts_of(gates: Sequence[Gate]) -> str:
    """Writes what gates came to: ``4 gates: 0 failed, 0 inconclusive, 4 passed``."""
    counts = collections.Counter(gate.outcome for gate in gates)
    told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in GATE_ORDER)
    return f"{count_of(len(gates), 'gate')}: {told}"


def notice_of(text: str) -> Notice:
    """Returns a line as a notice; ``WARNING`` and ``not compared`` cast doubt on the numbers."""
    return Notice(text, is_warning=text.startswith(("WARNING", "not compared")))


def judged(gate: GateResult) -> Gate:
    """Returns what a rule came to as plain data."""
    return Gate(gate.outcome.value, gate.name, gate.reason)


def compared(comparison: Comparison, notes: Sequence[str] = ()) -> Compared:
    """Returns a comparison as plain data."""
    label = comparison.label
    task = f" on {comparison.task}" if comparison.task else ""
    return Compared(
        label=label,
        between_variants=label.startswith("variant "),
        title=f"Compared with {label}{task}",
        level=comparison.level,
        variants=tuple(_compared_variant(each, comparison) for each in comparison.variants),
        notes=tuple(map(notice_of, notes)),
        remarks=tuple(_remarks(comparison)),
        how_to_read=_how_to_read(comparison) if comparison.variants else "",
        primary=comparison.primary,
        level_text=f"{100 * comparison.level:g} %{_corrected(comparison)}",
        detectable_text=_detectable(comparison),
    )


def _corrected(comparison: Comparison) -> str:
    num_variants = len(comparison.variants)
    return f", Holm over {num_variants} variants" if num_variants > 1 else ""


def _detectable(comparison: Comparison) -> str:
    found = comparison.detectable()
    if found is None:
        return ""
    measure = ALL_MEASURES[comparison.primary]
    unit = " points" if measure.is_share else ""
    size = f"{format_number(found, measure.number_format).removesuffix(' %')}{unit}"
    if measure.is_share and found >= 1:
        size = "none, it takes more seeds"
    power = f"80 % power{_corrected(comparison)}"
    return f"detectable difference in {measure.short}: {size} ({power})"


def _compared_variant(variant: VariantComparison, comparison: Comparison) -> ComparedVariant:
    primary = comparison.primary
    differences = {
        name: _difference(variant.metrics[name], comparison.level)
        for name in ALL_MEASURES
        if name in variant.metrics
    }
    return ComparedVariant(
        variant=variant.variant,
        sentence=_sentence(variant.variant, differences[primary], comparison.label),
        num_pairs=variant.num_pairs,
        num_seeds=variant.num_seeds,
        num_unpaired=variant.num_unpaired,
        differences=differences,
        primary=primary,
    )


def _difference(found: MetricComparison, level: float) -> Difference:
    interval = found.difference.interval
    return Difference(
        metric=found.metric,
        candidate=found.candidate,
        reference=found.reference,
        mean=found.difference.mean,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        detectable=found.detectable(level),
        verdict=found.verdict.value,
        note=found.note,
    )


def _sentence(variant: str, found: Difference, label: str) -> str:
    against = label.removeprefix("variant ")
    if found.mean is None:
        return f"{variant} cannot be compared with {against}: no task and seed in common"
    if found.metric != PRIMARY:
        return f"{variant} against {against}, {ALL_MEASURES[found.metric].short} {found.text}"
    points = round(100 * found.mean, 1)
    number = f"{abs(points):.1f}".removesuffix(".0")
    noun = "point" if number == "1" else "points"
    change = f"{number} {noun} {'more' if points > 0 else 'fewer'} than"
    interval = f" {found.interval_text}" if found.interval_text else ""
    solves = f"{variant} solves {change if points else 'as much as'} {against}"
    return f"{solves}{interval}: {found.verdict}"


def _remarks(comparison: Comparison) -> Iterator[str]:
    label = comparison.label
    if comparison.only_candidate:
        yield f"Not in {label}: {', '.join(comparison.only_candidate)}"
    if comparison.only_reference:
        yield f"In {label} only: {', '.join(comparison.only_reference)}"
    if not comparison.variants:
        yield f"No variant has a counterpart in {label}."
    for variant in comparison.variants:
        if variant.num_unpaired:
            pairs = count_of(variant.num_unpaired, "(task, seed) pair")
            yield f"{variant.variant}: {pairs} without a score on both sides left out"


def _how_to_read(comparison: Comparison) -> str:
    pairs = sorted({variant.num_pairs for variant in comparison.variants})
    span = f"{pairs[0]:,}" if len(pairs) == 1 else f"{pairs[0]:,} to {pairs[-1]:,}"
    corrected = _corrected(comparison)
    return (
        f"Δ with {100 * comparison.level:g} % interval, paired on {span} "
        f"(task, seed) of the same level, clustered by seed{corrected}."
    )


def with_changes(
    comparison: Compared,
    definitions: Mapping[str, Mapping[str, Any]],
    reference_definitions: Mapping[str, Mapping[str, Any]] | None,
) -> Compared:
    """Returns a comparison with what differs in prompts and settings, where both are known.

    Args:
        comparison: The comparison.
        definitions: Content by part and variant of the run.
        reference_definitions: The same of the run that it is compared with; None where that is not
            known, and of no use where variants of one run are compared.
    """
    reference = comparison.label.removeprefix("variant ") if comparison.between_variants else None
    others = definitions if comparison.between_variants else reference_definitions or {}

    def completed(variant: ComparedVariant) -> ComparedVariant:
        new, old = definitions.get(variant.variant), others.get(reference or variant.variant)
        if not new or not old or variant.changes is not None:
            return variant
        return dataclasses.replace(variant, changes=changes_between(old, new))

    return dataclasses.replace(comparison, variants=tuple(map(completed, comparison.variants)))


def _headline(report: RunReport, summaries: Sequence[VariantSummary], gates: Sequence[Gate]) -> str:
    num_solved = sum(result.success for each in summaries for result in each.results)
    num_scored = sum(each.num_episodes for each in summaries)
    parts = [f"{num_solved:,} of {count_of(num_scored, 'episode')} solved"]
    if num_errors := len(report.episodes) - num_scored:
        parts.append(count_of(num_errors, "error"))
    if num_failed := sum(gate.outcome == "failed" for gate in gates):
        parts.append(f"{count_of(num_failed, 'gate')} failed")
    return ", ".join(parts)


def _notices(report: RunReport, summaries: Sequence[VariantSummary]) -> Iterator[Notice]:
    if report.setup.offline:
        yield Notice(f"{OFFLINE_NOTE}; these numbers say nothing about any other model.")
    if num_fallbacks := sum(each.num_fallbacks for each in summaries):
        episodes = count_of(sum(each.num_fallback_episodes for each in summaries), "episode")
        counts = _by_variant((each.variant, each.num_fallbacks) for each in summaries)
        yield Notice(
            f"WARNING: random actions stood in for failed requests on "
            f"{count_of(num_fallbacks, 'step')} of {episodes} "
            f"(--babyai-on-error={report.setup.on_error}); these means are not the model's alone: "
            f"{counts}",
            is_warning=True,
        )
    if any(each.failures for each in summaries):
        yield Notice(
            "Errors are in no mean; 'errors as failures' is the success rate if every error "
            "counted as a failure."
        )
    if num_cached := sum(each.num_cached for each in summaries):
        yield Notice(
            f"{count_of(num_cached, 'answer')} came from the cache: at no cost, with the tokens "
            "that they once took."
        )
    if num_invalid := sum(each.num_invalid for each in summaries):
        counts = _by_variant((each.variant, each.num_invalid) for each in summaries)
        answers = count_of(num_invalid, "answer")
        yield Notice(f"{answers} without a valid action became 'go forward': {counts}")
    num_played = len(report.episodes)
    if report.interrupted or num_played < report.num_selected:
        state = "Interrupted: " if report.interrupted else ""
        selected = count_of(report.num_selected, "episode")
        yield Notice(f"{state}{num_played:,} of {selected} played.", is_warning=True)


def _by_variant(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{variant} {number:,}" for variant, number in counts if number)


def _effort_text(report: RunReport) -> str:
    effort = report.effort
    parts = [
        f"{count_of(effort.num_episodes, 'episode')} in {format_duration(effort.duration_s)}",
        count_of(effort.num_requests, "request"),
    ]
    if effort.duration_s > 0 and effort.num_requests:
        rate = effort.num_requests / effort.duration_s
        parts.append(f"{format_number(rate, TOKENS if rate >= _FAST else COUNT)} requests/s")
    cost = _sum_of_known([each.cost for each in report.by_variant()])
    if cost:
        parts.append(format_cost(cost))
    return " · ".join(parts)


def _sum_of_known(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if costs and len(known) == len(costs) else None


def _cells(report: RunReport, axis: Any) -> dict[tuple[str, Any], Cell]:
    grouped: dict[tuple[str, Any], list[EpisodeReport]] = collections.defaultdict(list)
    for each in report.episodes:
        grouped[each.spec.variant, axis(each)].append(each)
    return {
        pair: Cell(
            num_solved=sum(getattr(each.outcome, "success", False) for each in group),
            num_scored=sum(isinstance(each.outcome, EpisodeResult) for each in group),
            num_errors=sum(isinstance(each.outcome, EpisodeFailure) for each in group),
            num_below=sum(each.below_threshold for each in group),
        )
        for pair, group in grouped.items()
    }


def _episode_rows(episodes: Iterable[EpisodeReport]) -> Iterator[EpisodeRow]:
    seen: collections.Counter[str] = collections.Counter()
    for episode in sorted(episodes, key=lambda each: (each.spec, each.nodeid)):
        name = str(episode.spec)
        key = f"{name}-{seen[name]}" if seen[name] else name
        seen[name] += 1
        outcome = episode.outcome
        findings: Mapping[str, tuple[int, ...]] = {}
        if isinstance(outcome, EpisodeResult) and not outcome.success:
            findings = diagnose(outcome)
        yield EpisodeRow(key, episode, findings)


def _diagnoses(variants: Sequence[str], rows: Sequence[EpisodeRow]) -> Iterator[Diagnosis]:
    failed: dict[str, list[EpisodeRow]] = collections.defaultdict(list)
    for row in rows:
        outcome = row.report.outcome
        if isinstance(outcome, EpisodeResult) and not outcome.success and outcome.steps:
            failed[outcome.spec.variant].append(row)
    for variant in variants if failed else ():
        found = failed[variant]
        counts = {name: sum(name in each.findings for each in found) for name in DEFINITIONS}
        yield Diagnosis(variant, len(found), counts)
