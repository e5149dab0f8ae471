"""Which rows are acknowledged before they are written, and what is told of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.store.connections import Context
from pytest_babyai.store.failures import EngineError
from pytest_babyai.store.insert_log import InsertLog, Record, Target
from pytest_babyai.store.known_rows import (
    KnownShapes,
    PendingKeys,
    RecentValues,
    rows_of,
)
from pytest_babyai.store.lookups import Table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.gateway.clickhouse_fakes import FakeEngine, Served

ASYNC = "SETTINGS async_insert=1, wait_for_async_insert=1"
TARGET = Target("INSERT INTO t", Context("d", ()))
INFERENCES = "/?database=tensorzero"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a":1}\n{"a":2}\n', [{"a": 1}, {"a": 2}]),
        (b'{"a":\n1}', None),
        (b'{"a":1} {"a":2}', None),
        (b"[1]", None),
    ],
)
def test_rows_stand_a_line_each(data: bytes, expected: object) -> None:
    assert rows_of(data) == expected


@pytest.mark.parametrize(
    ("row", "is_known"),
    [
        ({"a": 2, "tags": {"x": "1", "z": "2"}, "list": [3, 4]}, True),
        ({"a": "2", "tags": {"x": "1"}, "list": [3]}, False),
        ({"a": None, "tags": {"x": "1"}, "list": [3]}, False),
        ({"a": 2, "tags": {"x": 1}, "list": [3]}, False),
        ({"a": 2, "tags": {"x": "1"}, "list": ["3"]}, False),
        ({"a": 2, "tags": {"x": "1"}, "list": []}, False),
        ({"a": 2, "tags": {"x": "1"}, "list": [3], "more": 1}, False),
        ({"a": 2, "tags": {"x": "1"}}, False),
        ({"a": True, "tags": {"x": "1"}, "list": [3]}, False),
    ],
)
def test_a_shape_is_columns_and_types(row: dict[str, object], *, is_known: bool) -> None:
    shapes = KnownShapes()
    shapes.learn(TARGET, [{"a": 1, "tags": {"x": "y"}, "list": [1]}])
    assert shapes.cover(TARGET, [row]) is is_known


def test_a_shape_is_known_of_one_target_until_tables_change() -> None:
    shapes = KnownShapes()
    shapes.learn(TARGET, [{"a": 1}])
    assert not shapes.cover(Target("INSERT INTO u", TARGET.context), [{"a": 1}])
    shapes.forget()
    assert not shapes.cover(TARGET, [{"a": 1}])


def test_the_oldest_values_are_forgotten() -> None:
    recent = RecentValues({Table("d", "t"): "id"}, max_remembered=2)
    recent.add(Table("d", "t"), [{"id": "1"}, {"id": "2"}])
    recent.add(Table("d", "u"), [{"id": "4"}])
    recent.add(Table("d", "t"), [{"id": "3"}])
    assert recent.find(["1", "2", "3", "4"]) == ["2", "3"]


@pytest.mark.asyncio
async def test_rows_like_written_ones_are_acknowledged_before_they_are_written(
    served: Served, engine: FakeEngine
) -> None:
    await served.insert('{"a": 1}', settings=ASYNC)
    engine.may_insert.clear()
    response = await served.insert('{"a": 2}', settings=ASYNC)
    engine.may_insert.set()
    assert response.status_code == 200
    assert [data for _, _, data in engine.inserts] == [b'{"a": 1}']


@pytest.mark.asyncio
async def test_a_reader_sees_what_was_acknowledged(served: Served, engine: FakeEngine) -> None:
    for number in range(5):
        await served.insert(f'{{"a": {number}}}', settings=ASYNC)
    await served.ask("SELECT count() FROM t")
    written = b"\n".join(data for _, _, data in engine.inserts).count(b"a")
    assert written == 5
    assert engine.statements[-1][0] == "SELECT count() FROM t"


@pytest.mark.asyncio
@pytest.mark.parametrize("settings", ["", "SETTINGS async_insert=0"])
async def test_a_client_that_asks_for_it_is_told_when_rows_are_written(
    served: Served, engine: FakeEngine, settings: str
) -> None:
    for number in range(3):
        await served.insert(f'{{"a": {number}}}', settings=settings)
        assert len(engine.inserts) == number + 1


@pytest.mark.asyncio
async def test_a_row_of_a_new_shape_is_told_its_error(served: Served, engine: FakeEngine) -> None:
    def refuse(_: str, data: bytes) -> None:
        if b"nope" in data:
            raise EngineError(117, "INCORRECT_DATA", "Unknown field.")

    engine.on_insert = refuse
    await served.insert('{"a": 1}', settings=ASYNC)
    assert (await served.insert('{"nope": 1}', settings=ASYNC)).status_code == 400


@pytest.mark.asyncio
async def test_after_a_change_of_tables_rows_are_written_first(
    served: Served, engine: FakeEngine
) -> None:
    await served.insert('{"a": 1}', settings=ASYNC)
    await served.ask("ALTER TABLE t ADD COLUMN b UInt8")
    await served.insert('{"a": 2}', settings=ASYNC)
    assert [data for _, _, data in engine.inserts] == [b'{"a": 1}', b'{"a": 2}']


@pytest.mark.asyncio
async def test_the_store_tells_which_inferences_and_feedback_came(served: Served) -> None:
    for number in ("i", "half"):
        row = f'{{"inference_id": "{number}"}}'
        await served.insert(row, "ModelInference", url=INFERENCES)
    await served.insert('{"id": "f"}', "FloatMetricFeedback", url=INFERENCES)
    for number in ("i", "other half"):
        await served.insert(f'{{"id": "{number}"}}', "JsonInference", url=INFERENCES)
    answer = await served.client.post("/acknowledged", content="i\nf\nhalf\nother half\nnobody")
    assert answer.text.split() == ["i", "f"]


@pytest.mark.asyncio
async def test_strangers_are_told_nothing_of_what_came(served: Served) -> None:
    async with served.client_with({}) as client:
        assert (await client.post("/acknowledged", content="i")).status_code == 401


CACHE = Table("tensorzero", "ModelInferenceCache")
LOOKUP = "SELECT output FROM ModelInferenceCache WHERE long_cache_key = {key:String} LIMIT 1"


def test_a_key_is_pending_until_its_segment_is_written(tmp_path: Path) -> None:
    log = InsertLog(tmp_path / "inserts")
    pending = PendingKeys({CACHE: "long_cache_key"}, log)
    for key in ("a", "b"):
        log.append(Record(TARGET, b"{}"))
        pending.add(CACHE, [{"long_cache_key": key}])
        log.sealed()
    (first, _) = log.sealed()
    log.remove(first)

    assert [pending.may_have(CACHE, key) for key in ("a", "b", "c")] == [False, True, False]


def test_a_key_that_came_again_is_pending_again(tmp_path: Path) -> None:
    log = InsertLog(tmp_path / "inserts")
    pending = PendingKeys({CACHE: "long_cache_key"}, log)
    for _ in range(2):
        log.append(Record(TARGET, b"{}"))
        pending.add(CACHE, [{"long_cache_key": "a"}])
        log.sealed()
    log.remove(log.sealed()[0])

    assert pending.may_have(CACHE, "a")


@pytest.mark.parametrize("row", [{}, {"long_cache_key": 1}])
def test_a_row_whose_key_is_not_known_may_have_any(tmp_path: Path, row: dict[str, Any]) -> None:
    log = InsertLog(tmp_path / "inserts")
    pending = PendingKeys({CACHE: "long_cache_key"}, log)
    log.append(Record(TARGET, b"{}"))
    pending.add(CACHE, [row])

    assert pending.may_have(CACHE, "a")


def test_of_other_tables_and_without_a_key_anything_may_be_pending(tmp_path: Path) -> None:
    pending = PendingKeys({CACHE: "long_cache_key"}, InsertLog(tmp_path / "inserts"))

    assert pending.may_have(Table("d", "t"), "a")
    assert pending.may_have(CACHE, None)


def test_written_keys_are_forgotten(tmp_path: Path) -> None:
    log = InsertLog(tmp_path / "inserts")
    pending = PendingKeys({CACHE: "long_cache_key"}, log)
    for number in range(4):
        log.append(Record(TARGET, b"{}"))
        keys = range(number * 50_000, (number + 1) * 50_000)
        pending.add(CACHE, [{"long_cache_key": str(key)} for key in keys])
        for segment in log.sealed():
            log.remove(segment)

    assert len(pending._segments) <= 100_000


@pytest.mark.asyncio
@pytest.mark.parametrize(("key", "num_written"), [("a", 1), ("b", 2)])
async def test_only_a_lookup_of_what_waits_makes_the_store_write(
    served: Served, engine: FakeEngine, key: str, num_written: int
) -> None:
    for written in ("a", "b"):
        row = f'{{"long_cache_key": "{written}"}}'
        await served.insert(row, "ModelInferenceCache", settings=ASYNC, url=INFERENCES)

    await served.ask(LOOKUP, param_key=key, database="tensorzero")

    written_rows = b"\n".join(data for _, _, data in engine.inserts)
    assert written_rows.count(b"long_cache_key") == num_written


@pytest.mark.asyncio
async def test_those_that_look_up_the_same_at_once_share_an_answer(
    served: Served, engine: FakeEngine
) -> None:
    lookup = "SELECT a FROM t WHERE a = {a:UInt8} LIMIT 1"
    for number in range(2):
        await served.insert(f'{{"a": {number}}}', settings=ASYNC)
    answers = await asyncio.gather(*(served.ask(lookup, param_a="1") for _ in range(10)))
    assert {answer.text for answer in answers} == {"1\n"}
    assert sum(statement == lookup for statement, _, _ in engine.statements) == 1
