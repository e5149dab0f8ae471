"""The terminal summary: gathers the episodes of all reports, prints the tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.environment import TASKS
from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.reports import ATTRIBUTE, resume_command
from pytest_babyai.reporting.episodes import counts_lines
from pytest_babyai.reporting.numbers import count_of, symbols_for
from pytest_babyai.reporting.results import RunReport, RunSetup
from pytest_babyai.reporting.terminal import summary_lines

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pytest_babyai.plugin.selection import Selection
    from pytest_babyai.plugin.session import EpisodeSession


class SummaryHooks:
    """Prints what the episodes came to."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session
        self._started_s = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gathers a report's episode."""
        self._session.collect(report)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Prints the tables, unless no episode was reported."""
        if not self._session.episodes:
            return
        report = self._report(interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
        writer = self._session.config.get_terminal_writer()
        width, symbols = writer.fullwidth, symbols_for(_encoding(writer))
        verbosity = terminalreporter.verbosity
        terminalreporter.section("BabyAI episodes", sep="=")
        for line in summary_lines(report, width=width, verbosity=verbosity, symbols=symbols):
            terminalreporter.write_line(line.text, **line.style)
        for text in counts_lines(report, width=width, symbols=symbols):
            terminalreporter.write_line(text)
        for text in self._journal_lines(report):
            terminalreporter.write_line(text)

    def _journal_lines(self, report: RunReport) -> Iterator[str]:
        yield from self._session.run.controls.notes() if self._session.run else ()
        journal = self._session.journal
        if journal is None:
            return
        run_id = journal.log.run_id
        if reused := journal.reused_ids & self._session.episodes.keys():
            yield f"{count_of(len(reused), 'episode')} played before, and not played again"
        yield f"run {run_id}; see it with: python -m pytest_babyai show {run_id}"
        if len(report.episodes) < report.num_selected:
            yield f"go on with: {resume_command(self._session.config, run_id)}"

    def _report(self, *, interrupted: bool) -> RunReport:
        episodes = tuple(self._session.episodes.values())
        return RunReport(
            setup=_setup(self._session.selection),
            episodes=episodes,
            num_selected=self._session.agenda.num_selected or len(episodes),
            wall_time_s=time.monotonic() - self._started_s,
            interrupted=interrupted,
        )


class TrimHooks:
    """Keeps all but the first failed episodes out of pytest's own sections."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Hides reports while the sections are printed; counts and exit code keep them."""
        try:
            num_shown = self._session.selection.settings.details
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


def _encoding(writer: Any) -> str | None:
    return getattr(writer._file, "encoding", None)  # noqa: SLF001 - the writer does not tell
