"""The HTML report as text; what a browser makes of it is tested in tests/browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.gate import RunScores, evaluate_rules, parse_rules
from pytest_babyai.reporting.artifacts import write_artifacts
from pytest_babyai.reporting.html import html
from pytest_babyai.reporting.recorded import Provenance
from pytest_babyai.reporting.summary import build_summary, compare_variants
from tests.unit.reporting.reporting_samples import (
    SPEC,
    failure,
    result,
    run_of,
    sample_run,
    solved,
    summary_of,
    troubled_run,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.reporting.results import RunReport

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page() -> str:
    return html(summary_of(sample_run()))


def write(path: Path, run: RunReport) -> None:
    list(write_artifacts({"html": path}, summary_of(run)))


def index_of(page: str) -> dict[str, Any]:
    match = re.search(r'data-name="index">([^<]+)<', page)
    assert match is not None
    index: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(match[1])))
    return index


@pytest.mark.parametrize(("tag", "source"), [("script", "script-src"), ("style", "style-src")])
def test_the_policy_names_the_only_script_and_style(page: str, tag: str, source: str) -> None:
    (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"{source} 'sha256-{digest}'" in page
    assert "default-src 'none'" in page


def test_nothing_points_elsewhere(page: str) -> None:
    outside = re.findall(r'(?:src|href|action)="(?!#|data:)[^"]*"', page)
    assert outside == []


def test_every_placeholder_is_filled(page: str) -> None:
    before_the_data = page.partition('<script type="application/octet-stream"')[0]
    assert re.findall(r"\{\{|\{%", before_the_data) == []


def test_the_offline_model_is_no_language_model(page: str) -> None:
    assert "no language model" in page


def test_provenance_is_told() -> None:
    provenance = Provenance(
        run_id="20260131-1",
        started_at="2026-01-31T15:04:05+01:00",
        versions={"minigrid": "3.2.0", "balrog": None},
        commit="abc123 with uncommitted changes",
        command_line=("pytest", "evals"),
    )
    page = html(summary_of(run_of(solved()), provenance=provenance))
    for text in ("20260131-1", "2026-01-31 14:04 UTC", "minigrid 3.2.0", "abc123 with unc"):
        assert text in page
    assert "balrog" not in page


def test_errors_and_random_actions_are_noticed() -> None:
    page = html(summary_of(troubled_run()))
    assert "random actions stood in for failed requests on 2 steps" in page
    assert "1 × rate limit" in page  # noqa: RUF001 -- as it is shown
    assert "Interrupted: 24 of 400 episodes played." in page


def test_the_index_has_every_episode_once(page: str) -> None:
    index = index_of(page)
    assert len({entry["key"] for entry in index["episodes"]}) == len(sample_run().episodes)


def test_an_error_has_no_score_in_the_index() -> None:
    index = index_of(html(summary_of(run_of(failure(SPEC)))))
    (entry,) = index["episodes"]
    assert (entry["outcome"], entry["kind"]) == ("error", "rate limit")
    assert "return" not in entry


def test_a_repeated_episode_has_a_link_of_its_own() -> None:
    run = run_of(solved(), result())
    assert [row.key for row in build_summary(run).episodes] == [
        "baseline-goto-200",
        "baseline-goto-200-1",
    ]


def test_names_are_escaped() -> None:
    spec = type(SPEC)(MARKUP, MARKUP, 200)
    page = html(
        summary_of(run_of(solved(spec), failure(type(SPEC)("b", MARKUP, 201), message=MARKUP)))
    )
    assert "<img" not in page


def test_gates_are_told_failed_first() -> None:
    outcomes = [solved(dataclasses.replace(SPEC, seed=seed)) for seed in range(200, 206)]
    rules = parse_rules("baseline:steps<=1, baseline:errors<=0")
    gates = evaluate_rules(rules, RunScores.of_outcomes(outcomes))
    assert [gate.outcome.name for gate in gates] == ["FAILED", "PASSED"]
    page = html(summary_of(run_of(*outcomes), gates=gates[::-1]))
    assert page.index("baseline:steps&lt;=1") < page.index("baseline:errors&lt;=0")


def test_variants_are_compared_with_the_first(page: str) -> None:
    assert "Compared with variant baseline" in page


def test_variants_can_be_compared_with_another() -> None:
    comparison = compare_variants(sample_run(), "history")
    assert comparison is not None
    assert comparison.label == "variant history"


def test_a_run_without_episodes_is_a_report_too() -> None:
    assert index_of(html(summary_of(run_of())))["episodes"] == []


def test_a_lone_surrogate_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "report.html", run_of(failure(SPEC, message="\ud800")))
    assert (tmp_path / "report.html").read_text(encoding="utf-8")


def test_missing_directories_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a/b/report.html", run_of())
    assert (tmp_path / "a/b/report.html").is_file()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(str(tmp_path))):
        write(tmp_path, run_of())
