"""Remembers the answers to lookups that are asked again and again.

TensorZero's gateway looks up an evaluation's episode with every inference of it. A lookup costs
the engine more than the rest of the inference; its answer changes with its table alone.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.gateway.clickhouse.requests import Query, UrlPart

if TYPE_CHECKING:
    from pytest_babyai.gateway.clickhouse.engine import Result

MAX_REMEMBERED: Final = 4096
MAX_ANSWER_BYTES: Final = 16 << 10

MAX_LOOKUP_BYTES: Final = 4096

_NAME = rb"(?:(?P<database>\w+)\.)?(?P<table>\w+)"
_LOOKUP = re.compile(rb"\s*SELECT\s[^;]*?\sFROM\s+" + _NAME + rb"\s+WHERE\s[^;]*", re.IGNORECASE)
_INSERT = re.compile(rb"\s*INSERT\s+INTO\s+(?:TABLE\s+)?" + _NAME + rb"\s*[\s(]", re.IGNORECASE)
_SELECT = re.compile(rb"\b(?:SELECT|FROM)\b", re.IGNORECASE)
_NUM_SELECT_AND_FROM = 2
_MORE = re.compile(rb"\b(?:WITH|JOIN|UNION|IN|OUTFILE)\b|--|/\*", re.IGNORECASE)
_CONDITIONS = re.compile(
    rb"\bWHERE\b(.*?)(?:\b(?:GROUP|HAVING|WINDOW|QUALIFY|ORDER|LIMIT|SETTINGS|FORMAT)\b|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_AND = re.compile(rb"\bAND\b", re.IGNORECASE)
_NOT_ALL = re.compile(rb"\b(?:OR|XOR|NOT|BETWEEN|CASE)\b|[?'\"`]", re.IGNORECASE)
_CALLED = re.compile(rb"(\w+)\s*\(")
_PURE_FUNCTIONS = frozenset({"toUInt128", "toUUID", "toString", "uint_to_uuid", "WHERE", "AND"})

_IS_WRITTEN_DIRECTLY = b"""\
SELECT count() FROM system.tables
WHERE database = {database:String} AND name = {table:String} AND engine LIKE '%MergeTree'
AND concat(database, '.', name) NOT IN (
    SELECT extract(create_table_query, ' TO ([^ ]+)') FROM system.tables
    WHERE engine = 'MaterializedView')
FORMAT TabSeparated"""


class Table(NamedTuple):
    """A table's full name."""

    database: str
    name: str


class Lookup(NamedTuple):
    """A query for rows of one table, without anything that could change by itself."""

    table: Table
    identity: tuple[object, ...]


class Lookups:
    """The answers that are still right.

    Args:
        max_remembered: How many; the one longest unused goes first.
    """

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        self._max_remembered = max_remembered
        self._answers: OrderedDict[Lookup, tuple[object, Result]] = OrderedDict()
        self._num_writes: Counter[Table] = Counter()
        self._num_changes = 0
        self._is_direct: dict[Table, bool] = {}

    def version(self, table: Table) -> object:
        """Something that is equal as long as the table cannot have changed."""
        return self._num_changes, self._num_writes[table]

    def find(self, lookup: Lookup) -> Result | None:
        """The answer, if nothing can have changed since."""
        remembered = self._answers.get(lookup)
        if remembered is None or remembered[0] != self.version(lookup.table):
            return None
        self._answers.move_to_end(lookup)
        return remembered[1]

    def remember(self, lookup: Lookup, version: object, answer: Result) -> None:
        """Keeps an answer.

        Args:
            lookup: What was asked.
            version: The table's `version` before it was asked.
            answer: The whole answer.
        """
        if len(answer.body) > MAX_ANSWER_BYTES:
            return
        self._answers[lookup] = (version, answer)
        if len(self._answers) > self._max_remembered:
            self._answers.popitem(last=False)

    def directness(self, table: Table) -> bool | None:
        """Whether `note_write` is told of every change of the table; None while unknown."""
        return self._is_direct.get(table)

    def note_directness(self, table: Table, *, is_direct: bool) -> None:
        """Notes whether a table's rows come from INSERTs into it and not through a view."""
        self._is_direct[table] = is_direct

    def note_write(self, table: Table | None) -> None:
        """Notes that a table was written; None for a statement that can have changed anything."""
        if table is not None:
            self._num_writes[table] += 1
            return
        self._num_changes += 1
        self._num_writes.clear()
        self._answers.clear()
        self._is_direct.clear()


def lookup_of(query: Query) -> Lookup | None:
    """The lookup that a query is, if it is one."""
    if query.session_id is not None or query.tables or len(query.text) > MAX_LOOKUP_BYTES:
        return None
    table = _looked_up(query.text)
    if table is None:
        return None
    url = query.url
    asked = (query.text, url.settings, tuple(url.parameters.items()), query.default_format)
    return Lookup(_full_name(table, query.database), asked)


def key_of(query: Query, column: str) -> str | None:
    """Returns what a column of strings has in all rows of a lookup; None if that is not certain."""
    parameter = _key_parameter(query.text, column)
    return None if parameter is None else query.url.parameters.get(parameter)


def asks_directness(table: Table) -> Query:
    """Asks for 1 if the table's rows come from INSERTs into it and not through a view."""
    names = {"database": table.database, "table": table.name}
    return Query(_IS_WRITTEN_DIRECTLY, UrlPart({}, (), names))


def written_table(query: Query) -> Table | None:
    """The one table that an INSERT writes directly; None for any other statement."""
    match = _INSERT.match(query.text, 0, MAX_LOOKUP_BYTES)
    if match is None or match["table"].upper() == b"FUNCTION":
        return None
    return _full_name(_told_name(match), query.database)


@lru_cache(maxsize=256)
def _looked_up(text: bytes) -> tuple[str | None, str] | None:
    match = _LOOKUP.fullmatch(text)
    if match is None or _MORE.search(text) or len(_SELECT.findall(text)) != _NUM_SELECT_AND_FROM:
        return None
    if not {name.decode() for name in _CALLED.findall(text)} <= _PURE_FUNCTIONS:
        return None
    return _told_name(match)


@lru_cache(maxsize=256)
def _key_parameter(text: bytes, column: str) -> str | None:
    found = _CONDITIONS.search(text)
    if found is None or _NOT_ALL.search(found[1]):
        return None
    is_key = re.compile(rb"\s*%s\s*=\s*\{\s*(\w+)\s*:\s*String\s*\}\s*" % column.encode())
    keys = [match for each in _AND.split(found[1]) if (match := is_key.fullmatch(each))]
    return keys[0][1].decode() if keys else None


def _told_name(match: re.Match[bytes]) -> tuple[str | None, str]:
    database: bytes | None = match["database"]
    return None if database is None else database.decode(), match["table"].decode()


def _full_name(table: tuple[str | None, str], database: str | None) -> Table:
    return Table(table[0] or database or "default", table[1])
