"""Charts: what is drawn, how it is labelled, and what is said where a library is missing."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import Usage
from pytest_babyai.reporting.chart_themes import PAGE_THEME
from pytest_babyai.reporting.charts import chart_svg, forest_chart, measure_chart, write_charts
from pytest_babyai.reporting.comparison import compare_variants
from pytest_babyai.reporting.measures import MEASURES
from tests.unit.reporting.reporting_samples import (
    SPEC,
    VARIANTS,
    failure,
    run_of,
    sample_run,
    solved,
)

if TYPE_CHECKING:
    from pathlib import Path

SUCCESS, STEPS = MEASURES[0], MEASURES[2]


def rows_of(chart: Any) -> list[dict[str, Any]]:
    content = chart.to_dict()
    parts = [content, *content["layer"]]
    found = [part["data"]["values"] for part in parts if "data" in part]
    return next(list(rows) for rows in found if "variant" in rows[0])


def test_a_chart_has_a_row_for_every_variant() -> None:
    run = sample_run()
    rows = rows_of(measure_chart(run.by_variant(), STEPS, variants=run.variants))
    assert [row["variant"] for row in rows] == list(VARIANTS)


def test_a_row_spans_one_standard_error_to_either_side() -> None:
    run = sample_run()
    summary = run.by_variant()[1]
    row = rows_of(measure_chart(run.by_variant(), STEPS, variants=run.variants))[1]
    mean, sem = summary.steps.mean, summary.steps.sem
    assert mean is not None
    assert sem is not None
    assert (row["low"], row["mean"], row["high"]) == pytest.approx((mean - sem, mean, mean + sem))


def test_values_are_written_beside_their_bars() -> None:
    run = sample_run()
    svg = chart_svg(measure_chart(run.by_variant(), SUCCESS, variants=run.variants))
    assert ">33.3 ± 21.1 %<" in svg


def test_a_variant_of_errors_only_has_a_dash() -> None:
    run = run_of(failure(SPEC))
    svg = chart_svg(measure_chart(run.by_variant(), SUCCESS, variants=run.variants))
    assert ">–<" in svg  # noqa: RUF001 -- as it is shown


def test_a_forest_plot_has_a_row_for_every_compared_variant() -> None:
    comparison = compare_variants(sample_run())
    assert comparison is not None
    rows = rows_of(forest_chart(comparison, SUCCESS))
    assert [row["variant"] for row in rows] == list(VARIANTS[1:])


def test_a_forest_plot_tells_difference_interval_and_verdict() -> None:
    comparison = compare_variants(sample_run())
    assert comparison is not None
    row = rows_of(forest_chart(comparison, STEPS))[0]
    found = comparison.variants[0].metrics["steps"].difference
    assert found.interval is not None
    assert row["label"] == "-9.3 [-49.5, +30.8]  undecided"
    assert (row["low"], row["high"]) == (found.interval.low, found.interval.high)


def test_a_difference_without_an_interval_is_undecided() -> None:
    comparison = compare_variants(sample_run())
    assert comparison is not None
    row = rows_of(forest_chart(comparison, SUCCESS))[-1]
    assert row["label"] == "+50.0 pp  undecided"


def test_charts_of_a_page_take_their_colors_from_its_style_sheet() -> None:
    run = sample_run()
    drawn = measure_chart(run.by_variant(), STEPS, variants=run.variants, theme=PAGE_THEME)
    assert 'fill="var(--series-3)"' in chart_svg(drawn)


def num_marks(svg: str, kind: str) -> int:
    return svg.count(f'aria-roledescription="{kind}"')


def test_an_unknown_mean_has_no_bar_and_no_error_line() -> None:
    run = run_of(solved(SPEC), solved(type(SPEC)("history", "goto", 200), usage=Usage()))
    drawn = measure_chart(run.by_variant(), MEASURES[3], variants=run.variants)
    known, unknown = rows_of(drawn)
    assert (known["mean"], unknown["mean"], unknown["label"]) == (80, None, "–")  # noqa: RUF001
    assert num_marks(chart_svg(drawn), "bar") == 1


def test_a_single_episode_has_no_error_line() -> None:
    run = run_of(solved(SPEC))
    svg = chart_svg(measure_chart(run.by_variant(), STEPS, variants=run.variants))
    assert num_marks(svg, "bar") == 1
    assert "mark-rule role-mark" in svg
    assert re.search(r"mark-rule role-mark[^>]*>(<line[^>]*>)", svg) is None


def test_an_unknown_difference_is_not_drawn_as_none() -> None:
    run = run_of(solved(SPEC), solved(type(SPEC)("history", "goto", 200), usage=Usage()))
    comparison = compare_variants(run)
    assert comparison is not None
    svg = chart_svg(forest_chart(comparison, MEASURES[3]))
    assert "role-mark" in svg
    assert num_marks(svg, "point") == 0


def test_names_are_escaped_in_pictures() -> None:
    spec = type(SPEC)("<script>alert(1)</script>", "goto", 200)
    run = run_of(failure(spec))
    svg = chart_svg(measure_chart(run.by_variant(), STEPS, variants=run.variants))
    assert "<script" not in svg


@pytest.mark.parametrize("largest", [0.04, 0.3, 0.9, 1.0, 7.0, 64.0, 999.0, 57_680.0, 2_000_000.0])
def test_an_axis_has_a_few_round_ticks(largest: float) -> None:
    run = sample_run()
    chart = measure_chart(run.by_variant(), STEPS, variants=run.variants, largest=largest)
    axis = chart.to_dict()["layer"][0]["encoding"]["x"]["axis"]
    ticks = axis["values"]
    assert ticks[0] == 0
    assert 3 <= len(ticks) <= 6
    assert ticks[-1] <= largest * (1 + 1e-6)


def test_pictures_are_written_in_both_formats(tmp_path: Path) -> None:
    run = sample_run()
    written = write_charts(tmp_path / "charts", run, comparison=compare_variants(run))
    names = {path.name for path in written}
    assert {"success.svg", "input_tokens.png", "difference-steps.svg"} <= names
    assert len(written) == 2 * 2 * len(MEASURES)
    assert (tmp_path / "charts/success.svg").read_text(encoding="utf-8").startswith("<svg")
    assert (tmp_path / "charts/success.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_variant_has_no_forest_plot(tmp_path: Path) -> None:
    run = run_of(failure(SPEC))
    assert compare_variants(run) is None
    assert len(write_charts(tmp_path, run, formats=["svg"])) == len(MEASURES)


def test_a_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "charts").write_text("")
    with pytest.raises(SettingsError, match="charts"):
        write_charts(tmp_path / "charts", sample_run())


@pytest.mark.parametrize("library", ["altair", "vl_convert"])
def test_a_missing_library_is_one_line(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    run = sample_run()
    with pytest.raises(SettingsError, match=r"charts need .*pip install 'pytest-babyai\[report\]'"):
        chart_svg(measure_chart(run.by_variant(), STEPS, variants=run.variants))
