"""Files that a run writes: reports, tables, charts."""

from __future__ import annotations

import csv
import json
import sys
from typing import TYPE_CHECKING

import pyarrow.parquet
import pytest

from pytest_babyai.__main__ import main

if TYPE_CHECKING:
    from tests.plugin.provider import Provider

AGGREGATE = "--babyai-gate=aggregate"
THREE_SEEDS = ("--babyai-seeds=1-3", AGGREGATE)


def test_the_html_report_has_the_trajectories(project: pytest.Pytester) -> None:
    result = project.runpytest(*THREE_SEEDS, "--babyai-html=out/report.html")

    result.stdout.fnmatch_lines(["*out/report.html written"])
    text = (project.path / "out/report.html").read_text()
    assert 'data-name="index"' in text
    assert 'data-name="scene-' in text


def test_without_a_journal_the_html_report_has_no_replays(project: pytest.Pytester) -> None:
    project.runpytest(*THREE_SEEDS, "--babyai-html=report.html", "--babyai-journal=off")

    text = (project.path / "report.html").read_text()
    assert 'data-name="index"' in text
    assert 'data-name="scene-' not in text


def test_the_markdown_report_tells_the_gates(project: pytest.Pytester) -> None:
    project.runpytest(*THREE_SEEDS, "--babyai-md=report.md", "--babyai-fail=errors<=0")

    assert "1 of 3 episodes solved" in (project.path / "report.md").read_text()
    assert "baseline:errors<=0" in (project.path / "report.md").read_text()


def test_tables_have_a_row_per_episode(project: pytest.Pytester) -> None:
    # pandas cannot be told twice in a process how to write Parquet.
    project.runpytest_subprocess(*THREE_SEEDS, "--babyai-csv=e.csv", "--babyai-parquet=e.parquet")

    with (project.path / "e.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["1", "2", "3"]
    table = pyarrow.parquet.read_table(project.path / "e.parquet")
    assert table.column("seed").to_pylist() == [1, 2, 3]


def test_charts_are_pictures(project: pytest.Pytester) -> None:
    project.runpytest(*THREE_SEEDS, "--babyai-charts=charts")

    names = {path.name for path in (project.path / "charts").iterdir()}
    assert {"success.svg", "success.png", "steps.svg", "input_tokens.png"} <= names


def test_paths_are_meant_from_where_the_command_was_typed(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = project.mkdir("below")
    monkeypatch.chdir(below)

    project.runpytest("..", "--babyai-csv=e.csv")

    assert (below / "e.csv").is_file()


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--babyai-html=.", "ERROR: --babyai-html: * is a directory; give the name of a file"),
        ("--babyai-charts=tox.ini", "ERROR: --babyai-charts: * is a file; *"),
        ("--babyai-csv=tox.ini/e.csv", "ERROR: --babyai-csv: */tox.ini is a file, so *"),
        ("--babyai-save=tox.ini/e.json", "ERROR: --babyai-save: */tox.ini is a file, so *"),
        ("--babyai-save=./", "ERROR: --babyai-save: * is a directory; give the name of a file"),
        ("--babyai-save=a b", "ERROR: --babyai-save: 'a b' is no name of a baseline*"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    project: pytest.Pytester, provider: Provider, option: str, line: str
) -> None:
    result = project.runpytest(option)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert not provider.requests


def test_several_processes_write_once(project: pytest.Pytester) -> None:
    result = project.runpytest(*THREE_SEEDS, "-p", "xdist", "-n", "2", "--babyai-html=r.html")

    assert result.stdout.str().count("r.html written") == 1
    assert 'data-name="scene-' in (project.path / "r.html").read_text()


def test_an_interrupted_run_is_reported_as_far_as_it_came(project: pytest.Pytester) -> None:
    suite = project.path / "test_suite.py"
    suite.write_text(suite.read_text() + "\ndef test_stop(): raise KeyboardInterrupt\n")

    project.runpytest_inprocess("--babyai-md=report.md", no_reraise_ctrlc=True)

    assert "1 of 1 episode solved" in (project.path / "report.md").read_text()


def test_in_github_actions_the_summary_of_the_step_is_written(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "step.md"))

    project.runpytest(*THREE_SEEDS, "--babyai-fail=errors<=0")

    text = (project.path / "step.md").read_text()
    assert "1 of 3 episodes solved" in text
    assert "baseline:errors<=0" in text


def test_a_step_summary_that_cannot_be_written_fails_nothing(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path))

    result = project.runpytest()

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["WARNING: GITHUB_STEP_SUMMARY: *"])


