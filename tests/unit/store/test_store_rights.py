"""What the SQL user of the store may not, who may read its files, and bodies that are odd."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from pytest_babyai.store.embedded import EmbeddedStore
from tests.unit.store.store_fakes import ask, need_chdb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = "the content of a file of the user"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    need_chdb()
    root = tmp_path_factory.mktemp("project")
    (root / "secret.txt").write_text(CONTENT)
    before = os.umask(0)
    try:
        with EmbeddedStore(root / ".babyai" / "store") as started:
            ask(started, "CREATE TABLE t (a String) ENGINE = MergeTree ORDER BY a")
            yield started
    finally:
        os.umask(before)


def answer(
    store: EmbeddedStore, query: str, *, method: str = "POST", **parameters: str
) -> httpx.Response:
    url = urlsplit(store.url)
    return httpx.request(
        method,
        f"http://127.0.0.1:{store.port}/",
        params={"database": "tensorzero", **parameters}
        | ({"query": query} if method == "GET" else {}),
        headers={"X-ClickHouse-User": url.username or "", "X-ClickHouse-Key": url.password or ""},
        content=query if method == "POST" else None,
        trust_env=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM file('{secret}', LineAsString)",
        "SELECT * FROM '{secret}'",
        "SELECT file('{secret}')",
        "SELECT FILE ('{secret}')",
        "SELECT `file`('{secret}')",
        "SELECT \"fil\\x65\"('{secret}')",
        "SELECT /* ' */ file/**/('{secret}')",
        "SELECT arrayMap(file, ['{secret}'])",
        "SELECT \u2018 ' \u2019, file('{secret}')",
        "INSERT INTO t VALUES (file('{secret}'))",
        "INSERT INTO t SELECT file('{secret}')",
        "INSERT INTO t FROM INFILE '{secret}' FORMAT LineAsString",
        "CREATE VIEW v AS SELECT file('{secret}')",
        "CREATE FUNCTION f AS x -> file(x)",
        "CREATE TABLE f (a String) ENGINE = File(CSV)",
        "CREATE DATABASE f ENGINE = Filesystem('/')",
        "INSERT INTO FUNCTION file('{secret}', CSV, 'a String') VALUES ('b')",
        "SELECT 1 INTO OUTFILE '{secret}.out'",
        "SELECT 1\nINTO /* here */ OUTFILE '{secret}.out' TRUNCATE",
        "BACKUP TABLE t TO File('{secret}.out')",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
        "SELECT * FROM s3('http://127.0.0.1:1/bucket/key', NOSIGN, 'CSV', 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', system.one)",
        "CREATE TABLE u (a String) ENGINE = URL('http://127.0.0.1:1/')",
        "SELECT * FROM Python(os)",
        "SELECT * FROM executable('id', CSV, 'a String')",
        "SYSTEM SHUTDOWN",
        "SYSTEM KILL",
        "SYSTEM DROP MARK CACHE",
        "CREATE USER other IDENTIFIED BY 'x'",
        "GRANT ALL ON *.* TO default",
    ],
)
def test_files_urls_and_the_process_are_out_of_reach(store: EmbeddedStore, query: str) -> None:
    secret = store.directory.parents[1] / "secret.txt"
    refused = answer(store, query.format(secret=secret))
    assert refused.status_code in {400, 403, 404, 500}
    assert CONTENT not in refused.text
    assert [path.name for path in secret.parent.iterdir() if path.suffix == ".out"] == []
    assert ask(store, "SELECT count() FROM t") == "0\n"


def test_a_parameter_names_no_function(store: EmbeddedStore) -> None:
    secret = store.directory.parents[1] / "secret.txt"
    refused = answer(store, f"SELECT arrayMap({{f:Identifier}}, ['{secret}'])", param_f="file")
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'file(x) INTO OUTFILE'",
        "SELECT 1 -- file(x)",
        "SELECT number AS profile FROM numbers(1)",
        "SELECT x.file FROM (SELECT 1 AS a) AS y, (SELECT 2 AS b) AS x WHERE 0",
    ],
)
def test_words_that_only_look_like_it_are_free(store: EmbeddedStore, query: str) -> None:
    assert answer(store, query).status_code in {200, 404}


@pytest.mark.parametrize(
    "query", ["INSERT INTO t VALUES ('a')", "DROP TABLE t", "SET readonly = 0", "TRUNCATE TABLE t"]
)
def test_a_get_only_reads(store: EmbeddedStore, query: str) -> None:
    assert answer(store, query, method="GET").status_code == 403
    assert answer(store, "SELECT count() FROM t", method="GET").text == "0\n"


def test_nobody_else_can_read_the_store(store: EmbeddedStore) -> None:
    home = store.directory.parent
    private = [home, *store.directory.rglob("*"), store.directory]
    open_to_others = [
        path
        for path in private
        if not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    assert open_to_others == []
    assert (home / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("input_format", ["JSONEachRow", "CSV", "Native"])
def test_rows_with_blank_lines_arrive_whole(store: EmbeddedStore, input_format: str) -> None:
    ask(store, "CREATE OR REPLACE TABLE b (a String) ENGINE = MergeTree ORDER BY a")
    select = f"SELECT 'x\\n\\ny' AS a FROM numbers(3) FORMAT {input_format}"
    rows = answer(store, select).content
    inserted = httpx.post(
        f"http://127.0.0.1:{store.port}/",
        params={"database": "tensorzero", "query": f"INSERT INTO b FORMAT {input_format}"},
        # To ClickHouse an empty line of CSV is a row.
        content=rows + b"\n\n" if input_format == "JSONEachRow" else rows,
        auth=(urlsplit(store.url).username or "", urlsplit(store.url).password or ""),
        trust_env=False,
        timeout=60,
    )
    assert inserted.status_code == 200, inserted.text
    assert ask(store, "SELECT count(), any(a) FROM b") == "3\tx\\n\\ny\n"


def test_a_row_that_cannot_be_read_is_refused_and_written_by_nobody(store: EmbeddedStore) -> None:
    ask(store, "CREATE OR REPLACE TABLE u (a UUID) ENGINE = MergeTree ORDER BY a")
    rows = '{"a": "0198aaaa-0000-7000-8000-000000000001"}\n{"a": "nonsense"}\n'
    refused = answer(store, f"INSERT INTO u SETTINGS async_insert=1 FORMAT JSONEachRow {rows}")
    assert refused.status_code == 400
    assert "CANNOT_PARSE_UUID" in refused.text
    assert ask(store, "SELECT count() FROM u") == "0\n"


def test_nothing_of_a_connection_that_is_cut_is_written(store: EmbeddedStore) -> None:
    ask(store, "CREATE OR REPLACE TABLE c (a UInt8) ENGINE = MergeTree ORDER BY a")
    url = urlsplit(store.url)
    body = b"INSERT INTO c FORMAT JSONEachRow\n" + b'{"a": 1}\n' * 5
    head = (
        f"POST /?database=tensorzero HTTP/1.1\r\nHost: x\r\nX-ClickHouse-User: {url.username}\r\n"
        f"X-ClickHouse-Key: {url.password}\r\nContent-Length: {2 * len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", store.port)) as connection:
        connection.sendall(head.encode() + body)
    ask(store, 'INSERT INTO c FORMAT JSONEachRow {"a": 2}')
    assert ask(store, "SELECT groupArray(a) FROM c") == "[2]\n"


def test_rows_that_cannot_be_taken_are_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    need_chdb()
    with EmbeddedStore(tmp_path / "store") as store:
        ask(store, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        incoming = store.directory / "incoming"
        incoming.rmdir()
        refused = answer(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 1}')
        incoming.mkdir()
        ask(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 2}')
        assert (refused.status_code, ask(store, "SELECT a FROM t")) == (500, "2\n")
