"""Episodes as CSV and Parquet."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import Usage
from pytest_babyai.reporting import tables_export
from pytest_babyai.reporting.tables_export import (
    COLUMNS,
    episodes_frame,
    write_csv,
    write_parquet,
)
from tests.unit.reporting.reporting_samples import (
    SPEC,
    failure,
    result,
    run_of,
    sample_run,
    solved,
    troubled_run,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_there_is_a_row_for_every_episode_in_order() -> None:
    frame = episodes_frame(sample_run())
    specs = list(zip(frame["variant"], frame["task"], frame["seed"], strict=True))
    assert specs == sorted(specs)
    assert len(specs) == 24


def test_columns_are_those_that_are_documented() -> None:
    documented = re.findall(
        r"^\| ([a-z_, ]+) \| (?!type)", tables_export.__doc__ or "", re.MULTILINE
    )
    names = [name for cell in documented for name in cell.split(", ")]
    assert names == list(COLUMNS) == list(episodes_frame(run_of()).columns)


def test_types_do_not_depend_on_the_episodes() -> None:
    of_nothing, of_all = episodes_frame(run_of()), episodes_frame(troubled_run())
    assert list(of_nothing.dtypes) == list(of_all.dtypes)


@pytest.mark.parametrize(
    ("outcome", "name"), [(solved(), "passed"), (result(), "failed"), (failure(), "error")]
)
def test_outcomes_have_names(outcome: object, name: str) -> None:
    frame = episodes_frame(run_of(outcome))  # type: ignore[arg-type]
    assert frame["outcome"].tolist() == [name]


def test_an_error_has_no_score() -> None:
    frame = episodes_frame(run_of(failure()))
    assert frame[["progression", "success", "return"]].isna().all(axis=None)
    assert frame["error_kind"].tolist() == ["rate limit"]


def test_unknown_tokens_are_missing() -> None:
    frame = episodes_frame(run_of(solved(usage=Usage())))
    assert frame[["input_tokens", "output_tokens", "cost"]].isna().all(axis=None)


def test_csv_reads_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "out/episodes.csv", troubled_run(), run_id="20260131-1")
    frame = pd.read_csv(tmp_path / "out/episodes.csv", dtype=dict(COLUMNS))
    pd.testing.assert_frame_equal(frame, episodes_frame(troubled_run(), run_id="20260131-1"))


def test_texts_with_commas_and_lines_stay_one_cell(tmp_path: Path) -> None:
    message = 'first, "second"\nthird'
    write_csv(tmp_path / "episodes.csv", run_of(failure(SPEC, message=message)))
    assert pd.read_csv(tmp_path / "episodes.csv")["error_message"].tolist() == [message]


def test_parquet_reads_back(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "episodes.parquet", troubled_run())
    frame = pd.read_parquet(tmp_path / "episodes.parquet")
    expected = episodes_frame(troubled_run())
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)


def test_missing_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"Parquet needs pyarrow.*pytest-babyai\[parquet\]"):
        write_parquet(tmp_path / "episodes.parquet", sample_run())


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_a_file_that_cannot_be_written_is_named(write: object, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(SettingsError, match=re.escape(str(tmp_path))):
        write(tmp_path, sample_run())  # type: ignore[operator]