def test_a_later_report_says_what_the_run_said(project: pytest.Pytester) -> None:
    seeds = ("--babyai-seeds=0,2", "--babyai-gate=aggregate", "--babyai-variants=history,baseline")
    project.runpytest(*seeds, "--babyai-save=main")
    project.runpytest(
        *seeds,
        "--babyai-compare=main",
        "--babyai-reference=baseline",
        "--babyai-fail=success>=1,success<-0.05",
        "--babyai-threshold=0.5",
        "--babyai-margin=0.2",
        "--babyai-until=±0.4",
        "--babyai-html=first.html",
        "--babyai-md=first.md",
    )

    places = ("--html=later.html", "--md=later.md", f"--root={project.path}")
    assert main(["report", "latest", *places]) == 0

    first, later = (project.path / f"{name}.md" for name in ("first", "later"))
    assert later.read_text() == first.read_text()
    page = (project.path / "later.html").read_text()
    assert "Compared with baseline main" in page
    text = (project.path / "later.md").read_text()
    assert all(part in text for part in ("Compared with baseline main", "`baseline:success>=1`"))


def test_a_run_that_was_killed_is_judged_by_its_settings(project: pytest.Pytester) -> None:
    project.runpytest(
        "--babyai-seeds=0,2", "--babyai-fail=success>=1", "--babyai-threshold=0", AGGREGATE
    )
    (path,) = (project.path / ".babyai/runs").glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    del manifest["sessions"][0]["notes"]["verdicts"]
    path.write_text(json.dumps(manifest))

    assert main(["report", "latest", "--md=later.md", f"--root={project.path}"]) == 0

    text = (project.path / "later.md").read_text()
    assert "❌ failed | `baseline:success>=1`" in text
    assert "below" not in text


def test_a_report_may_show_other_files(project: pytest.Pytester) -> None:
    project.runpytest()
    (project.path / "my-notes.txt").write_text("<b>what else</b>")

    places = ("--html=r.html", "--attach=my-notes.txt", f"--root={project.path}")
    assert main(["report", "latest", *places]) == 0

    assert "&lt;b&gt;what else" in (project.path / "r.html").read_text()
    assert main(["report", "latest", "--html=r.html", "--attach=none.txt"]) == 4


def test_times_and_requests_are_those_of_this_session(
    project: pytest.Pytester, provider: Provider
) -> None:
    project.runpytest(*THREE_SEEDS)
    num_requests = len(provider.requests)

    result = project.runpytest(*THREE_SEEDS, "--babyai-resume", "--babyai-md=report.md")

    assert len(provider.requests) == num_requests
    result.stdout.fnmatch_lines(
        ["3 episodes played before, and not played again", "0 episodes in 0.0 s · 0 requests"]
    )
    assert "0 episodes in 0.0 s · 0 requests" in (project.path / "report.md").read_text()


def test_requests_of_episodes_that_were_not_reported_count(
    project: pytest.Pytester, provider: Provider
) -> None:
    result = project.runpytest("--babyai-seeds=0-9", "--maxfail=1")

    (line,) = (line for line in result.outlines if " requests" in line and " episodes in " in line)
    assert f" {len(provider.requests):,} requests" in line


def test_without_the_extra_of_charts_there_is_an_html_report(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "altair", None)
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    project.runpytest_inprocess("--babyai-html=report.html")

    assert 'class="bar"' in (project.path / "report.html").read_text()
