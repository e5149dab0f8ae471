"""The terminal summary: gathers the episodes of all reports, prints the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.outcomes import ATTRIBUTE, resume_command
from pytest_babyai.reporting.comparison import comparison_lines, gate_lines, reference_lines
from pytest_babyai.reporting.episodes import counts_lines
from pytest_babyai.reporting.numbers import count_of, symbols_for
from pytest_babyai.reporting.terminal import WARNING_STYLE, Line, summary_lines, wrapped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pytest_babyai.plugin.state import State
    from pytest_babyai.reporting.results import RunReport


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
        report = tally.report(interrupted=is_interrupted)
        if tally.episodes:
            self._print_tables(terminalreporter, report)
        for text in self._journal_lines(report):
            terminalreporter.write_line(text)

    def _print_tables(self, terminalreporter: pytest.TerminalReporter, report: RunReport) -> None:
        writer = self._state.config.get_terminal_writer()
        width, symbols = writer.fullwidth, symbols_for(_encoding(writer))
        verbosity = terminalreporter.verbosity
        terminalreporter.section("BabyAI episodes", sep="=")
        how: dict[str, Any] = {"width": width, "symbols": symbols}
        between = self._state.tally.compared.between_variants
        for line in summary_lines(report, comparison=between, verbosity=verbosity, **how):
            terminalreporter.write_line(line.text, **line.style)
        for line in self._decision_lines(verbosity, how):
            terminalreporter.write_line(line.text, **line.style)
        for text in counts_lines(report, width=width, symbols=symbols):
            terminalreporter.write_line(text)

    def _decision_lines(self, verbosity: int, how: dict[str, Any]) -> Iterator[Line]:
        tally, player = self._state.tally, self._state.player
        if player is not None and player.controls.early_stop is not None:
            yield from wrapped(
                player.controls.early_stop.lines(how["symbols"].plus_minus), how["width"]
            )
        compared = tally.compared
        if (between := compared.between_variants) and between.variants:
            yield Line("")
            yield from reference_lines(between, **how)
        try:
            against, notes = compared.against_baseline, compared.notes
        except UsageError as error:
            yield from wrapped([f"not compared: {error}"], how["width"], WARNING_STYLE)
        else:
            if against is not None:
                yield Line("")
                yield from comparison_lines(against, notes=notes, verbosity=verbosity, **how)
        if judged := tally.judged():
            yield Line("")
            yield from gate_lines(judged, **how)

    def _journal_lines(self, report: RunReport) -> Iterator[str]:
        yield from self._state.notices
        player = self._state.player
        if player is None:
            return
        yield from self._state.run.configuration.answer_lines(
            episode.outcome for episode in report.episodes
        )
        yield from player.controls.notes()
        if player.server is not None:
            yield from player.server.notes()
        if player.link is not None:
            yield from player.link.lines(player.run_id)
        if player.journal is None:
            return
        run_id = player.run_id
        reported = {each.outcome.episode_id for each in report.episodes}
        if reused := player.journal.reused_ids & reported:
            yield f"{count_of(len(reused), 'episode')} played before, and not played again"
        if player.journal.spent is not None:
            yield f"consumed by all sessions of the run: {player.journal.log.spent()}"
        if problems := player.journal.problems:
            lines = count_of(len(problems), "damaged line")
            yield f"WARNING: {lines} in the journal, not counted as played: {problems[0]}"
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
