"""When INSERTs are acknowledged, when they are written, and that none is lost or doubled."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.store.connections import Context
from pytest_babyai.store.failures import EngineError
from pytest_babyai.store.insert_log import InsertLog, Record, Target
from pytest_babyai.store.inserts import (
    MAX_MERGED_BYTES,
    InsertQueue,
    Pace,
    can_be_merged,
)
from pytest_babyai.store.writing import Writer
from tests.patience import until
from tests.unit.gateway.clickhouse_fakes import DISK_FULL, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACE = Pace(gather_s=0.0, max_busy_share=1.0, max_age_s=3600.0, max_bytes=100, retry_s=0.0)
UNKNOWN_TABLE = EngineError(60, "UNKNOWN_TABLE", "Table d.t does not exist.")


def record(row: str, statement: str = "INSERT INTO t") -> Record:
    return Record(Target(statement, Context("d", ())), row.encode())


@contextmanager
def queue_of(engine: FakeEngine, directory: Path, pace: Pace = PACE) -> Iterator[InsertQueue]:
    writer = Writer(engine, directory / "refused.jsonl")
    queue = InsertQueue(writer, InsertLog(directory / "inserts"), pace)
    try:
        yield queue
    finally:
        queue.close()


def written(engine: FakeEngine) -> list[str]:
    return [row for _, _, data in engine.inserts for row in data.decode().splitlines()]


def tokens(engine: FakeEngine) -> list[str]:
    said = [told for kind, _, told in engine.statements if kind == "SET"]
    return [told["insert_deduplication_token"] for told in said]


@pytest.mark.asyncio
async def test_what_is_acknowledged_is_written_when_somebody_reads(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        numbers = [await queue.acknowledge(record(f'{{"a":{number}}}')) for number in range(3)]
        before = list(engine.inserts)
        await queue.settle()
        assert (numbers, before) == ([1, 1, 1], [])
        assert written(engine) == ['{"a":0}', '{"a":1}', '{"a":2}']
        assert len(engine.inserts) == 1


@pytest.mark.asyncio
async def test_a_reader_waits_for_nothing_where_nothing_is_acknowledged(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        await queue.settle()
    assert engine.inserts == []


@pytest.mark.asyncio
async def test_enough_rows_are_written_though_nobody_reads(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        for number in range(100, 120):
            await queue.acknowledge(record(f'{{"a":{number}}}'))
        await until(lambda: engine.inserts)


@pytest.mark.asyncio
async def test_old_rows_are_written_though_nobody_reads(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path, PACE._replace(max_age_s=0.0)) as queue:
        await queue.acknowledge(record('{"a":1}'))
        await until(lambda: engine.inserts)


@pytest.mark.asyncio
async def test_rows_whose_client_waits_are_in_the_tables_when_it_is_told(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        assert await queue.insert(record('{"a":1}\n{"a":2}')) == 2
        assert written(engine) == ['{"a":1}', '{"a":2}']
        assert tokens(engine) == []


@pytest.mark.asyncio
async def test_the_end_writes_what_is_acknowledged(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        await queue.acknowledge(record('{"a":1}'))
    assert written(engine) == ['{"a":1}']
    assert list((tmp_path / "inserts").iterdir()) == []


@pytest.mark.asyncio
async def test_a_sudden_end_loses_nothing_that_is_acknowledged(tmp_path: Path) -> None:
    died = InsertLog(tmp_path / "inserts")
    for number in range(3):
        died.append(record(f'{{"a":{number}}}', f"INSERT INTO t{number % 2}"))

    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        queue.recover()

    assert [(statement, data) for statement, _, data in engine.inserts] == [
        ("INSERT INTO t0", b'{"a":0}\n{"a":2}'),
        ("INSERT INTO t1", b'{"a":1}'),
    ]
    assert list((tmp_path / "inserts").iterdir()) == []


def test_a_record_that_is_cut_off_was_never_acknowledged(tmp_path: Path) -> None:
    died = InsertLog(tmp_path)
    died.append(record('{"a":1}'))
    died.append(record('{"a":2}'))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()

    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        kept = [each for segment in InsertLog(tmp_path).sealed() for each in segment.records]
        assert kept == ([record('{"a":1}')] if length >= len(whole) // 2 else [])


@pytest.mark.asyncio
async def test_what_is_written_twice_has_the_same_token(tmp_path: Path) -> None:
    engine = FakeEngine()
    with queue_of(engine, tmp_path) as queue:
        await queue.acknowledge(record('{"a":1}'))
        kept = {path.name: path.read_bytes() for path in (tmp_path / "inserts").iterdir()}
        await queue.settle()
        for name, content in kept.items():  # as if the process had ended before it removed it
            (tmp_path / "inserts" / name).write_bytes(content)
        await queue.acknowledge(record('{"a":2}'))
        await queue.settle()
    with queue_of(engine, tmp_path) as queue:
        queue.recover()

    assert written(engine) == ['{"a":1}', '{"a":2}', '{"a":1}']
    first, second, again = tokens(engine)
    assert first == again != second


@pytest.mark.asyncio
async def test_a_full_disk_under_the_log_fails_the_insert(tmp_path: Path) -> None:
    (tmp_path / "inserts").write_text("no directory")
    refused = pytest.raises(EngineError, match="The rows cannot be kept")
    with queue_of(FakeEngine(), tmp_path) as queue, refused:
        await queue.acknowledge(record('{"a":1}'))


@pytest.mark.asyncio
async def test_rows_that_cannot_be_written_now_are_kept_and_the_reader_is_told(
    tmp_path: Path,
) -> None:
    def fail(*_: object) -> None:
        raise DISK_FULL

    engine = FakeEngine(on_insert=fail)
    with queue_of(engine, tmp_path) as queue:
        await queue.acknowledge(record('{"a":1}'))
        with pytest.raises(EngineError, match="NOT_ENOUGH_SPACE"):
            await queue.settle()
        engine.on_insert = lambda *_: None
        engine.inserts.clear()
        await queue.settle()
        assert written(engine) == ['{"a":1}']


@pytest.mark.asyncio
async def test_nothing_more_is_acknowledged_while_too_much_cannot_be_written(
    tmp_path: Path,
) -> None:
    def fail(*_: object) -> None:
        raise DISK_FULL

    with queue_of(FakeEngine(on_insert=fail), tmp_path, PACE._replace(max_held_bytes=7)) as queue:
        await queue.acknowledge(record('{"a":1}'))
        with pytest.raises(EngineError, match="NOT_ENOUGH_SPACE"):
            await queue.acknowledge(record('{"a":2}'))


@pytest.mark.parametrize(
    "error", [EngineError(117, "INCORRECT_DATA", "Unknown field."), UNKNOWN_TABLE]
)
@pytest.mark.asyncio
async def test_rows_that_will_never_be_taken_are_put_aside_alone(
    tmp_path: Path, error: EngineError
) -> None:
    def refuse(_: str, data: bytes) -> None:
        if b"nope" in data:
            raise error

    engine = FakeEngine(on_insert=refuse)
    with queue_of(engine, tmp_path) as queue:
        for row in ('{"a":1}', '{"nope":1}', '{"a":2}'):
            await queue.acknowledge(record(row))
        await queue.settle()

    assert [data for _, _, data in engine.inserts][1:] == [b'{"a":1}', b'{"nope":1}', b'{"a":2}']
    refused = json.loads((tmp_path / "refused.jsonl").read_text())
    assert refused == {"statement": "INSERT INTO t", "error": str(error), "rows": '{"nope":1}'}


@pytest.mark.parametrize(("busy_s", "pause_s"), [(0.01, 0.03), (0.1, 0.3), (5.0, 1.0)])
def test_writing_takes_its_share_of_the_time(busy_s: float, pause_s: float) -> None:
    pace = Pace(max_busy_share=0.25, max_pause_s=1.0)
    assert pace.pause_s(busy_s) == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("input_format", "data", "expected"),
    [
        ("JSONEachRow", b'{"a": 1}\n{"a": 2}\n', True),
        ("CSV", b"1", False),
        ("JSONEachRow", b'[{"a": 1}]', False),
        ("JSONEachRow", b'{"a": "' + b"x" * MAX_MERGED_BYTES + b'"}', False),
    ],
)
def test_only_small_inserts_of_json_lines_are_merged(
    input_format: str, data: bytes, *, expected: bool
) -> None:
    assert can_be_merged(input_format, data) is expected
