"""What came of a session: outcomes that items reported, comparisons, gates; knows no pytest."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.environment import TASKS, environment_factory
from pytest_babyai.environment.expert import reference_results
from pytest_babyai.errors import BaselineError
from pytest_babyai.gate import (
    Reference,
    RunScores,
    check_comparable,
    compare,
    evaluate_rules,
    load_baseline,
    planned_gates,
    take_snapshot,
    unjudged,
)
from pytest_babyai.gate.judge import spend_all
from pytest_babyai.journal import installed_versions
from pytest_babyai.playing.stopping import Decisions
from pytest_babyai.plugin.options import GATES
from pytest_babyai.reporting.numbers import count_of
from pytest_babyai.reporting.results import RunReport, RunSetup
from pytest_babyai.reporting.summary import build_summary, compare_variants, margins

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from pytest_babyai.gate import Comparison, GateResult, Rule, RunSnapshot
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.playing.stopping import Stopping
    from pytest_babyai.records import EpisodeSpec, PlannedEpisode
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.results import Effort, EpisodeReport
    from pytest_babyai.reporting.summary import Summary
    from pytest_babyai.settings.model import Settings


@dataclass(frozen=True, slots=True)
class GatePlan:
    """Rules, the tests whose episodes they judge together, and the items that this makes.

    Attributes:
        rules: The rules.
        functions: Node ids of the tests.
        gates: What the items judge: each rule by variant and task.
        title: Node id of the items' collector.
        reference: The variant that changes refer to, None for the baseline.
    """

    rules: tuple[Rule, ...]
    functions: tuple[str, ...]
    gates: tuple[Rule, ...]
    title: str
    reference: str | None

    def covers(self, nodeids: Iterable[str]) -> bool:
        """Returns whether it judges an episode that these items have asked for."""
        return any(nodeid.partition("[")[0] in self.functions for nodeid in nodeids)

    @classmethod
    def of(
        cls,
        rules: tuple[Rule, ...],
        functions: Iterable[str],
        specs: Iterable[EpisodeSpec],
        *,
        is_of_marker: bool,
        reference: str | None,
    ) -> GatePlan:
        """Plans the gates of some tests.

        Args:
            rules: The rules.
            functions: Node ids of the tests.
            specs: Episodes that they play.
            is_of_marker: Whether the tests' own markers give the rules.
            reference: The variant that changes refer to, None for the baseline.
        """
        judged = tuple(functions)
        planned = RunScores.planned(specs, tasks=TASKS)
        compared = Reference("what it is compared with", planned, reference)
        return cls(
            rules=rules,
            functions=judged,
            gates=planned_gates(rules, planned, compared),
            title=f"{GATES}::{judged[0]}" if is_of_marker else GATES,
            reference=reference,
        )


class Baseline(NamedTuple):
    """A run to compare with.

    Attributes:
        label: Names it in lines.
        snapshot: The run.
    """

    label: str
    snapshot: RunSnapshot


class Tally:
    """Gathers the outcomes of a session's episodes, and judges them.

    Args:
        run: What was to be played.
        baseline_path: File of the baseline that ``--babyai-compare`` names.

    Attributes:
        episodes: What was reported, by the name of the planned episode.
        num_left_out: Episodes that need not be played, as their variant is known well enough.
        num_unknown: Episodes of gates that run alone which the journal does not have.
        stopping: What stopped variants early; None where nothing did.
        played: What this session has played; None where all episodes are its own.
    """

    def __init__(self, run: RunSpec, baseline_path: Path | None = None) -> None:
        self.episodes: dict[str, EpisodeReport] = {}
        self.num_left_out = 0
        self.num_unknown = 0
        self.stopping: Stopping | None = None
        self.played: Effort | None = None
        self._run = run
        self._baseline_path = baseline_path
        self._askers: defaultdict[str, set[str]] = defaultdict(set)
        self._started_s = time.monotonic()
        self._judged: dict[GatePlan, Mapping[str, GateResult]] = {}
        self._compared: RunComparisons | None = None

    def add(self, name: str, episode: EpisodeReport) -> None:
        """Takes an episode; two items of one count once, and the last play of one counts."""
        self.episodes[name] = episode
        self._askers[name].add(episode.nodeid)
        self._compared = None

    @property
    def num_missing(self) -> int:
        """Episodes that were to be played and were not, those stopped on purpose apart."""
        selected = len(self._run.nodeids) or len(self.episodes)
        return max(0, selected - len(self.episodes) - self.num_left_out)

    @property
    def settings(self) -> Settings:
        """Settings of the run."""
        return self._run.settings

    def report(self, *, interrupted: bool = False) -> RunReport:
        """Returns the run so far."""
        run, episodes = self._run, tuple(self.episodes.values())
        return RunReport(
            setup=RunSetup(
                model_label=run.model_label,
                offline=run.is_offline,
                environment=run.settings.environment,
                variants=run.settings.variants or run.configuration.variants,
                tasks=TASKS,
                gate=run.settings.gate,
                on_error=run.settings.on_error,
            ),
            episodes=episodes,
            num_selected=len(episodes) + self.num_missing,
            wall_time_s=time.monotonic() - self._started_s,
            interrupted=interrupted,
            references=reference_results(
                run.settings.references or (),
                ((e.spec.task, e.spec.seed, e.num_dists) for e in run.nodeids),
            ),
            played=self.played,
        )

    def decisions(self, rules: tuple[Rule, ...]) -> Decisions | None:
        """Returns what ``--babyai-decide`` asks for, None without it."""
        settings, baseline = self._run.settings, self.baseline
        if settings.decide != "on":
            return None
        variants = settings.variants or self._run.configuration.variants
        return Decisions(
            rules=rules,
            reference=settings.reference or (variants[0] if len(variants) > 1 else None),
            baseline=baseline and Reference(baseline.label, baseline.snapshot.scores),
            primary=settings.primary,
            margins=margins(settings.margin),
        )

    def summary(
        self, report: RunReport, *, notices: Iterable[str] = (), provenance: Provenance
    ) -> Summary:
        """Returns what there is to say of the run so far.

        Args:
            report: The run.
            notices: What else there is to say.
            provenance: Where its numbers come from.
        """
        try:
            notes = self.compared.notes
        except BaselineError as error:
            notes = (f"not compared: {error}",)
        return build_summary(
            report,
            comparisons=self.compared.possible,
            gates=self.judged(),
            notes=notes,
            notices=tuple(notices),
            provenance=provenance,
        )

    @property
    def compared(self) -> RunComparisons:
        """The comparisons of the run so far, the same object until there is another episode."""
        if self._compared is None:
            self._compared = RunComparisons(self.report(), self._run, self)
        return self._compared

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """What ``--babyai-compare`` names.

        Raises:
            BaselineError: It cannot be read.
        """
        path = self._baseline_path
        if path is None:
            return None
        return Baseline(f"baseline {path.stem}", load_baseline(path))

    def check_baseline(self) -> None:
        """Refuses a baseline whose levels are not those that are to be played.

        Raises:
            BaselineError: It cannot be read, or not be compared.
        """
        if self.baseline is None:
            return
        episodes = list(self._run.nodeids)
        scores = RunScores.planned(each.spec for each in episodes)
        common = self.baseline.snapshot.fingerprints.keys()
        run = dataclasses.replace(
            self.compared.snapshot,
            scores=scores,
            fingerprints=_fingerprints(episodes, common, self._run.settings),
        )
        check_comparable(run, self.baseline.snapshot, label=self.baseline.label)

    def judge(self, plan: GatePlan) -> Mapping[str, GateResult]:
        """Returns what the gates of a plan came to, by name."""
        if plan not in self._judged:
            self._judged[plan] = self._judge(plan)
        return self._judged[plan]

    def judged(self) -> list[GateResult]:
        """Returns what all gates that were run came to."""
        return [result for results in self._judged.values() for result in results.values()]

    def _judge(self, plan: GatePlan) -> Mapping[str, GateResult]:
        reports = [each for name, each in self.episodes.items() if plan.covers(self._askers[name])]
        scores = RunScores.of_outcomes([report.outcome for report in reports], tasks=TASKS)
        stopping = self.stopping
        if stopping is not None:
            scores = stopping.seen(scores)
        spend = stopping.spend if stopping else spend_all
        obstacle = self._obstacle()
        found: dict[str, GateResult] = {}
        for rule in plan.rules:
            problem, reference = obstacle, None
            if rule.relative:
                reference, incomparable = self._reference(plan, scores)
                problem = problem or incomparable
            for result in evaluate_rules([rule], scores, reference, spend=spend):
                found.setdefault(result.name, _doubted(result, problem))
        for gate in plan.gates:
            reason = obstacle or "nothing to judge: no such episode was played"
            found.setdefault(str(gate), unjudged(gate, reason))
        return {str(gate): found[str(gate)] for gate in plan.gates}

    def _obstacle(self) -> str:
        num_missing = self.num_missing + self.num_unknown
        if not num_missing:
            return ""
        # Long episodes are started first: a part of a run is no fair sample of it.
        num_episodes = len(self._run.nodeids) or len(self.episodes) + self.num_unknown
        return f"{num_missing:,} of {count_of(num_episodes, 'episode')} were not played"

    def _reference(self, plan: GatePlan, scores: RunScores) -> tuple[Reference | None, str]:
        if plan.reference is not None:
            return Reference(f"variant {plan.reference}", scores, plan.reference), ""
        try:
            return self.compared.reference, ""
        except BaselineError as error:
            return None, str(error)


class RunComparisons:
    """How episodes compare: with a baseline, and variants with one another.

    Each part is made once, when it is asked for.

    Args:
        report: The episodes. More of them are compared anew.
        run: What was played.
        tally: Has the baseline.
    """

    def __init__(self, report: RunReport, run: RunSpec, tally: Tally) -> None:
        self._report = report
        self._run = run
        self._tally = tally

    @functools.cached_property
    def snapshot(self) -> RunSnapshot:
        """The run as baselines keep it.

        Raises:
            BaselineError: A task and seed was played on several layouts.
        """
        run = self._run
        return take_snapshot(
            [episode.outcome for episode in self._report.episodes],
            model_label=run.model_label,
            offline=run.is_offline,
            settings=run.settings.as_plain(),
            versions=installed_versions(),
            variant_hashes=run.variant_hashes,
            variants=run.settings.variants or run.configuration.variants,
            tasks=TASKS,
        )

    @property
    def reference(self) -> Reference | None:
        """The baseline, as what changes refer to; None without one.

        Raises:
            BaselineError: It cannot be read, or not be compared with.
        """
        return self._checked_baseline[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """How the baseline's run differs from this one without harm.

        Raises:
            BaselineError: As `reference`.
        """
        return self._checked_baseline[1]

    @functools.cached_property
    def against_baseline(self) -> Comparison | None:
        """Every variant beside its namesake in the baseline; None without a baseline.

        Raises:
            BaselineError: As `reference`.
        """
        if self.reference is None:
            return None
        settings, stopping = self._run.settings, self._tally.stopping
        scores = self.snapshot.scores
        return compare(
            stopping.seen(scores) if stopping else scores,
            self.reference,
            margins=margins(settings.margin),
            primary=settings.primary,
            spend=stopping.spend if stopping else spend_all,
        )

    @functools.cached_property
    def between_variants(self) -> Comparison | None:
        """All variants beside the one of reference; None where there is only one."""
        settings = self._run.settings
        return compare_variants(
            self._report,
            settings.reference,
            margin=settings.margin,
            primary=settings.primary,
            stopping=self._tally.stopping,
        )

    @functools.cached_property
    def possible(self) -> tuple[Comparison, ...]:
        """Both comparisons, as far as there are any; an impossible one is left out."""
        try:
            found = [self.against_baseline, self.between_variants]
        except BaselineError:
            found = [self.between_variants]
        return tuple(comparison for comparison in found if comparison is not None)

    @functools.cached_property
    def _checked_baseline(self) -> tuple[Reference | None, tuple[str, ...]]:
        baseline = self._tally.baseline
        if baseline is None:
            return None, ()
        notes = check_comparable(self.snapshot, baseline.snapshot, label=baseline.label)
        return Reference(baseline.label, baseline.snapshot.scores), notes


def _fingerprints(
    episodes: Iterable[PlannedEpisode], wanted: Collection[tuple[str, int]], settings: Settings
) -> dict[tuple[str, int], str]:
    found: dict[tuple[str, int], str] = {}
    for episode in episodes:
        pair = (episode.spec.task, episode.spec.seed)
        if pair in wanted and pair not in found:
            make = environment_factory(settings.environment, num_dists=episode.num_dists)
            environment = make(episode.spec.task)
            environment.reset(seed=episode.spec.seed)
            found[pair] = environment.layout_fingerprint()
    return found


def _doubted(result: GateResult, problem: str) -> GateResult:
    return unjudged(result.rule, problem) if problem else result
