"""Files that a session leaves behind: reports, charts and a blessed baseline."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import pytest

from pytest_babyai.environment import environment_factory
from pytest_babyai.errors import BaselineError, SettingsError, UsageError
from pytest_babyai.gate import baseline_path, save_baseline
from pytest_babyai.plugin.distribution import share_of
from pytest_babyai.reporting.artifacts import check_place, write_artifacts
from pytest_babyai.reporting.github import append_step_summary
from pytest_babyai.reporting.markdown import markdown
from pytest_babyai.reporting.recorded import with_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.plugin.session import EpisodeSession
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport

KINDS: Final = ("html", "md", "csv", "parquet", "charts")
_LIBRARIES: Final = {
    "charts": ("vl_convert", "report"),
    "parquet": ("pyarrow", "parquet"),
}


class ArtifactHooks:
    """Writes the files at the end of a session, and tells of them."""

    def __init__(self, session: EpisodeSession) -> None:
        self._session = session
        self._told: list[str] = []
        self._problems: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the files; one that cannot be written is a usage error, after all others."""
        if share_of(session.config) is not None or not self._session.episodes:
            return
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        for write in (self._write_reports, self._write_step_summary, self._bless):
            self._tell(write(interrupted=interrupted))
        if self._problems and not interrupted:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _tell(self, lines: Iterator[str]) -> None:
        try:
            self._told.extend(lines)
        except UsageError as error:
            self._problems.append(str(error))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tells what was written, and what could not be."""
        for text in self._told:
            terminalreporter.write_line(text)
        for text in self._problems:
            terminalreporter.write_line(f"ERROR: {text}", red=True)

    def _write_reports(self, *, interrupted: bool) -> Iterator[str]:
        files = artifact_paths(self._session)
        if not files:
            return
        report = self._session.results.report(interrupted=interrupted)
        journal = self._session.journal
        if journal is not None and {"html", "md"} & files.keys():
            report = with_steps(report, journal.log)
        summary = self._session.results.summary(report)
        for path in write_artifacts(files, summary, make_environment=self._environment):
            yield f"{path} written"

    def _write_step_summary(self, *, interrupted: bool) -> Iterator[str]:
        results = self._session.results
        try:
            append_step_summary(
                os.environ, lambda: markdown(results.summary(interrupted=interrupted))
            )
        except SettingsError as error:  # nobody asked for it by an option
            yield f"WARNING: {error}"

    def _bless(self, *, interrupted: bool) -> Iterator[str]:
        text = self._session.selection.settings.save
        if text is None:
            return
        results = self._session.results
        path = baseline_path(results.place_of("save", text), self._session.selection.baselines)
        if interrupted or results.num_missing:
            raise BaselineError(
                f"--babyai-save: {path} not written: {results.num_missing:,} episodes were not "
                "played; finish the run with --babyai-resume"
            )
        save_baseline(path, results.compared.snapshot)
        yield f"baseline {path} written; commit it"

    def _environment(self, episode: EpisodeReport) -> ReplayEnvironment:
        selection = self._session.selection
        num_dists = selection.num_dists_of(episode.nodeid)
        make = environment_factory(selection.settings.environment, num_dists=num_dists)
        return make(episode.spec.task)


def artifact_paths(session: EpisodeSession) -> dict[str, Path]:
    """Returns where files are to be written, by kind."""
    selection = session.selection
    chosen = {kind: getattr(selection.settings, kind) for kind in KINDS}
    return {
        kind: selection.path_of(kind, path) for kind, path in chosen.items() if path is not None
    }


def check_artifacts(session: EpisodeSession) -> None:
    """Refuses, before an episode is played, files that could not be written in the end.

    Raises:
        SettingsError: A library is missing, or there is no such directory to write to.
        BaselineError: A name is none.
    """
    for kind, path in artifact_paths(session).items():
        library, extra = _LIBRARIES.get(kind, ("", ""))
        if library and find_spec(library) is None:
            raise SettingsError(
                f"--babyai-{kind} needs {library.replace('_', '-')}, which is not installed: "
                f"pip install 'pytest-babyai[{extra}]'"
            )
        check_place(f"--babyai-{kind}", path, is_directory=kind == "charts")
    save = session.selection.settings.save
    if save is not None:
        named = session.results.place_of("save", save)
        check_place("--babyai-save", baseline_path(named, session.selection.baselines))
