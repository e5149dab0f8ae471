"""The step summary of GitHub Actions: where it is, what is in it, how large it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import SettingsError
from pytest_babyai.reporting.github import MAX_BYTES, append_step_summary, cut_markdown
from pytest_babyai.reporting.markdown import markdown
from tests.unit.reporting.reporting_samples import summary_of, troubled_run

if TYPE_CHECKING:
    from pathlib import Path

REPORT = markdown(summary_of(troubled_run()))
NOTE = "> Cut here: "


def never() -> NoReturn:
    pytest.fail("nobody reads this report")


@pytest.mark.parametrize("environment", [{}, {"GITHUB_STEP_SUMMARY": ""}])
def test_outside_of_github_no_report_is_made(environment: dict[str, str]) -> None:
    assert append_step_summary(environment, never) is None


def test_the_report_is_written_where_github_says(tmp_path: Path) -> None:
    path = tmp_path / "summary"

    assert append_step_summary({"GITHUB_STEP_SUMMARY": str(path)}, lambda: REPORT) == path

    assert path.read_text(encoding="utf-8") == REPORT


def test_what_was_written_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("before\n", encoding="utf-8")

    append_step_summary({"GITHUB_STEP_SUMMARY": str(path)}, lambda: REPORT)

    assert path.read_text(encoding="utf-8") == f"before\n\n{REPORT}"


@pytest.mark.parametrize("num_bytes_before", [0, 1, 500_000, MAX_BYTES - 50, MAX_BYTES])
def test_the_whole_summary_stays_within_the_limit(tmp_path: Path, num_bytes_before: int) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"x" * num_bytes_before)

    append_step_summary({"GITHUB_STEP_SUMMARY": str(path)}, lambda: "ä" * 100 * 9_000 + "\n")

    assert path.stat().st_size <= max(MAX_BYTES, num_bytes_before + 1)


def test_text_that_is_no_unicode_is_no_reason_to_fail(tmp_path: Path) -> None:
    path = tmp_path / "summary"

    append_step_summary({"GITHUB_STEP_SUMMARY": str(path)}, lambda: "a \ud800 b\n")

    assert path.read_text(encoding="utf-8") == "a ? b\n"


def test_a_summary_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^GITHUB_STEP_SUMMARY: .*: Is a directory$"):
        append_step_summary({"GITHUB_STEP_SUMMARY": str(tmp_path)}, lambda: REPORT)


def test_what_fits_is_left_as_it_is() -> None:
    assert cut_markdown(REPORT, len(REPORT.encode())) == REPORT


def test_what_does_not_fit_is_cut_between_lines_and_says_so() -> None:
    cut = cut_markdown(REPORT, len(REPORT.encode()) - 1)

    *kept, note = cut.rstrip("\n").splitlines()
    assert note.startswith(NOTE)
    assert kept[:-3] == REPORT.splitlines()[: len(kept) - 3]


def test_a_folded_section_is_closed_where_it_is_cut() -> None:
    rows = "| row |\n" * 50
    text = f"# Title\n\n<details>\n<summary>More</summary>\n\n{rows}\n</details>\n"

    cut = cut_markdown(text, 300)

    assert cut.count("<details>") == cut.count("</details>") == 1
    assert cut.index("</details>") < cut.index(NOTE)


def test_a_cut_behind_a_folded_section_closes_nothing() -> None:
    text = "<details>\n</details>\n" + "row\n" * 100

    assert cut_markdown(text, 300).count("</details>") == 1


def test_where_there_is_no_room_for_a_note_there_is_nothing() -> None:
    assert cut_markdown(REPORT, 20) == ""
    assert cut_markdown(REPORT, -5) == ""


@given(st.text(), st.integers(0, 400))
def test_no_text_is_ever_too_long(text: str, max_bytes: int) -> None:
    assert len(cut_markdown(text, max_bytes).encode("utf-8", "replace")) <= max_bytes
