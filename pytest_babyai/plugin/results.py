"""What the episodes of a session came to, and what they are held against."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import TYPE_CHECKING, Final

from pytest_babyai.environment import TASKS, environment_factory
from pytest_babyai.errors import BaselineError
from pytest_babyai.gate import (
    GateOutcome,
    GateResult,
    Reference,
    RunScores,
    UnscoredEpisode,
    check_comparable,
    evaluate_rules,
    find_baseline,
    load_baseline,
)
from pytest_babyai.plugin.comparing import Baseline, RunComparisons
from pytest_babyai.reporting.numbers import count_of
from pytest_babyai.reporting.recorded import NO_PROVENANCE, provenance_of, span_s
from pytest_babyai.reporting.results import Effort, RunReport, RunSetup, num_requests
from pytest_babyai.reporting.summary import build_summary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pytest_babyai.plugin.gates import GatePlan
    from pytest_babyai.plugin.selection import PlannedEpisode, Selection
    from pytest_babyai.plugin.session import EpisodeSession
    from pytest_babyai.reporting.results import EpisodeReport
    from pytest_babyai.reporting.summary import Summary
    from pytest_babyai.settings.model import Settings

    Pair = tuple[str, int]


_INCONCLUSIVE: Final = GateOutcome.INCONCLUSIVE


class Results:
    """Reads the reports of a session as a run that can be judged."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session
        self._started_s = time.monotonic()
        self._judged: dict[GatePlan, Mapping[str, GateResult]] = {}
        self._compared: RunComparisons | None = None

    @property
    def compared(self) -> RunComparisons:
        """The comparisons of the run so far, the same object until there is another episode."""
        if self._compared is None:
            selection = self._session.selection
            self._compared = RunComparisons(self.report(), selection, lambda: self.baseline)
        return self._compared

    def count_anew(self) -> None:
        """Takes note that there is another episode: what was compared is out of date."""
        self._compared = None

    @functools.cached_property
    def baseline(self) -> Baseline | None:
        """What ``--babyai-compare`` names.

        Raises:
            BaselineError: There is no such baseline, or it cannot be read.
        """
        selection = self._session.selection
        text = selection.settings.compare
        if text is None:
            return None
        path = find_baseline(self.place_of("compare", text), selection.baselines)
        return Baseline(f"baseline {path.stem}", load_baseline(path))

    def check_baseline(self, planned: Iterable[PlannedEpisode]) -> None:
        """Refuses a baseline whose levels are not those that will be played.

        Args:
            planned: The episodes; none where other processes know them.

        Raises:
            BaselineError: It cannot be read, or not be compared.
        """
        episodes = list(planned)
        if self.baseline is None or not episodes:
            return
        scores = RunScores.of(UnscoredEpisode(each.spec, "planned") for each in episodes)
        common = self.baseline.snapshot.fingerprints.keys()
        run = dataclasses.replace(
            self.compared.snapshot,
            scores=scores,
            fingerprints=_fingerprints(episodes, common, self._session.selection.settings),
        )
        check_comparable(run, self.baseline.snapshot, label=self.baseline.label)

    def place_of(self, setting: str, text: str) -> str:
        """Returns a baseline's name as it is, and its path as it is meant."""
        is_path = "/" in text or text.endswith(".json")
        return str(self._session.selection.path_of(setting, text)) if is_path else text

    @property
    def num_missing(self) -> int:
        """Episodes that were to be played and were not, those stopped on purpose apart."""
        session = self._session
        selected = session.agenda.num_selected or len(session.episodes)
        return max(0, selected - len(session.episodes) - session.num_decided_early)

    def report(self, *, interrupted: bool = False) -> RunReport:
        """Returns the run so far."""
        episodes = tuple(self._session.episodes.values())
        return RunReport(
            setup=_setup(self._session.selection),
            episodes=episodes,
            num_selected=len(episodes) + self.num_missing,
            wall_time_s=time.monotonic() - self._started_s,
            interrupted=interrupted,
            played=self._played(),
        )

    def _played(self) -> Effort:
        session = self._session
        if session.run is not None:
            return session.run.effort
        reused = session.journal.reused_ids if session.journal else frozenset()
        own = [each.outcome for name, each in session.episodes.items() if name not in reused]
        return Effort(len(own), sum(map(num_requests, own)), span_s(own))

    def summary(self, report: RunReport | None = None, *, interrupted: bool = False) -> Summary:
        """Returns what there is to say of the run so far.

        Args:
            report: The run, where it has its steps; None for the one without.
            interrupted: Whether it was stopped.
        """
        session = self._session
        try:
            notes = self.compared.notes
        except BaselineError as error:
            notes = (f"not compared: {error}",)
        return build_summary(
            report or self.report(interrupted=interrupted),
            comparisons=self.compared.possible,
            gates=self.judged(),
            notes=notes,
            notices=tuple(session.notices()),
            provenance=provenance_of(session.journal.log.manifest)
            if session.journal
            else NO_PROVENANCE,
        )

    def judge(self, plan: GatePlan) -> Mapping[str, GateResult]:
        """Returns what the gates of a plan came to, by name."""
        if plan not in self._judged:
            self._judged[plan] = self._judge(plan)
        return self._judged[plan]

    def judged(self) -> list[GateResult]:
        """Returns what all gates that were run came to."""
        return [result for results in self._judged.values() for result in results.values()]

    def _judge(self, plan: GatePlan) -> Mapping[str, GateResult]:
        episodes, askers = self._session.episodes, self._session.askers
        reports = [each for name, each in episodes.items() if plan.covers(askers[name])]
        scores = _scores(reports)
        obstacle = self._obstacle()
        found: dict[str, GateResult] = {}
        for rule in plan.rules:
            problem, reference = obstacle, None
            if rule.relative:
                reference, incomparable = self._reference(plan, scores)
                problem = problem or incomparable
            for result in evaluate_rules([rule], scores, reference):
                found.setdefault(result.name, _doubted(result, problem))
        for gate in plan.gates:
            reason = obstacle or "nothing to judge: no such episode was played"
            missing = GateResult(gate, gate.variant, gate.task, _INCONCLUSIVE, reason)
            found.setdefault(str(gate), missing)
        return {str(gate): found[str(gate)] for gate in plan.gates}

    def _obstacle(self) -> str:
        if not self.num_missing:
            return ""
        # Long episodes are started first: a part of a run is no fair sample of it.
        episodes = count_of(self._session.agenda.num_selected, "episode")
        return f"{self.num_missing:,} of {episodes} were not played"

    def _reference(self, plan: GatePlan, scores: RunScores) -> tuple[Reference | None, str]:
        if plan.reference is not None:
            return Reference(f"variant {plan.reference}", scores, plan.reference), ""
        try:
            return self.compared.reference, ""
        except BaselineError as error:
            return None, str(error)


def _fingerprints(
    episodes: Iterable[PlannedEpisode], wanted: Collection[Pair], settings: Settings
) -> dict[Pair, str]:
    found: dict[Pair, str] = {}
    for episode in episodes:
        pair = (episode.spec.task, episode.spec.seed)
        if pair in wanted and pair not in found:
            make = environment_factory(settings.environment, num_dists=episode.num_dists)
            environment = make(episode.spec.task)
            environment.reset(seed=episode.spec.seed)
            found[pair] = environment.layout_fingerprint()
    return found


def _scores(reports: Iterable[EpisodeReport]) -> RunScores:
    return RunScores.of_outcomes([report.outcome for report in reports], tasks=TASKS)


def _doubted(result: GateResult, problem: str) -> GateResult:
    if not problem:
        return result
    return GateResult(result.rule, result.variant, result.task, _INCONCLUSIVE, problem)


def _setup(selection: Selection) -> RunSetup:
    settings = selection.settings
    return RunSetup(
        model_label=selection.model_label,
        offline=selection.is_offline,
        environment=settings.environment,
        variants=selection.variants(settings),
        tasks=TASKS,
        gate=settings.gate,
        on_error=settings.on_error,
    )
