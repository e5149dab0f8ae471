"""The three owners of a session with episodes, plan, tally and player, and when they are made."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
from typing import TYPE_CHECKING

from pytest_babyai.errors import JournalError, UsageError
from pytest_babyai.plugin.output import HeldOutput
from pytest_babyai.plugin.plan import ITEM_PLAN, Agenda, Plan
from pytest_babyai.reporting.numbers import count_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from pytest_babyai.playing.player import Player
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.plugin.tally import Tally
    from pytest_babyai.reporting.results import RunReport
    from pytest_babyai.reporting.summary import Summary


class State:
    """Holds what is to be played, what plays it, and what came of it.

    Attributes:
        config: pytest's configuration.
        agenda: The episodes of the selected items.
        error: The first setting that was found wrong, None while none was.
        notices: Lines for the summary that hooks have come upon.
        player: Plays the episodes; None before the first is started.
        output: What episodes print and log, until their items run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.agenda = Agenda()
        self.error: UsageError | None = None
        self.notices: list[str] = []
        self.player: Player | None = None
        self.output = HeldOutput()

    @functools.cached_property
    def plan(self) -> Plan:
        """The settings of the session, read at their first use.

        Raises:
            UsageError: They are wrong.
        """
        return Plan(self.config)

    @functools.cached_property
    def run(self) -> RunSpec:
        """What the session plays; fixed at its first use."""
        return self.plan.run_spec(self.agenda.nodeids)

    @functools.cached_property
    def tally(self) -> Tally:
        """What came of the episodes.

        Raises:
            BaselineError: There is no such baseline.
        """
        from pytest_babyai.plugin.tally import Tally

        return Tally(self.run, self.plan.find_baseline())

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Gives a marked test its episodes; what is wrong ends the session after collection."""
        try:
            self.plan.parametrize(metafunc)
        except UsageError as error:
            self.error = self.error or error

    def plan_items(self, items: Iterable[pytest.Item]) -> None:
        """Puts on every collected item what it asks of its episode."""
        if self.error is not None:
            return
        for item in items:
            if ITEM_PLAN not in item.stash:
                self.plan.put_on(item)

    def open_player(self) -> Player:
        """Returns the player, opened at the first call.

        Raises:
            UsageError: Server, gateway, environment or journal cannot be had.
        """
        if self.player is None:
            from pytest_babyai.playing.player import open_player

            self.output.watch()
            try:
                rules = dict.fromkeys(r for each in self.plan.rules_of.values() for r in each.rules)
                run = dataclasses.replace(self.run, decisions=self.tally.decisions(tuple(rules)))
                self.player = open_player(run, around=self.output.of)
                self.tally.stopping = self.player.controls.early_stop
            except BaseException:
                self.output.unwatch()
                raise
        return self.player

    def close(self, *, is_interrupted: bool = False) -> None:
        """Ends the player, if there is one."""
        if self.player is None:
            return
        try:
            self.tally.num_left_out = len(self.player.controls.left_out)
            self._keep_verdicts(self.player, is_interrupted=is_interrupted)
            self.player.close(finished=not self.tally.num_missing, is_interrupted=is_interrupted)
        finally:
            self.output.unwatch()

    def summary(self, *, interrupted: bool = False, with_trajectories: bool = False) -> Summary:
        """Returns what there is to say of the session's episodes.

        Args:
            interrupted: Whether it was stopped.
            with_trajectories: Whether steps are read from the journal, to be shown or diagnosed.
        """
        from pytest_babyai.reporting.recorded import NO_PROVENANCE, provenance_of, with_steps
        from pytest_babyai.reporting.results import Effort

        player = self.player
        if player is not None:
            start_s, end_s = player.span_s or (0.0, 0.0)
            played = Effort(player.num_finished, player.num_requests, end_s - start_s)
            self.tally.played = played
        report = self.tally.report(interrupted=interrupted)
        journal = player.journal if player is not None else None
        if journal is not None and with_trajectories:
            report = with_steps(report, journal.log)
        provenance = provenance_of(journal.log.manifest) if journal else NO_PROVENANCE
        notices = self._report_notices(report)
        return self.tally.summary(report, notices=notices, provenance=provenance)

    def _report_notices(self, report: RunReport) -> Iterator[str]:
        """Yields what reports have to say beyond the episodes."""
        yield from self.notices
        player = self.player
        if player is None:
            return
        if player.controls.early_stop is not None:
            yield from player.controls.early_stop.lines("±")
        outcomes = (episode.outcome for episode in report.episodes)
        yield from self.run.configuration.answer_lines(outcomes)
        yield from player.controls.notes()
        if player.journal is None:
            return
        reported = {each.outcome.episode_id for each in report.episodes}
        if reused := player.journal.reused_ids & reported:
            yield f"{count_of(len(reused), 'episode')} played before, and not played again"
        if problems := player.journal.problems:
            lines = count_of(len(problems), "damaged line")
            yield f"WARNING: {lines} in the journal, not counted as played: {problems[0]}"

    def _keep_verdicts(self, player: Player, *, is_interrupted: bool) -> None:
        """Keeps what is said of the run with it, so that a later report says the same."""
        if player.journal is None or not self.tally.episodes:
            return
        from pytest_babyai.reporting.artifacts import verdicts_of
        from pytest_babyai.reporting.recorded import CI_NOTE, VERDICTS_NOTE, ci_url

        verdicts = verdicts_of(self.summary(interrupted=is_interrupted))
        notes = {VERDICTS_NOTE: verdicts.to_plain(), CI_NOTE: ci_url(os.environ)}
        with contextlib.suppress(JournalError):  # a report can do without, the episodes are safe
            player.journal.add_notes(notes)
