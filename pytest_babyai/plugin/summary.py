"""The terminal summary: gathers the episodes of all reports, prints the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import UsageError
from pytest_babyai.plugin.reports import ATTRIBUTE, resume_command
from pytest_babyai.reporting.numbers import symbols_for
from pytest_babyai.reporting.recorded import with_steps
from pytest_babyai.reporting.terminal import terminal_lines

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from pytest_babyai.plugin.session import EpisodeSession
    from pytest_babyai.reporting.results import RunReport


class SummaryHooks:
    """Prints what the episodes came to."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gathers a report's episode."""
        self._session.collect(report)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        """Prints the tables; where no episode was reported, how to go on if that was too early."""
        is_interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
        may_go_on = is_interrupted and self._session.journal is not None
        if not (self._session.episodes or may_go_on):
            return
        report = self._session.results.report(interrupted=is_interrupted)
        if self._session.episodes:
            self._print_tables(terminalreporter, report)
        for text in self._journal_lines(report):
            terminalreporter.write_line(text)

    def _print_tables(self, terminalreporter: pytest.TerminalReporter, report: RunReport) -> None:
        writer = self._session.config.get_terminal_writer()
        verbosity = terminalreporter.verbosity
        journal = self._session.journal
        if verbosity > 0 and journal is not None:  # to say why episodes fail
            report = with_steps(report, journal.log)
        terminalreporter.section("BabyAI episodes", sep="=")
        for line in terminal_lines(
            self._session.results.summary(report),
            width=writer.fullwidth,
            symbols=symbols_for(_encoding(writer)),
            verbosity=verbosity,
        ):
            terminalreporter.write_line(line.text, **line.style)

    def _journal_lines(self, report: RunReport) -> Iterator[str]:
        if (link := self._session.store_link) is not None:
            yield from link.lines(self._session.run_id)
        journal = self._session.journal
        if journal is None:
            return
        run_id = journal.log.run_id
        yield f"run {run_id}; see it with: python -m pytest_babyai show {run_id}"
        if len(report.episodes) < report.num_selected:
            yield f"go on with: {resume_command(self._session.config, run_id)}"


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


def _encoding(writer: Any) -> str | None:
    return getattr(writer._file, "encoding", None)  # noqa: SLF001 - the writer does not tell
