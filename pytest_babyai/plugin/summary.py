"""The terminal summary: gathers the episodes of all reports, prints the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.outcomes import ATTRIBUTE, resume_command
from pytest_babyai.reporting.numbers import symbols_for
from pytest_babyai.reporting.terminal import terminal_lines

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pytest_babyai.plugin.state import State
    from pytest_babyai.reporting.results import RunReport
    from pytest_babyai.reporting.summary import Summary


class SummaryHooks:
    """Prints what the episodes came to."""

    def __init__(self, state: State) -> None:
        self._state = state

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Prints the tables; where no episode was reported, how to go on if that was too early."""
        is_interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        if self._state.error is not None:
            return
        tally, player = self._state.tally, self._state.player
        may_go_on = is_interrupted and player is not None and player.journal is not None
        if not (tally.episodes or may_go_on):
            return
        verbosity = terminalreporter.verbosity
        summary = self._state.summary(interrupted=is_interrupted, with_trajectories=verbosity > 0)
        if tally.episodes:
            self._print_tables(terminalreporter, summary)
        for text in self._journal_lines(summary.report):
            terminalreporter.write_line(text)

    def _print_tables(self, terminalreporter: pytest.TerminalReporter, summary: Summary) -> None:
        writer = self._state.config.get_terminal_writer()
        terminalreporter.section("BabyAI episodes", sep="=")
        for line in terminal_lines(
            summary,
            width=writer.fullwidth,
            symbols=symbols_for(_encoding(writer)),
            verbosity=terminalreporter.verbosity,
        ):
            terminalreporter.write_line(line.text, **line.style)

    def _journal_lines(self, report: RunReport) -> Iterator[str]:
        if not report.episodes:
            yield from self._state.notices
        player = self._state.player
        if player is None:
            return
        if player.server is not None:
            yield from player.server.notes()
        if player.link is not None:
            yield from player.link.lines(player.run_id)
        if player.journal is None:
            return
        run_id = player.run_id
        if player.journal.spent is not None:
            yield f"consumed by all sessions of the run: {player.journal.log.spent()}"
        yield f"run {run_id}; see it with: python -m pytest_babyai show {run_id}"
        if len(report.episodes) < report.num_selected:
            yield f"go on with: {resume_command(self._state.config, run_id)}"


class TrimHooks:
    """Keeps all but the first failed episodes out of pytest's own sections."""

    def __init__(self, state: State) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Hides reports while the sections are printed; counts and exit code keep them."""
        try:
            num_shown = self._state.plan.settings.details
        except UsageError:
            return (yield)
        stats: dict[str, list[Any]] = terminalreporter.stats
        whole: dict[str, list[Any]] = {
            name: stats[name] for name in ("failed", "error", "xfailed") if name in stats
        }
        stats.update({name: list(_first(reports, num_shown)) for name, reports in whole.items()})
        try:
            yield
        finally:
            stats.update(whole)


def _first(reports: Iterable[Any], num_shown: int) -> Generator[Any, None, None]:
    num_seen = 0
    for report in reports:
        is_episode = hasattr(report, ATTRIBUTE)
        num_seen += is_episode
        if not is_episode or num_seen <= num_shown:
            yield report


def _encoding(writer: Any) -> str | None:
    return getattr(writer._file, "encoding", None)  # noqa: SLF001 - the writer does not tell
