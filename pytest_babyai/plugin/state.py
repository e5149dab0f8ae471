"""The three owners of a session with episodes, plan, tally and player, and when they are made."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.output import HeldOutput
from pytest_babyai.plugin.plan import ITEM_PLAN, Agenda, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_babyai.playing.player import Player
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.plugin.tally import Tally


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
            self.player.close(finished=not self.tally.num_missing, is_interrupted=is_interrupted)
        finally:
            self.output.unwatch()
