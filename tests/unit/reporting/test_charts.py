"""Charts: what is drawn, how it is labelled, and what is said where a library is missing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import Usage
from pytest_babyai.reporting.charts import LearningCurve, write_charts, write_learning_curve
from pytest_babyai.reporting.measures import ALL_MEASURES, MEASURES
from pytest_babyai.reporting.plots import bar_chart, course_charts, forest_chart, ticks
from tests.unit.reporting.reporting_samples import (
    SPEC,
    VARIANTS,
    failure,
    run_of,
    sample_run,
    solved,
    summary_of,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pytest_babyai.reporting.results import RunReport

SUCCESS, STEPS, OUTPUT = (ALL_MEASURES[name] for name in ("success", "steps", "output_tokens"))
CURVE = LearningCurve(
    title="a small model",
    train_loss=[(1, 4.0), (2, 1.0), (3, 0.5)],
    valid_loss=[(3, 0.7)],
    valid_action_accuracy=[(3, 0.8)],
)


def bars(run: RunReport, measure: Any = STEPS, **more: Any) -> dict[str, Any]:
    return bar_chart(run.by_variant(), measure, run.variants, **more)


def test_a_chart_has_a_row_for_every_variant() -> None:
    assert [row["name"] for row in bars(sample_run())["rows"]] == list(VARIANTS)


def test_a_row_spans_one_standard_error_to_either_side() -> None:
    run = sample_run()
    summary = run.by_variant()[1]
    row = bars(run)["rows"][1]
    mean, sem = summary.steps.mean, summary.steps.sem
    assert mean is not None
    assert sem is not None
    scale = row["width"] / mean
    assert (row["low"], row["high"]) == pytest.approx(((mean - sem) * scale, (mean + sem) * scale))


def test_values_are_written_beside_their_bars() -> None:
    assert bars(sample_run(), SUCCESS)["rows"][1]["text"] == "33.3 ± 21.1 %"


def test_shares_are_drawn_from_0_to_100_percent() -> None:
    drawn = bars(sample_run(), SUCCESS)
    assert [tick["text"] for tick in drawn["ticks"]] == ["0 %", "25 %", "50 %", "75 %", "100 %"]
    assert drawn["rows"][2]["width"] == pytest.approx(50)


def test_a_variant_of_errors_only_has_a_dash() -> None:
    (row,) = bars(run_of(failure(SPEC)), SUCCESS)["rows"]
    assert (row["text"], row["width"], row["has_spread"]) == ("–", 0, False)  # noqa: RUF001


def test_a_single_episode_has_no_error_line() -> None:
    assert not bars(run_of(solved(SPEC)))["rows"][0]["has_spread"]


@pytest.mark.parametrize("largest", [0.04, 0.3, 0.9, 1.0, 7.0, 64.0, 999.0, 57_680.0, 2_000_000.0])
def test_an_axis_has_a_few_round_ticks(largest: float) -> None:
    found = ticks(0.0, largest)
    assert found[0] == 0
    assert 3 <= len(found) <= 6
    assert found[-1] <= largest * (1 + 1e-6)


def test_a_forest_plot_has_a_row_for_every_compared_variant() -> None:
    (comparison,) = summary_of(sample_run()).comparisons
    assert [row["name"] for row in forest_chart(comparison, SUCCESS)["rows"]] == list(VARIANTS[1:])


def test_a_forest_plot_tells_difference_interval_and_verdict() -> None:
    (comparison,) = summary_of(sample_run()).comparisons
    row = forest_chart(comparison, STEPS)["rows"][0]
    found = comparison.variants[0].differences["steps"]
    assert row["text"] == found.text
    assert row["low"] < row["at"] < row["high"]
    assert 0 <= row["low"] < 50 < row["high"] <= 100


def test_an_unknown_difference_has_no_mark() -> None:
    run = run_of(solved(SPEC), solved(type(SPEC)("history", "goto", 200), usage=Usage()))
    (comparison,) = summary_of(run).comparisons
    (row,) = forest_chart(comparison, OUTPUT)["rows"]
    assert (row["at"], row["low"], row["text"]) == (None, None, "–")  # noqa: RUF001


def test_the_course_tells_episodes_and_cost_over_time() -> None:
    outcomes = [
        solved(
            type(SPEC)("baseline", "goto", seed), started_at_s=seed * 10.0, usage=Usage(1, 1, 0.25)
        )
        for seed in range(4)
    ]
    episodes, cost = course_charts(run_of(*outcomes))
    assert (episodes["top"], episodes["span"], cost["top"]) == ("4", "31.0 s", "$1.00")
    assert cost["points"].split()[-1] == "100.00,0.00"


def test_unknown_prices_have_no_course() -> None:
    assert [chart["title"] for chart in course_charts(sample_run())] == ["Episodes over time"]


def test_pictures_are_written_in_both_formats(tmp_path: Path) -> None:
    written = write_charts(tmp_path / "charts", summary_of(sample_run()))
    names = {path.name for path in written}
    assert {"success.svg", "input_tokens.png", "difference-steps.svg"} <= names
    assert len(written) == 2 * 2 * len(MEASURES)
    picture = (tmp_path / "charts/success.svg").read_text(encoding="utf-8")
    assert picture.startswith("<svg")
    assert ">33.3 ± 21.1 %<" in picture
    assert ">75 %<" in picture
    assert (tmp_path / "charts/success.png").read_bytes().startswith(b"\x89PNG")


def test_names_are_escaped_in_pictures(tmp_path: Path) -> None:
    run = run_of(failure(type(SPEC)("<script>alert(1)</script>", "goto", 200)))
    write_charts(tmp_path, summary_of(run), formats=["svg"])
    assert "<script" not in (tmp_path / "success.svg").read_text(encoding="utf-8")


def test_a_single_variant_has_no_forest_plot(tmp_path: Path) -> None:
    run = run_of(failure(SPEC))
    assert len(write_charts(tmp_path, summary_of(run), formats=["svg"])) == len(MEASURES)


def test_a_directory_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "charts").write_text("")
    with pytest.raises(SettingsError, match="charts"):
        write_charts(tmp_path / "charts", summary_of(sample_run()))


@pytest.mark.parametrize("library", ["altair", "vl_convert"])
def test_a_missing_library_is_one_line(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SettingsError, match=r"charts need .*pip install 'pytest-babyai\[report\]'"):
        write_charts(tmp_path, summary_of(sample_run()))


def test_a_learning_curve_has_both_panels(tmp_path: Path) -> None:
    write_learning_curve(tmp_path / "new/curve.svg", CURVE)

    text = (tmp_path / "new/curve.svg").read_text(encoding="utf-8")
    assert all(name in text for name in ("a small model", "Loss", "Action accuracy", "80%"))


def test_a_learning_curve_may_be_a_png(tmp_path: Path) -> None:
    write_learning_curve(tmp_path / "curve.png", CURVE)

    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_another_ending_of_a_learning_curve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"curve\.gif: expected a name that ends in \.svg or"):
        write_learning_curve(tmp_path / "curve.gif", CURVE)
