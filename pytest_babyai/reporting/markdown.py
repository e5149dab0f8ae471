"""The Markdown report: short enough for a comment on a pull request, details folded away.

Whatever a user, model or provider named or wrote stands in code spans, or is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.records import EpisodeFailure
from pytest_babyai.reporting.diagnosis import DEFINITIONS
from pytest_babyai.reporting.github import cut_markdown
from pytest_babyai.reporting.measures import ALL_MEASURES, MEASURES
from pytest_babyai.reporting.numbers import DASH, format_cost, format_estimate
from pytest_babyai.reporting.templates import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.reporting.results import VariantSummary
    from pytest_babyai.reporting.summary import Compared, EpisodeRow, Summary

MAX_CHARACTERS: Final = 65_536
"""Longest comment that GitHub takes."""

_NUM_EPISODES: Final = 20
_FOLDED: Final = {
    "changes": "what differs between prompts and settings",
    "seeds": "success by seed",
    "episodes": "the episodes that failed",
    "differences": "all differences",
    "why": "why episodes fail",
    "tasks": "success by task",
    "passed": "the gates that passed",
}
"""Parts that may be left out, in the order in which they are."""


def markdown(summary: Summary, *, max_characters: int = MAX_CHARACTERS) -> str:
    """Returns a summary in GitHub's Markdown.

    Args:
        summary: The run.
        max_characters: Where the text would be longer, parts of it are left out, and named.
    """
    context = _context(summary)
    left_out: list[str] = []
    text = render("report.md", {**context, "left_out": left_out, "names": _FOLDED})
    for part in _FOLDED:
        if len(text) <= max_characters:
            break
        left_out.append(part)
        text = render("report.md", {**context, "left_out": left_out, "names": _FOLDED})
    return text if len(text) <= max_characters else cut_markdown(text, max_characters)


def _context(summary: Summary) -> dict[str, Any]:
    report = summary.report
    return {
        "headline": summary.headline,
        "verdicts": list(summary.verdict_lines),
        "facts": summary.facts,
        "ci_url": summary.provenance.ci_url,
        "effort": summary.effort_text,
        "cost": format_cost(summary.cost),
        "notices": [vars_of(each) for each in summary.notices],
        "gates": [vars_of(each) for each in summary.gates],
        "gates_text": summary.gates_text,
        "means": list(_means(summary)),
        "comparisons": [_comparison(each) for each in summary.comparisons],
        "tasks": list(report.tasks),
        "by_task": _grid(summary, "task"),
        "seeds": [str(seed) for seed in report.seeds],
        "by_seed": _grid(summary, "seed"),
        "errors": [
            {"variant": name, "kind": kind, "number": number}
            for name, kinds in summary.errors.items()
            for kind, number in kinds.items()
        ],
        "findings": DEFINITIONS,
        "diagnoses": [
            {
                "variant": each.variant,
                "num_failed": each.num_failed,
                "cells": [each.text(name) for name in DEFINITIONS],
            }
            for each in summary.diagnoses
        ],
        "failures": [_failure(each) for each in summary.failures[:_NUM_EPISODES]],
        "num_failures": len(summary.failures),
    }


def vars_of(record: Any) -> dict[str, Any]:
    """Returns the fields of a flat record."""
    return {name: getattr(record, name) for name in record.__slots__}


def _means(summary: Summary) -> Iterator[list[str]]:
    with_cost = any(each.cost is not None for each in summary.variants)
    first = summary.comparisons[0] if summary.comparisons else None
    deltas = (
        {each.variant: each.differences["success"].text for each in first.variants} if first else {}
    )
    titles = [measure.short for measure in MEASURES]
    yield [
        *("variant", "episodes", "errors", *titles),
        *(["cost"] if with_cost else []),
        *([f"Δ success % against {first.label}"] if first else []),
    ]
    for each in summary.variants:
        cells = [each.variant, f"{each.num_episodes:,}", f"{each.num_errors:,}", *_estimates(each)]
        cells += [format_cost(each.cost)] if with_cost else []
        yield [*cells, deltas.get(each.variant, DASH)] if first else cells


def _estimates(summary: VariantSummary) -> Iterator[str]:
    for measure in MEASURES:
        yield format_estimate(measure.estimate(summary), measure.number_format)


def _comparison(comparison: Compared) -> dict[str, Any]:
    metrics = comparison.metrics
    return {
        "title": comparison.title,
        "label": comparison.label,
        "notes": [vars_of(each) for each in comparison.notes],
        "remarks": [*comparison.remarks, comparison.how_to_read],
        "headers": [f"Δ {ALL_MEASURES[name].difference_title}" for name in metrics],
        "rows": [
            {
                "variant": each.variant,
                "cells": [each.differences[name].text for name in metrics],
                "changes": [
                    {"part": change.part, "text": change.text.replace("```", "'''")}
                    for change in each.changes or ()
                ],
            }
            for each in comparison.variants
        ],
    }


def _grid(summary: Summary, axis: str) -> list[dict[str, Any]]:
    report = summary.report
    if axis == "task":
        columns = [
            [summary.by_task.get((v, task)) for task in report.tasks] for v in report.variants
        ]
    else:
        columns = [
            [summary.by_seed.get((v, seed)) for seed in report.seeds] for v in report.variants
        ]
    return [
        {"variant": variant, "cells": [cell.text if cell else DASH for cell in cells]}
        for variant, cells in zip(report.variants, columns, strict=True)
    ]


def _failure(row: EpisodeRow) -> dict[str, Any]:
    outcome = row.report.outcome
    return {
        "key": row.key,
        "came_to": row.came_to,
        "text": outcome.message if isinstance(outcome, EpisodeFailure) else outcome.mission,
        "findings": list(row.findings),
    }
