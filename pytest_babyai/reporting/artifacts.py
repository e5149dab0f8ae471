"""A run's summary in every form that is asked for, at its end or later from its journal."""

from __future__ import annotations

import collections
import dataclasses
import os
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import BaselineError, RuleError, SettingsError
from pytest_babyai.gate import (
    BASELINES_DIRECTORY,
    Reference,
    RunScores,
    check_comparable,
    compare,
    evaluate_rules,
    find_baseline,
    load_baseline,
    parse_rules,
)
from pytest_babyai.reporting.charts import write_charts
from pytest_babyai.reporting.html import html
from pytest_babyai.reporting.markdown import markdown
from pytest_babyai.reporting.recorded import (
    VERDICTS_NOTE,
    provenance_of,
    recorded_run,
    recorded_snapshot,
)
from pytest_babyai.reporting.summary import (
    DEFAULT_MARGIN,
    Verdicts,
    build_summary,
    compare_variants,
    margins,
)
from pytest_babyai.reporting.tables_export import write_csv, write_parquet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.gate import Comparison, GateResult
    from pytest_babyai.journal import RunLog
    from pytest_babyai.reporting.recorded import Provenance
    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport, RunReport
    from pytest_babyai.reporting.summary import Summary

EVERY_OTHER: Final = ""
"""In the thresholds of `Verdicts`, the node id that stands for all that are not named."""


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


