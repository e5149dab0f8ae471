"""A run of the journal, written in the forms that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.html import compare_variants, write_html_report
from pytest_babyai.reporting.markdown import markdown_report
from pytest_babyai.reporting.recorded import provenance_of, recorded_run
from pytest_babyai.reporting.tables_export import write_csv, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport, RunReport


def write_reports(
    log: RunLog,
    files: Mapping[str, Path],
    environments_of: Callable[[RunLog], Callable[[EpisodeReport], ReplayEnvironment]],
) -> None:
    """Writes reports of a run.

    Args:
        log: The run.
        files: Path by kind: ``html``, ``md``, ``csv``, ``parquet``.
        environments_of: Gives what makes the environments of a run's episodes, for its replays.

    Raises:
        JournalError: The run cannot be read.
        SettingsError: A file cannot be written, or a library for it is not installed.
    """
    report = recorded_run(log, with_steps="html" in files)
    if "html" in files:
        provenance = provenance_of(log.manifest)
        make_environment = environments_of(log)
        write_html_report(
            files["html"], report, provenance=provenance, make_environment=make_environment
        )
    if "md" in files:
        _write_markdown(files["md"], log, report)
    if "csv" in files:
        write_csv(files["csv"], report, run_id=log.run_id)
    if "parquet" in files:
        write_parquet(files["parquet"], report, run_id=log.run_id)


def _write_markdown(path: Path, log: RunLog, report: RunReport) -> None:
    comparison = compare_variants(report)
    text = markdown_report(
        report,
        provenance=provenance_of(log.manifest),
        comparisons=[comparison] if comparison else [],
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
