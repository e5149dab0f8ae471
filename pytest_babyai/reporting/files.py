"""A run of the journal, written in the forms that are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.reporting.artifacts import Judged, write_artifacts
from pytest_babyai.reporting.comparison import compare_variants
from pytest_babyai.reporting.recorded import provenance_of, recorded_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport


def write_reports(
    log: RunLog,
    files: Mapping[str, Path],
    environments_of: Callable[[RunLog], Callable[[EpisodeReport], ReplayEnvironment]],
    *,
    tasks: Sequence[str] = (),
    reference: str | None = None,
) -> Iterator[Path]:
    """Writes reports of a run, and yields every file once it is there.

    Args:
        log: The run.
        files: Path by kind, as `write_artifacts` takes them.
        environments_of: Gives what makes the environments of a run's episodes, for its replays.
        tasks: In the order of the tables; others follow by name.
        reference: The variant that the others are compared with; None takes the run's own.

    Raises:
        JournalError: The run cannot be read.
        SettingsError: A file cannot be written, or a library for it is not installed.
    """
    report = recorded_run(log, tasks, with_steps="html" in files)
    chosen = reference or log.manifest.session.settings.get("reference")
    comparison = compare_variants(report, chosen if chosen in report.variants else None)
    judged = Judged(
        report=report,
        provenance=provenance_of(log.manifest),
        comparisons=(comparison,) if comparison else (),
        make_environment=environments_of(log),
    )
    yield from write_artifacts(files, judged)