def write_artifacts(
    files: Mapping[str, Path],
    summary: Summary,
    *,
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None = None,
    attachments: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Writes a run, and yields every file or directory once it is there.

    Args:
        files: Path by kind: ``html``, ``md``, ``csv``, ``parquet``, ``charts``.
        summary: The run.
        make_environment: Makes the environment of an episode, so that grids can be drawn.
        attachments: Texts by title that the HTML shows as they are.

    Raises:
        SettingsError: A file cannot be written, or a library for it is not installed.
    """
    run_id = summary.provenance.run_id
    for kind, path in files.items():
        if kind == "html":
            text = html(summary, make_environment=make_environment, attachments=attachments)
            _write(path, text)
        elif kind == "md":
            _write(path, markdown(summary))
        elif kind == "csv":
            write_csv(path, summary.report, run_id=run_id)
        elif kind == "parquet":
            write_parquet(path, summary.report, run_id=run_id)
        else:
            write_charts(path, summary)
        yield path


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None


def verdicts_of(summary: Summary) -> Verdicts:
    """Returns what is kept of a summary with its run, so that `recorded_summary` says the same."""
    report = summary.report
    counts = collections.Counter(each.threshold for each in report.episodes)
    usual = counts.most_common(1)[0][0] if counts else 1.0
    thresholds = {each.nodeid: each.threshold for each in report.episodes}
    derived = {each.text for each in build_summary(report).notices}
    return Verdicts(
        comparisons=summary.comparisons,
        gates=summary.gates,
        notices=tuple(each for each in summary.notices if each.text not in derived),
        thresholds={
            EVERY_OTHER: usual,
            **{nodeid: each for nodeid, each in thresholds.items() if each != usual},
        },
        effort=report.effort,
        num_selected=report.num_selected,
        interrupted=report.interrupted,
        variants=report.variants,
    )


def recorded_summary(
    log: RunLog,
    tasks: Sequence[str] = (),
    *,
    with_steps: bool = True,
    config_dir: Path | None = None,
    beside: Iterable[RunLog] = (),
) -> Summary:
    """Reads a run of the journal, with what was said of it when it ended.

    A run that did not come to its end is compared and judged anew, by its settings.

    Args:
        log: The run.
        tasks: In the order of the tables; others follow by name.
        with_steps: False leaves the trajectories on disk, which takes a fraction of the time.
        config_dir: Where the baseline of its settings is looked for.
        beside: Other runs, whose episodes on the same tasks and seeds stand beside as variants.

    Raises:
        JournalError: The run cannot be read.
        SettingsError: Another run has a variant of the same name.
    """
    verdicts = _kept_verdicts(log)
    thresholds = verdicts.thresholds if verdicts else None
    report = recorded_run(log, tasks, with_steps=with_steps, thresholds=thresholds)
    if verdicts is not None:
        setup = dataclasses.replace(report.setup, variants=verdicts.variants)
        report = dataclasses.replace(report, setup=setup)
    provenance = provenance_of(log.manifest)
    others = list(beside)
    for other in others:
        report, provenance = _beside(report, provenance, other, with_steps=with_steps)
    if verdicts is None:
        return _judged_anew(log, report, provenance, tasks, config_dir)
    if verdicts.num_selected is not None and not others:
        report = dataclasses.replace(
            report,
            num_selected=max(verdicts.num_selected, len(report.episodes)),
            interrupted=verdicts.interrupted,
            played=verdicts.effort,
        )
    comparisons: list[Any] = list(verdicts.comparisons)
    if others:
        settings = log.manifest.session.settings
        anew = compare_variants(report, settings.get("reference"), margin=_margin(settings))
        kept = [each for each in comparisons if not each.between_variants]
        comparisons = [*kept, anew] if anew else kept
    return build_summary(
        report,
        comparisons=comparisons,
        gates=verdicts.gates,
        notices=verdicts.notices,
        provenance=provenance,
    )


def _kept_verdicts(log: RunLog) -> Verdicts | None:
    kept = log.manifest.session.notes.get(VERDICTS_NOTE)
    try:
        return Verdicts.from_plain(kept) if kept else None
    except (KeyError, TypeError):
        return None  # another version of this package has written it


def _beside(
    report: RunReport, provenance: Provenance, other: RunLog, *, with_steps: bool
) -> tuple[RunReport, Provenance]:
    levels = {(each.spec.task, each.spec.seed) for each in report.episodes}
    added = recorded_run(other, report.tasks, with_steps=with_steps)
    episodes = [each for each in added.episodes if (each.spec.task, each.spec.seed) in levels]
    if not episodes:
        raise SettingsError(f"run {other.run_id} has no task and seed in common with the report's")
    names = {each.spec.variant for each in episodes}
    if common := sorted(names.intersection(report.variants)):
        raise SettingsError(f"run {other.run_id} has a variant {common[0]!r} as well")
    merged = dataclasses.replace(
        report,
        setup=dataclasses.replace(
            report.setup, variants=(*report.setup.variants, *added.setup.variants)
        ),
        episodes=(*report.episodes, *episodes),
        num_selected=report.num_selected + len(episodes),
    )
    definitions = {**provenance_of(other.manifest).definitions, **provenance.definitions}
    return merged, dataclasses.replace(provenance, definitions=definitions)


def _judged_anew(
    log: RunLog,
    report: RunReport,
    provenance: Provenance,
    tasks: Sequence[str],
    config_dir: Path | None,
) -> Summary:
    settings = log.manifest.session.settings
    notes: tuple[str, ...] = ()
    comparisons: list[Comparison] = []
    baseline = None
    if settings.get("compare"):
        try:
            baseline, notes = _baseline(log, tasks, config_dir)
        except BaselineError as error:
            notes = (f"not compared: {error}",)
    scores = RunScores.of_outcomes([each.outcome for each in report.episodes], tasks=report.tasks)
    if baseline is not None:
        comparisons.append(compare(scores, baseline, margins=margins(_margin(settings))))
    between = compare_variants(report, settings.get("reference"), margin=_margin(settings))
    if between is not None:
        comparisons.append(between)
    reference = settings.get("reference")
    against = baseline or (
        Reference(f"variant {reference}", scores, reference) if reference else None
    )
    return build_summary(
        report,
        comparisons=comparisons,
        gates=_gates(settings, scores, against),
        notes=notes,
        provenance=provenance,
    )


def _margin(settings: Mapping[str, Any]) -> float:
    found = settings.get("margin")
    return DEFAULT_MARGIN if found is None else float(found)


def _baseline(
    log: RunLog, tasks: Sequence[str], config_dir: Path | None
) -> tuple[Reference, tuple[str, ...]]:
    text = str(log.manifest.session.settings["compare"])
    if config_dir is None:
        raise BaselineError(f"no configuration directory to look for baseline {text!r} in")
    path = find_baseline(text, config_dir / BASELINES_DIRECTORY)
    snapshot, label = load_baseline(path), f"baseline {path.stem}"
    notes = check_comparable(recorded_snapshot(log, tasks), snapshot, label=label)
    return Reference(label, snapshot.scores), tuple(notes)


def _gates(
    settings: Mapping[str, Any], scores: RunScores, against: Reference | None
) -> tuple[GateResult, ...]:
    written = settings.get("fail") or ()
    if isinstance(written, dict):
        written = written.get(settings.get("model"), ())
    try:
        return evaluate_rules(parse_rules(written), scores, against) if written else ()
    except RuleError:
        return ()  # of another version
