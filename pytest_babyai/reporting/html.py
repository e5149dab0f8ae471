"""The HTML report: one file with charts, tables and replays that opens offline.

Nothing in it can load anything: its content security policy forbids every request and every script
and style but its own two, named by their hashes. Numbers, charts and tables of variants are plain
HTML and SVG made by a template; the script adds sorting, filters and replays from data that
`replays` packs.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.records import EpisodeResult
from pytest_babyai.reporting.diagnosis import DEFINITIONS
from pytest_babyai.reporting.measures import ALL_MEASURES, MEASURES
from pytest_babyai.reporting.numbers import (
    format_cost,
    format_duration,
    format_estimate,
)
from pytest_babyai.reporting.plots import bar_chart, course_charts, forest_chart, largest_value
from pytest_babyai.reporting.replays import pack, scene_name, scenes
from pytest_babyai.reporting.templates import render, resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_babyai.reporting.replays import ReplayEnvironment
    from pytest_babyai.reporting.results import EpisodeReport
    from pytest_babyai.reporting.summary import Cell, Compared, EpisodeRow, Summary

MAX_REPLAYS_BYTES: Final = 60 * 1024 * 1024
"""Replays that are kept in a file, packed; the episodes beyond have none, and the page says so."""

_SCRIPTS: Final = ("dom", "data", "world", "player", "pane", "episodes", "main")
_STYLES: Final = ("report", "replay")
_MAX_SEEDS: Final = 400
_SHADES: Final = 10


def html(
    summary: Summary,
    *,
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None = None,
    attachments: Mapping[str, str] | None = None,
    max_replays_bytes: int = MAX_REPLAYS_BYTES,
) -> str:
    """Returns a summary as the text of one HTML file.

    Args:
        summary: The run; replays are there for those episodes that still have their steps.
        make_environment: Makes the environment of an episode, so that grids can be drawn; None
            leaves them out.
        attachments: Texts by title to be shown as they are, such as the card of training data.
        max_replays_bytes: Where the replays would take more, the rest is left out.
    """
    style = "".join(resource(f"{name}.css") for name in _STYLES)
    script = _script()
    data, left_out = _replays(summary, make_environment, max_replays_bytes)
    data["index"] = pack(_index(summary, left_out))
    context = {
        **_context(summary),
        "attachments": dict(attachments or {}),
        "num_left_out": sum(each.report.outcome.steps != () for each in left_out),
        "policy": _content_security_policy(script, style),
        "style": style,
        "script": script,
        "data": data,
    }
    return render("report.html", context)


def _replays(
    summary: Summary,
    make_environment: Callable[[EpisodeReport], ReplayEnvironment] | None,
    max_bytes: int,
) -> tuple[dict[str, str], list[EpisodeRow]]:
    """Returns the packed scenes by name of their element, and the episodes that found no room."""
    packed: dict[str, str] = {}
    rows = {row.key: row for row in summary.episodes}
    reports = {key: row.report for key, row in rows.items()}
    size = 0
    for name, scene in scenes(reports, make_environment, summary.provenance):
        text = pack(scene)
        size += len(text)
        if size > max_bytes:
            continue
        packed[f"scene-{name}"] = text
    left_out = [
        row
        for row in rows.values()
        if row.report.outcome.steps and f"scene-{scene_name(row.report)}" not in packed
    ]
    return packed, left_out


def _context(summary: Summary) -> dict[str, Any]:
    report = summary.report
    return {
        "title": f"{report.setup.model_label} on BabyAI-Text",
        "offline": report.setup.offline,
        "headline": summary.headline,
        "ci_url": summary.provenance.ci_url,
        "facts": summary.facts,
        "figures": dict(_figures(summary)),
        "effort": summary.effort_text,
        "notices": [_notice(each) for each in summary.notices],
        "gates": [
            {"outcome": each.outcome, "name": each.name, "reason": each.reason}
            for each in summary.gates
        ],
        "gates_text": summary.gates_text,
        "variants": list(report.variants),
        "tasks": list(report.tasks),
        "seeds": list(report.seeds[:_MAX_SEEDS]),
        "num_more_seeds": max(0, len(report.seeds) - _MAX_SEEDS),
        "by_task": _matrix(summary.by_task, report.variants, report.tasks),
        "by_seed": _matrix(summary.by_seed, report.variants, report.seeds[:_MAX_SEEDS]),
        "errors": summary.errors,
        "findings": DEFINITIONS,
        "diagnoses": [
            {
                "variant": each.variant,
                "num_failed": each.num_failed,
                "cells": {
                    name: each.text(name) if each.counts[name] else "" for name in DEFINITIONS
                },
            }
            for each in summary.diagnoses
        ],
        "charts": [bar_chart(summary.variants, measure, report.variants) for measure in MEASURES]
        if summary.variants
        else [],
        "means": list(_means(summary)),
        "task_charts": list(_task_charts(summary)) if len(report.tasks) > 1 else [],
        "comparisons": [_comparison(each) for each in summary.comparisons],
        "courses": course_charts(report),
        "versions": " · ".join(
            f"{name} {version}" for name, version in summary.provenance.versions.items() if version
        ),
        "command": " ".join(summary.provenance.command_line),
    }


def _notice(notice: Any) -> dict[str, Any]:
    return {"text": notice.text, "is_warning": notice.is_warning}


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    report = summary.report
    num_solved = sum(result.success for each in summary.variants for result in each.results)
    yield "episodes", f"{len(report.episodes):,}"
    yield "solved", f"{num_solved:,}"
    yield "below threshold", f"{len(report.below_threshold()):,}"
    yield "errors", f"{sum(each.num_errors for each in summary.variants):,}"
    yield "requests", f"{report.effort.num_requests:,}"
    yield "time", format_duration(report.effort.duration_s)
    yield "cost", format_cost(summary.cost)


def _matrix(
    cells: Mapping[tuple[str, Any], Cell], variants: tuple[str, ...], columns: tuple[Any, ...]
) -> list[dict[str, Any]]:
    return [
        {"variant": variant, "cells": [_cell(cells.get((variant, each))) for each in columns]}
        for variant in variants
    ]


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    shade = None if cell.share is None else round(_SHADES * cell.share)
    return {"text": cell.text, "shade": shade, "num_errors": cell.num_errors}


def _means(summary: Summary) -> Iterator[list[str]]:
    titles = [measure.title for measure in MEASURES]
    yield ["Variant", "Episodes", "Errors", *titles, "Invalid", "Cached", "Cost"]
    for each in summary.variants:
        yield [
            each.variant,
            f"{each.num_episodes:,}",
            f"{each.num_errors:,}",
            *(format_estimate(m.estimate(each), m.number_format) for m in MEASURES),
            f"{each.num_invalid:,}",
            f"{each.num_cached:,}",
            format_cost(each.cost),
        ]


def _task_charts(summary: Summary) -> Iterator[dict[str, Any]]:
    report = summary.report
    by_task = {task: report.by_variant(task) for task in report.tasks}
    for measure in MEASURES:
        largest = max((largest_value(each, measure) for each in by_task.values()), default=0.0)
        yield {
            "name": measure.name,
            "title": measure.title.removesuffix(" per episode"),
            "direction": measure.direction,
            "charts": [
                {**bar_chart(each, measure, report.variants, largest=largest), "title": task}
                for task, each in by_task.items()
            ],
        }


def _comparison(comparison: Compared) -> dict[str, Any]:
    metrics = comparison.metrics
    return {
        "title": comparison.title,
        "label": comparison.label,
        "notes": [_notice(each) for each in comparison.notes],
        "remarks": [*comparison.remarks, comparison.how_to_read],
        "charts": [forest_chart(comparison, ALL_MEASURES[name]) for name in metrics]
        if comparison.variants
        else [],
        "headers": [f"Δ {ALL_MEASURES[name].difference_title}" for name in metrics],
        "variants": [
            {
                "variant": each.variant,
                "sentence": each.sentence,
                "verdict": each.verdict,
                "cells": [each.differences[name].text for name in metrics],
                "better": each.metrics_that_are("better"),
                "worse": each.metrics_that_are("worse"),
                "is_known": each.changes is not None,
                "changes": [
                    {"part": change.part, "lines": [list(line) for line in change.lines]}
                    for change in each.changes or ()
                ],
            }
            for each in comparison.variants
        ],
    }


def _index(summary: Summary, left_out: list[EpisodeRow]) -> dict[str, Any]:
    report = summary.report
    keys = {row.key for row in left_out}
    return {
        "variants": report.variants,
        "tasks": report.tasks,
        "findings": list(DEFINITIONS),
        "run": summary.provenance.run_id,
        "episodes": [_index_entry(row, has_replay=row.key not in keys) for row in summary.episodes],
    }


def _index_entry(row: EpisodeRow, *, has_replay: bool) -> dict[str, Any]:
    report, outcome = row.report, row.report.outcome
    entry = {
        "key": row.key,
        "variant": report.spec.variant,
        "task": report.spec.task,
        "seed": report.spec.seed,
        "outcome": row.outcome,
        "steps": outcome.num_steps,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost": outcome.usage.cost,
        "retries": outcome.num_retries,
        "duration_s": round(outcome.duration_s, 3),
        "episode_id": outcome.episode_id,
        "command": report.replay,
        "scene": scene_name(report) if outcome.steps and has_replay else None,
        "findings": {name: list(numbers) for name, numbers in row.findings.items()},
    }
    if isinstance(outcome, EpisodeResult):
        return {
            **entry,
            "mission": outcome.mission,
            "max_steps": outcome.max_steps,
            "progression": outcome.progression,
            "threshold": report.threshold,
            "return": outcome.episode_return,
            "invalid": len(outcome.failed_candidates),
            "fallbacks": outcome.num_fallbacks,
        }
    return {**entry, "kind": outcome.kind, "message": outcome.message}


def _script() -> str:
    parts = "\n".join(resource(f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();'


def _content_security_policy(script: str, style: str) -> str:
    sources = {"script-src": script, "style-src": style}
    hashes = [f"{name} 'sha256-{_digest(text)}'" for name, text in sources.items()]
    return "; ".join(["default-src 'none'", *hashes, "base-uri 'none'", "form-action 'none'"])


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
