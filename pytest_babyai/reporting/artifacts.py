"""A judged run, written in every form that is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.charts import write_charts
from pytest_babyai.reporting.html import write_html_report
from pytest_babyai.reporting.markdown import markdown_report
from pytest_babyai.reporting.recorded import NO_PROVENANCE, Provenance
from pytest_babyai.reporting.tables_export import write_csv, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.gate import Comparison, GateResult
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport, RunReport


@dataclass(frozen=True, slots=True)
class Judged:
    """A run with all that is said about it.

    Attributes:
        report: The run; the HTML report replays those episodes that have their steps.
        provenance: Where its numbers come from.
        comparisons: What variants are compared with; the first is in main tables.
        notes: How the runs compared differ without harm.
        gates: What its rules came to.
        make_environment: Makes the environment of an episode, so that grids can be drawn.
    """

    report: RunReport
    provenance: Provenance = NO_PROVENANCE
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    gates: tuple[GateResult, ...] = ()
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None = None

    def markdown(self) -> str:
        """Returns it in GitHub's Markdown."""
        return markdown_report(
            self.report,
            provenance=self.provenance,
            comparisons=self.comparisons,
            gates=self.gates,
            notes=self.notes,
        )


def check_place(option: str, path: Path, *, is_directory: bool = False) -> None:
    """Refuses a place where nothing could be written, before there is anything to write.

    Args:
        option: What names it, for error lines.
        path: The place; directories that lack are made when it is written.
        is_directory: Whether a directory is to be written, not a file.

    Raises:
        SettingsError: It is of the wrong kind, or lies where nothing can be written.
    """
    if path.exists() and path.is_dir() is not is_directory:
        found, wanted = ("a directory", "a file") if path.is_dir() else ("a file", "a directory")
        raise SettingsError(f"{option}: {path} is {found}; give the name of {wanted}")
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    if not existing.is_dir():
        raise SettingsError(f"{option}: {existing} is a file, so there can be no {path}")
    if not os.access(existing, os.W_OK):
        raise SettingsError(f"{option}: {existing} cannot be written to")


def write_artifacts(files: Mapping[str, Path], judged: Judged) -> Iterator[Path]:
    """Writes a run, and yields every file or directory once it is there.

    Args:
        files: Path by kind: ``html``, ``md``, ``csv``, ``parquet``, ``charts``.
        judged: The run.

    Raises:
        SettingsError: A file cannot be written, or a library for it is not installed.
    """
    for kind, path in files.items():
        _WRITERS[kind](path, judged)
        yield path


def _html(path: Path, judged: Judged) -> None:
    write_html_report(
        path,
        judged.report,
        provenance=judged.provenance,
        comparisons=judged.comparisons,
        gates=judged.gates,
        make_environment=judged.make_environment,
    )


def _markdown(path: Path, judged: Judged) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(judged.markdown(), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


def _csv(path: Path, judged: Judged) -> None:
    write_csv(path, judged.report, run_id=judged.provenance.run_id)


def _parquet(path: Path, judged: Judged) -> None:
    write_parquet(path, judged.report, run_id=judged.provenance.run_id)


def _charts(path: Path, judged: Judged) -> None:
    comparison = judged.comparisons[0] if judged.comparisons else None
    write_charts(path, judged.report, comparison=comparison)


_WRITERS: Mapping[str, Callable[[Path, Judged], None]] = {
    "html": _html,
    "md": _markdown,
    "csv": _csv,
    "parquet": _parquet,
    "charts": _charts,
}
