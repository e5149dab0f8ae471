"""Files that a session leaves behind: reports, charts and a blessed baseline."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import pytest

from pytest_babyai.environment import environment_factory
from pytest_babyai.errors import BaselineError, SettingsError, UsageError
from pytest_babyai.gate import baseline_path, save_baseline
from pytest_babyai.reporting.artifacts import check_place, write_artifacts
from pytest_babyai.reporting.github import append_step_summary
from pytest_babyai.reporting.markdown import markdown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.plugin.state import State
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport

KINDS: Final = ("html", "md", "csv", "parquet", "charts")
_LIBRARIES: Final = {
    "charts": ("vl_convert", "report"),
    "parquet": ("pyarrow", "parquet"),
}


class ArtifactHooks:
    """Writes the files at the end of a session, and tells of them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._told: list[str] = []
        self._problems: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the files; one that cannot be written is a usage error, after all others."""
        if self._state.error is not None or not self._state.tally.episodes:
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
        files = artifact_paths(self._state)
        if not files:
            return
        summary = self._state.summary(
            interrupted=interrupted, with_trajectories=bool({"html", "md"} & files.keys())
        )
        for path in write_artifacts(files, summary, make_environment=self._environment):
            yield f"{path} written"

    def _write_step_summary(self, *, interrupted: bool) -> Iterator[str]:
        try:
            append_step_summary(
                os.environ, lambda: markdown(self._state.summary(interrupted=interrupted))
            )
        except SettingsError as error:  # nobody asked for it by an option
            yield f"WARNING: {error}"

    def _bless(self, *, interrupted: bool) -> Iterator[str]:
        place = self._state.plan.baseline_place("save")
        if place is None:
            return
        tally = self._state.tally
        path = baseline_path(place, self._state.plan.baselines)
        if interrupted or tally.num_missing:
            raise BaselineError(
                f"--babyai-save: {path} not written: {tally.num_missing:,} episodes were not "
                "played; finish the run with --babyai-resume"
            )
        allow_errors = self._state.plan.settings.save_errors == "on"
        save_baseline(path, tally.compared.snapshot, allow_errors=allow_errors)
        yield f"baseline {path} written; commit it"

    def _environment(self, episode: EpisodeReport) -> ReplayEnvironment:
        plan = self._state.plan
        num_dists = plan.settings_of(episode.nodeid).num_dists
        make = environment_factory(plan.settings.environment, num_dists=num_dists)
        return make(episode.spec.task)


def artifact_paths(state: State) -> dict[str, Path]:
    """Returns where files are to be written, by kind."""
    plan = state.plan
    chosen = {kind: getattr(plan.settings, kind) for kind in KINDS}
    return {kind: plan.path_of(kind, path) for kind, path in chosen.items() if path is not None}


def check_artifacts(state: State) -> None:
    """Refuses, before an episode is played, files that could not be written in the end.

    Raises:
        SettingsError: A library is missing, or there is no such directory to write to.
        BaselineError: A name is none.
    """
    for kind, path in artifact_paths(state).items():
        library, extra = _LIBRARIES.get(kind, ("", ""))
        if library and find_spec(library) is None:
            raise SettingsError(
                f"--babyai-{kind} needs {library.replace('_', '-')}, which is not installed: "
                f"pip install 'pytest-babyai[{extra}]'"
            )
        check_place(f"--babyai-{kind}", path, is_directory=kind == "charts")
    save = state.plan.baseline_place("save")
    if save is not None:
        check_place("--babyai-save", baseline_path(save, state.plan.baselines))
