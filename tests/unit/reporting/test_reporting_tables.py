"""Tables fit the terminal, and lose nothing."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.reporting.tables import shortened, table_lines

HEADERS = ["variant", "success", "progression"]
ROWS = [["baseline", "62.0 %", "0.62"], ["history_and_reasoning", "75.0 %", "0.75"]]
cells = st.text("ab_0.", min_size=1, max_size=8)


def lines_at(width: int) -> list[str]:
    return list(table_lines(HEADERS, ROWS, width=width))


def test_a_table_that_fits_has_a_row_per_row() -> None:
    assert lines_at(80) == [
        "variant                  success    progression",
        "---------------------  ---------  -------------",
        "baseline                  62.0 %           0.62",
        "history_and_reasoning     75.0 %           0.75",
    ]


def test_a_table_that_is_too_wide_is_turned() -> None:
    rows = [["baseline", "62.0 %", "0.62", "588"], ["random_agent", "75.0 %", "0.75", "1,234"]]
    assert list(table_lines([*HEADERS, "output tokens"], rows, width=45)) == [
        "variant          baseline    random_agent",
        "-------------  ----------  --------------",
        "success            62.0 %          75.0 %",
        "progression          0.62            0.75",
        "output tokens         588           1,234",
    ]


def test_names_break_where_the_turned_table_is_too_wide() -> None:
    assert lines_at(40) == [
        "variant        baseline     history_",
        "                                and_",
        "                           reasoning",
        "-----------  ----------  -----------",
        "success          62.0 %       75.0 %",
        "progression        0.62         0.75",
    ]


def test_columns_split_into_blocks_where_that_is_too_wide() -> None:
    assert lines_at(28) == [
        "variant        baseline",
        "-----------  ----------",
        "success          62.0 %",
        "progression        0.62",
        "",
        "variant         history_",
        "                    and_",
        "               reasoning",
        "-----------  -----------",
        "success           75.0 %",
        "progression         0.75",
    ]


def test_names_that_fit_no_block_are_shortened() -> None:
    rows = [["a" * 40, "62.0 %", "0.62"]]
    assert next(table_lines(HEADERS, rows, width=28)) == "variant        aaaaaaaaaaaa…"


def test_an_empty_table_has_its_headers() -> None:
    assert next(table_lines(HEADERS, [], width=80)).split() == HEADERS


@given(
    st.lists(st.tuples(st.text("abc_-", min_size=1, max_size=40), cells, cells), min_size=1),
    st.integers(30, 200),
)
def test_no_line_is_wider_than_the_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    assert max(map(len, table_lines(HEADERS, rows, width=width))) <= width


@given(st.lists(st.tuples(cells, cells, cells), min_size=1), st.integers(30, 200))
def test_no_cell_is_lost(rows: list[tuple[str, ...]], width: int) -> None:
    words = " ".join(table_lines(HEADERS, rows, width=width)).split()
    assert {cell for row in rows for cell in row[1:]} <= set(words)


def test_short_texts_stay() -> None:
    assert shortened("abcde", 5) == "abcde"


def test_long_texts_end_in_an_ellipsis() -> None:
    assert shortened("abcdef", 5) == "abcd…"


def test_ascii_ellipsis() -> None:
    assert shortened("abcdef", 5, "...") == "ab..."


def test_reporting_does_not_import_tabulate_before_a_table() -> None:
    program = (
        "import sys, pytest_babyai.reporting.terminal, pytest_babyai.reporting.episodes;"
        "print(sorted({'tabulate', 'pandas', 'numpy', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
