"""ClickHouse's HTTP interface on an engine that notes what it is told."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.store.engine import EngineError, Result
from tests.patience import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.store.store_fakes import FakeEngine, Served

pytestmark = pytest.mark.asyncio


async def test_a_ping_needs_no_password(served: Served) -> None:
    async with served.client_with({}) as client:
        assert (await client.get("/ping")).text == "Ok.\n"


async def test_without_a_password_there_is_no_answer(served: Served) -> None:
    async with served.client_with({}) as client:
        response = await client.post("/", content="SELECT 1")
    assert response.status_code == 401
    assert response.headers["X-ClickHouse-Exception-Code"] == "194"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-ClickHouse-User": "babyai", "X-ClickHouse-Key": "wrong"},
        {"X-ClickHouse-User": "root", "X-ClickHouse-Key": "secret"},
        {"X-ClickHouse-User": "babyai"},
        {"Authorization": "Basic " + base64.b64encode(b"babyai:wrong").decode()},
    ],
)
async def test_wrong_credentials_are_refused(served: Served, headers: dict[str, str]) -> None:
    async with served.client_with(headers) as client:
        response = await client.post("/", content="SELECT 1")
    assert response.status_code == 403
    assert response.headers["X-ClickHouse-Exception-Code"] == "516"


@pytest.mark.parametrize("header", ["Basic !!", "Bearer secret"])
async def test_an_unreadable_authorization_is_none(served: Served, header: str) -> None:
    async with served.client_with({"Authorization": header}) as client:
        assert (await client.post("/", content="SELECT 1")).status_code == 401


async def test_basic_authentication_is_accepted(served: Served) -> None:
    async with served.client_with({}) as client:
        response = await client.post("/", content="SELECT 1", auth=("babyai", "secret"))
    assert response.text == "1\n"


async def test_credentials_in_the_url_are_accepted(served: Served) -> None:
    async with served.client_with({}) as client:
        response = await client.post("/?user=babyai&password=secret", content="SELECT 1")
    assert response.text == "1\n"


async def test_the_query_may_stand_in_url_and_body(served: Served, engine: FakeEngine) -> None:
    await served.client.post("/", params={"query": "SELECT"}, content="2")
    assert engine.statements[0][0] == "SELECT\n2"


async def test_a_body_may_come_in_chunks(served: Served, engine: FakeEngine) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"SELECT "
        yield b"3"

    await served.client.post("/", content=chunks())
    assert engine.statements[0][0] == "SELECT 3"


async def test_settings_and_parameters_of_the_url_are_told_apart(
    served: Served, engine: FakeEngine
) -> None:
    url = "/?database=d&join_algorithm=auto&param_id=7&wait_end_of_query=1&async_insert=1"
    await served.client.post(url, content="SELECT {id:UInt8}")
    assert engine.scopes == [("d", (("join_algorithm", "auto"),))]
    assert engine.statements == [("SELECT {id:UInt8}", "TabSeparated", {"id": "7"})]


async def test_the_default_format_can_be_chosen(served: Served, engine: FakeEngine) -> None:
    await served.ask("SELECT 1", default_format="JSON")
    await served.client.post("/", content="SELECT 1", headers={"X-ClickHouse-Format": "CSV"})
    assert [output_format for _, output_format, _ in engine.statements] == ["JSON", "CSV"]


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
async def test_a_compressed_body_is_read(
    served: Served, engine: FakeEngine, encoding: str, compress: object
) -> None:
    assert callable(compress)
    headers = {"Content-Encoding": encoding}
    await served.client.post("/", content=compress(b"SELECT 4"), headers=headers)
    assert engine.statements[0][0] == "SELECT 4"


@pytest.mark.parametrize(("encoding", "code"), [("gzip", "271"), ("br", "89")])
async def test_a_body_that_cannot_be_unpacked_is_an_error(
    served: Served, encoding: str, code: str
) -> None:
    headers = {"Content-Encoding": encoding}
    response = await served.client.post("/", content=b"SELECT 4", headers=headers)
    assert response.headers["X-ClickHouse-Exception-Code"] == code


async def test_a_get_cannot_change_anything(served: Served, engine: FakeEngine) -> None:
    await served.client.get("/", params={"query": "DROP TABLE t"})
    assert engine.statements[0] == ("SET", "", {"readonly": "2"})


async def test_a_summary_tells_what_was_read(served: Served, engine: FakeEngine) -> None:
    engine.on_run = lambda _: Result(b"5\n", 5)
    summary = json.loads((await served.ask("SELECT 5")).headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["written_rows"]) == ("5", "0")


@pytest.mark.parametrize(
    ("code", "name", "status"),
    [
        (60, "UNKNOWN_TABLE", 404),
        (62, "SYNTAX_ERROR", 400),
        (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", 400),
        (159, "TIMEOUT_EXCEEDED", 408),
        (48, "NOT_IMPLEMENTED", 501),
        (241, "MEMORY_LIMIT_EXCEEDED", 500),
    ],
)
async def test_errors_have_clickhouse_s_code_and_status(
    served: Served, engine: FakeEngine, code: int, name: str, status: int
) -> None:
    def fail(_: str) -> Result:
        raise EngineError(code, name, "No.")

    engine.on_run = fail
    response = await served.ask("SELECT 1")
    assert response.status_code == status
    assert response.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert response.text == f"Code: {code}. DB::Exception: No. ({name})\n"


async def test_an_error_between_two_parts_ends_the_answer_with_its_tag(
    served: Served, engine: FakeEngine
) -> None:
    parts = iter([Result(b"a", 1), Result(b"b", 1)])

    class Connection:
        def stream(self, *_: object) -> object:
            yield from parts
            raise EngineError(395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", "Thrown.")

        def close(self) -> None:
            engine.num_open -= 1

    engine.num_open += 1
    engine.connect = lambda *_: Connection()  # type: ignore[method-assign,assignment]
    response = await served.ask("SELECT 1")
    tag = response.headers["X-ClickHouse-Exception-Tag"]
    assert response.text.startswith(f"ab\r\n__exception__\r\n{tag}\r\nCode: 395.")
    assert response.text.endswith(f"{tag}\r\n__exception__\r\n")


async def test_tables_may_come_with_the_request(served: Served, engine: FakeEngine) -> None:
    files = {"new_data": ("file.data", b'{"a": 1}\n')}
    fields = {
        "new_data_structure": "a UInt8, m Map(String, String)",
        "new_data_format": "JSONEachRow",
        "query": "INSERT INTO t SELECT a FROM new_data",
        "param_x": "1",
    }
    await served.client.post("/?database=d", data=fields, files=files)
    created = "CREATE TEMPORARY TABLE `new_data` (a UInt8, m Map(String, String))"
    assert engine.statements == [
        (created, "Null", {}),
        ("INSERT INTO t SELECT a FROM new_data", "TabSeparated", {"x": "1"}),
    ]
    assert engine.inserts == [("INSERT INTO `new_data`", "JSONEachRow", b'{"a": 1}\n')]


async def test_a_table_without_structure_is_an_error(served: Served) -> None:
    files = {"new_data": ("file.data", b"1")}
    response = await served.client.post(
        "/", data={"query": "SELECT 1", "new_data_format": "CSV"}, files=files
    )
    assert response.status_code == 500
    assert "neither structure nor types" in response.text


async def test_a_table_of_types_has_numbered_columns(served: Served, engine: FakeEngine) -> None:
    files = {"ids": ("file.data", b"1\t2")}
    await served.client.post("/?ids_types=UInt8,String", data={"query": "SELECT 1"}, files=files)
    assert engine.statements[0][0] == "CREATE TEMPORARY TABLE `ids` (_1 UInt8, _2 String)"


async def test_rows_in_other_formats_are_passed_on_as_they_are(
    served: Served, engine: FakeEngine
) -> None:
    binary = bytes(range(256))
    await served.client.post("/?query=INSERT INTO t (a) FORMAT Native", content=binary)
    assert engine.inserts == [("INSERT INTO t (a)", "Native", binary)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t SELECT 1",
        "INSERT INTO FUNCTION null('a') SELECT 1",
    ],
)
async def test_other_inserts_run_as_they_are(
    served: Served, engine: FakeEngine, statement: str
) -> None:
    await served.ask(statement)
    assert engine.statements == [(statement, "TabSeparated", {})]


async def test_values_are_rows_in_a_format_of_their_own(served: Served, engine: FakeEngine) -> None:
    await served.ask("INSERT INTO t (a) VALUES (1),\n\n(2)")
    assert engine.inserts == [("INSERT INTO t (a)", "Values", b" (1),\n\n(2)")]


async def test_values_that_are_parameters_run_with_them(served: Served, engine: FakeEngine) -> None:
    await served.ask("INSERT INTO t VALUES ({a:UInt8})", param_a="1")
    assert engine.statements == [("INSERT INTO t VALUES ({a:UInt8})", "TabSeparated", {"a": "1"})]


async def test_a_query_that_is_no_text_is_an_error(served: Served) -> None:
    response = await served.client.post("/", content=b"SELECT \xff")
    assert (response.status_code, response.headers["X-ClickHouse-Exception-Code"]) == (400, "62")


async def test_connections_of_queries_are_used_again(served: Served, engine: FakeEngine) -> None:
    await served.ask("SELECT 1")
    await served.ask("SELECT 2")
    assert len(engine.scopes) == 1


async def test_connections_that_may_have_changed_are_not_used_again(
    served: Served, engine: FakeEngine
) -> None:
    await served.ask("SET max_threads = 1")
    await served.ask("SELECT 2")
    assert len(engine.scopes) == 2


async def test_a_session_keeps_its_connection(served: Served, engine: FakeEngine) -> None:
    await served.ask("SET max_threads = 1", session_id="s")
    await served.ask("SELECT 2", session_id="s")
    assert len(engine.scopes) == 1


async def test_settings_of_one_request_leave_its_session(
    served: Served, engine: FakeEngine
) -> None:
    await served.ask("SELECT 1", session_id="s", max_threads="1")
    assert [statement for statement, _, _ in engine.statements] == [
        "SET",
        "SELECT 1",
        "SET max_threads = DEFAULT",
    ]


async def test_a_lease_is_held_until_its_holder_is_gone(served: Served) -> None:
    messages: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/lease",
        "query_string": b"user=babyai&password=secret",
        "headers": [],
    }
    holding = asyncio.create_task(served.application(scope, messages.get, send))
    await until(lambda: len(sent) == 2)
    assert not holding.done()
    await messages.put({"type": "http.disconnect"})
    await holding
