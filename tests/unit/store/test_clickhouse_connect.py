"""ClickHouse's own Python client on the embedded store."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.store.embedded import EmbeddedStore
from tests.unit.store.store_fakes import need_chdb

if TYPE_CHECKING:
    from collections.abc import Iterator

clickhouse_connect = pytest.importorskip("clickhouse_connect")

NEW_YEAR = dt.datetime(2026, 1, 1)  # noqa: DTZ001 - the client's own are naive


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    need_chdb()
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as started:
        yield started


@pytest.fixture
def client(store: EmbeddedStore) -> Iterator[Any]:
    client = clickhouse_connect.get_client(dsn=store.url)
    client.command(
        "CREATE OR REPLACE TABLE t (a UInt64, b String, tags Map(String, String), at DateTime) "
        "ENGINE = MergeTree ORDER BY a"
    )
    yield client
    client.close()


def test_parameters_arrive(client: Any) -> None:
    rows = client.query("SELECT {a:String}, {b:UInt8} + 1", parameters={"a": "é'\n", "b": 1})
    assert rows.result_rows == [("é'\n", 2)]


def test_rows_are_read_as_they_were_inserted(client: Any) -> None:
    rows = [(1, "x", {"k": "v"}, NEW_YEAR), (2, "y" * 100_000, {}, NEW_YEAR)]
    client.insert("t", rows, column_names=["a", "b", "tags", "at"])
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == rows


def test_an_insert_tells_its_rows(client: Any) -> None:
    assert client.insert("t", [[1], [2]], column_names=["a"]).written_rows == 2


def test_a_frame_is_read(client: Any) -> None:
    client.insert("t", [[1, "x"], [2, "y"]], column_names=["a", "b"])
    frame = client.query_df("SELECT a, b FROM t ORDER BY a")
    assert frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_lines_of_another_format_are_inserted(client: Any) -> None:
    client.raw_insert("t", ["a", "b"], b"8,q\n9,w\n", fmt="CSV")
    assert client.command("SELECT groupArray(b) FROM t") == "['q','w']"


def test_a_long_result_is_streamed(client: Any) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
        assert sum(row[0] for block in blocks for row in block) == sum(range(300_000))


def test_an_error_has_clickhouse_s_text(client: Any) -> None:
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="code: 60"):
        client.query("SELECT * FROM no_such_table")


def test_an_error_amid_a_result_is_an_error(client: Any) -> None:
    with pytest.raises(clickhouse_connect.driver.exceptions.Error, match="395"):
        _ = client.query("SELECT throwIf(number = 250000) FROM numbers(300000)").result_rows


def test_a_session_remembers_settings(client: Any) -> None:
    client.command("SET max_threads = 1")
    assert client.command("SELECT getSetting('max_threads')") == 1


def test_a_session_remembers_temporary_tables(client: Any) -> None:
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.insert("mine", [[5]], column_names=["a"])
    assert client.command("SELECT a FROM mine") == 5


def test_a_table_comes_with_a_query(client: Any) -> None:
    sent = clickhouse_connect.driver.external.ExternalData(
        file_name="sent", data=b"1\tx\n", fmt="TSV", structure="a UInt8, b String"
    )
    assert client.query("SELECT * FROM sent", external_data=sent).result_rows == [(1, "x")]


def test_a_wrong_password_is_refused(store: EmbeddedStore) -> None:
    wrong = store.url.replace("@", "x@")
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="code: 516"):
        clickhouse_connect.get_client(dsn=wrong)
