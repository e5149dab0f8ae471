"""Lookups that are asked again are answered from memory, and never wrongly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.store.engine import Result
from pytest_babyai.store.lookups import (
    Lookups,
    Table,
    key_of,
    lookup_of,
    written_table,
)
from pytest_babyai.store.requests import Query, UrlPart
from pytest_babyai.store.requests import Table as SentTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.gateway.clickhouse_fakes import FakeEngine, Served

EPISODE = """
    SELECT variant_pins, tags
    FROM DynamicEvaluationRunEpisode
    WHERE episode_id_uint = toUInt128({episode_id:UUID})
    FORMAT JSONEachRow
"""


def query(
    text: str, interface: Mapping[str, str] | None = None, database: str | None = "d"
) -> Query:
    return Query(text.encode(), UrlPart(interface or {}, (), {}), database)


@pytest.mark.parametrize(
    ("conditions", "key"),
    [
        ("k = {key:String}", "x"),
        ("n = {n:UInt64}\n  AND  k = {key:String} ORDER BY k LIMIT 1", "x"),
        ("k = {other:String}", None),
        ("k = {key:String} OR n = 1", None),
        ("NOT k = {key:String}", None),
        ("k > {key:String}", None),
        ("k = {key:UUID}", None),
        ("k = concat({key:String}, 'y')", None),
        ("kk = {key:String}", None),
        ("n = 1 ORDER BY k = {key:String}", None),
    ],
)
def test_a_key_is_what_a_column_has_in_all_rows(conditions: str, key: str | None) -> None:
    text = f"SELECT a FROM t WHERE {conditions} FORMAT JSONEachRow"
    asked = Query(text.encode(), UrlPart({}, (), {"key": "x", "n": "1"}))
    assert key_of(asked, "k") == key


def test_rows_of_one_table_are_a_lookup() -> None:
    lookup = lookup_of(query(EPISODE))
    assert lookup is not None
    assert lookup.table == Table("d", "DynamicEvaluationRunEpisode")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "SELECT a FROM t WHERE b = now()",
        "SELECT rand() FROM t WHERE b = 1",
        "SELECT a FROM t, u WHERE b = 1",
        "SELECT a FROM t JOIN u USING (b) WHERE b = 1",
        "SELECT a FROM t WHERE b IN u",
        "SELECT a FROM t WHERE b = (SELECT 1)",
        "SELECT a FROM (SELECT 1 AS a) WHERE b = 1",
        "SELECT a FROM numbers(3) WHERE b = 1",
        "WITH 1 AS a SELECT a FROM t WHERE b = 1",
        "SELECT a FROM t WHERE b = 1 -- c",
        "SELECT a FROM t WHERE b = 1; DROP TABLE t",
        "SELECT a FROM t WHERE b = 1 UNION ALL SELECT 1",
        "INSERT INTO t SELECT a FROM t WHERE b = 1",
        "ALTER TABLE t DELETE WHERE b = 1",
    ],
)
def test_anything_more_is_none(text: str) -> None:
    assert lookup_of(query(text)) is None


def test_a_session_s_query_is_none() -> None:
    assert lookup_of(query(EPISODE, {"session_id": "s"})) is None


def test_a_query_with_a_table_of_its_own_is_none() -> None:
    sent = query(EPISODE)._replace(tables=(SentTable("t", "a UInt8", "CSV", b""),))
    assert lookup_of(sent) is None


@pytest.mark.parametrize(
    ("text", "database", "expected"),
    [
        ("INSERT INTO t FORMAT JSONEachRow\n{}", "d", Table("d", "t")),
        ("INSERT INTO e.t (a) VALUES (1)", "d", Table("e", "t")),
        (" insert into table t(a) select 1", None, Table("default", "t")),
        ("INSERT INTO FUNCTION file('a') SELECT 1", "d", None),
        ("INSERT INTO `t` VALUES (1)", "d", None),
        ("TRUNCATE TABLE t", "d", None),
    ],
)
def test_the_table_that_is_written_is_told(
    text: str, database: str | None, expected: Table | None
) -> None:
    assert written_table(query(text, database=database)) == expected


def test_the_least_used_answer_is_forgotten_first() -> None:
    lookups = Lookups(max_remembered=2)
    first, second, third = (lookup_of(query(f"SELECT a FROM t WHERE b = {n}")) for n in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    for lookup in (first, second):
        lookups.remember(lookup, lookups.version(lookup.table), Result(b"1"))
    lookups.find(first)
    lookups.remember(third, lookups.version(third.table), Result(b"1"))
    assert [lookups.find(lookup) is None for lookup in (first, second, third)] == [
        False,
        True,
        False,
    ]


def test_a_long_answer_is_not_kept() -> None:
    lookups, lookup = Lookups(), lookup_of(query(EPISODE))
    assert lookup
    lookups.remember(lookup, lookups.version(lookup.table), Result(b"x" * 20_000))
    assert lookups.find(lookup) is None


def test_an_answer_that_was_overtaken_by_a_write_is_not_used() -> None:
    lookups, lookup = Lookups(), lookup_of(query(EPISODE))
    assert lookup
    version = lookups.version(lookup.table)
    lookups.note_write(lookup.table)
    lookups.remember(lookup, version, Result(b"old"))
    assert lookups.find(lookup) is None


def num_lookups(engine: FakeEngine) -> int:
    return sum(statement == EPISODE for statement, _, _ in engine.statements)


@pytest.mark.asyncio
async def test_a_lookup_is_asked_once(served: Served, engine: FakeEngine) -> None:
    answers = [(await served.ask(EPISODE, param_episode_id="1")).text for _ in range(3)]
    assert answers == ["1\n"] * 3
    assert num_lookups(engine) == 1


@pytest.mark.asyncio
async def test_another_parameter_is_another_lookup(served: Served, engine: FakeEngine) -> None:
    for episode_id in "12":
        await served.ask(EPISODE, param_episode_id=episode_id)
    assert num_lookups(engine) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "write",
    [
        "INSERT INTO DynamicEvaluationRunEpisode VALUES (1)",
        'INSERT INTO DynamicEvaluationRunEpisode FORMAT JSONEachRow {"a": 1}',
        "ALTER TABLE DynamicEvaluationRunEpisode DELETE WHERE 1",
        "DROP TABLE DynamicEvaluationRunEpisode",
        "CREATE FUNCTION f AS x -> x",
    ],
)
async def test_after_a_write_it_is_asked_again(
    served: Served, engine: FakeEngine, write: str
) -> None:
    await served.ask(EPISODE)
    await served.ask(write)
    await served.ask(EPISODE)
    assert num_lookups(engine) == 2


@pytest.mark.asyncio
async def test_a_write_elsewhere_leaves_it(served: Served, engine: FakeEngine) -> None:
    await served.ask(EPISODE)
    await served.insert('{"a": 1}', "JsonInference")
    await served.ask(EPISODE)
    assert num_lookups(engine) == 1


@pytest.mark.asyncio
async def test_a_table_that_a_view_fills_is_always_asked(
    served: Served, engine: FakeEngine
) -> None:
    engine.on_run = lambda statement: Result(b"0\n" if "system.tables" in statement else b"1\n", 1)
    for _ in range(2):
        await served.ask(EPISODE)
    assert num_lookups(engine) == 2


@pytest.mark.asyncio
async def test_how_a_table_is_filled_is_asked_once(served: Served, engine: FakeEngine) -> None:
    engine.on_run = lambda statement: Result(b"0\n" if "system.tables" in statement else b"1\n", 1)
    for episode_id in "123":
        await served.ask(EPISODE, param_episode_id=episode_id)
    assert sum("system.tables" in statement for statement, _, _ in engine.statements) == 1


@pytest.mark.asyncio
async def test_how_a_table_is_filled_is_asked_again_after_a_view_was_made(
    served: Served, engine: FakeEngine
) -> None:
    await served.ask(EPISODE)
    await served.ask("CREATE MATERIALIZED VIEW v TO DynamicEvaluationRunEpisode AS SELECT 1")
    await served.ask(EPISODE)
    assert sum("system.tables" in statement for statement, _, _ in engine.statements) == 2
