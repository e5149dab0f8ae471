"""INSERTs that wait are merged, and fail by themselves."""

from __future__ import annotations

import asyncio
import json

import pytest

from pytest_babyai.store.engine import EngineError
from tests.unit.store.store_fakes import DISK_FULL, FakeEngine, Served

pytestmark = pytest.mark.asyncio


async def test_inserts_that_wait_are_merged(served: Served, engine: FakeEngine) -> None:
    engine.may_insert.clear()
    rows = [f'{{"a": {number}}}' for number in range(200)]
    waiting = [asyncio.create_task(served.insert(row)) for row in rows]
    engine.may_insert.set()
    responses = await asyncio.gather(*waiting)
    assert {response.status_code for response in responses} == {200}
    assert len(engine.inserts) <= 2
    written = b"\n".join(data for _, _, data in engine.inserts).decode().split("\n")
    assert sorted(written) == sorted(rows)


async def test_an_insert_is_told_how_many_rows_it_has(served: Served) -> None:
    response = await served.insert('{"a": 1}\n{"a": 2}\n')
    assert json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"] == "2"


async def test_inserts_are_never_left_to_the_engine_s_own_queue(
    served: Served, engine: FakeEngine
) -> None:
    await served.insert('{"a": 1}', settings="SETTINGS async_insert=1, wait_for_async_insert=1")
    statement = "INSERT INTO t SETTINGS async_insert=0, async_insert=0"
    assert engine.inserts == [(statement, "JSONEachRow", b'{"a": 1}')]


@pytest.mark.parametrize(
    "other",
    [
        {"table": "u"},
        {"table": "t (a)"},
        {"settings": "SETTINGS max_threads=1"},
        {"url": "/?database=e"},
        {"url": "/?database=d&input_format_null_as_default=0"},
    ],
)
async def test_inserts_that_differ_are_not_merged(
    served: Served, engine: FakeEngine, other: dict[str, str]
) -> None:
    await asyncio.gather(served.insert('{"a": 1}'), served.insert('{"a": 2}', **other))
    assert sorted(data for _, _, data in engine.inserts) == [b'{"a": 1}', b'{"a": 2}']


@pytest.mark.parametrize("rows", ["[{}]", '{"a": 1', ""])
async def test_rows_that_cannot_stand_behind_others_are_written_alone(
    served: Served, engine: FakeEngine, rows: str
) -> None:
    await asyncio.gather(served.insert(rows), served.insert('{"a": 2}'))
    assert sorted(data for _, _, data in engine.inserts) == sorted([rows.encode(), b'{"a": 2}'])


async def test_an_unreadable_row_fails_its_own_insert_alone(
    served: Served, engine: FakeEngine
) -> None:
    def refuse(_: str, data: bytes) -> None:
        if b"nope" in data:
            raise EngineError(117, "INCORRECT_DATA", "Unknown field.")

    engine.on_insert = refuse
    responses = await asyncio.gather(
        served.insert('{"a": 1}'), served.insert('{"nope": 1}'), served.insert('{"a": 2}')
    )
    assert [response.status_code for response in responses] == [200, 400, 200]
    assert [data for _, _, data in engine.inserts][1:] == [b'{"a": 1}', b'{"nope": 1}', b'{"a": 2}']


async def test_a_full_disk_fails_the_insert_once_and_the_server_goes_on(
    served: Served, engine: FakeEngine
) -> None:
    def fail(*_: object) -> None:
        raise DISK_FULL

    engine.on_insert = fail
    responses = await asyncio.gather(served.insert('{"a": 1}'), served.insert('{"a": 2}'))
    assert [response.status_code for response in responses] == [500, 500]
    assert responses[0].headers["X-ClickHouse-Exception-Code"] == "243"
    assert len(engine.inserts) == 1, "rows that may have been written are not written again"
    engine.on_insert = lambda *_: None
    assert (await served.insert('{"a": 3}')).status_code == 200


async def test_an_engine_that_breaks_is_an_error_of_the_insert(
    served: Served, engine: FakeEngine
) -> None:
    def fail(*_: object) -> None:
        raise OSError("broken")

    engine.on_insert = fail
    response = await served.insert('{"a": 1}')
    assert (response.status_code, response.headers["X-ClickHouse-Exception-Code"]) == (500, "1002")
    assert "OSError: broken" in response.text


async def test_a_reader_does_not_wait_for_inserts(served: Served, engine: FakeEngine) -> None:
    engine.may_insert.clear()
    waiting = asyncio.create_task(served.insert('{"a": 1}'))
    assert (await served.ask("SELECT 1")).text == "1\n"
    assert not waiting.done()
    engine.may_insert.set()
    assert (await waiting).status_code == 200


@pytest.mark.parametrize("end", ["", "\n", "\n\n", " \r\n"])
async def test_rows_may_end_in_newlines_and_blank_lines(
    served: Served, engine: FakeEngine, end: str
) -> None:
    rows = [f'{{"a": {number}}}\n\n{{"b": {number}}}{end}' for number in range(20)]
    responses = await asyncio.gather(*map(served.insert, rows))
    written = b"\n".join(data for _, _, data in engine.inserts).decode().split("\n")
    assert sorted(filter(str.strip, written)) == sorted(
        line for row in rows for line in row.split("\n") if line.strip()
    )
    assert {
        json.loads(response.headers["X-ClickHouse-Summary"])["written_rows"]
        for response in responses
    } == {"2"}


async def test_nothing_of_a_body_that_is_cut_off_is_written(
    served: Served, engine: FakeEngine
) -> None:
    messages: list[dict[str, object]] = [
        {
            "type": "http.request",
            "body": b'INSERT INTO t FORMAT JSONEachRow\n{"a": 1}\n',
            "more_body": True,
        },
        {"type": "http.disconnect"},
    ]
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"user=babyai&password=secret",
        "headers": [],
    }
    await served.application(scope, receive, send)
    assert engine.inserts == []
