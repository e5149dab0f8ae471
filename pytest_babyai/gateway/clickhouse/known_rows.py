"""Which rows the engine is known to take, and which of them it was given lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from pytest_babyai.gateway.clickhouse.insert_log import InsertLog, Target
    from pytest_babyai.gateway.clickhouse.lookups import Table

MAX_SHAPES: Final = 1024
MAX_REMEMBERED: Final = 100_000

Rows = list[dict[str, Any]]


def rows_of(data: bytes) -> Rows | None:
    """Returns the rows of an INSERT, a line each; None if they do not stand so."""
    import orjson

    try:
        rows = [orjson.loads(line) for line in data.splitlines() if line.strip()]
    except orjson.JSONDecodeError:
        return None
    return rows if all(type(row) is dict for row in rows) else None


class KnownShapes:
    """Remembers which columns and types rows had that were written.

    A row of the same table with the same columns and types will be written as well.
    """

    def __init__(self) -> None:
        self._known: set[Hashable] = set()

    def cover(self, target: Target, rows: Rows) -> bool:
        """Whether rows like each of these were written."""
        return all((target, _shape(row)) in self._known for row in rows)

    def learn(self, target: Target, rows: Rows) -> None:
        """Remembers rows that were written."""
        if len(self._known) < MAX_SHAPES:
            self._known.update((target, _shape(row)) for row in rows)

    def forget(self) -> None:
        """Forgets all, as tables may have changed."""
        self._known.clear()


class RecentValues:
    """Remembers which values came in lately, in a column of each of some tables.

    Args:
        columns: By table its column, of strings.
        max_remembered: How many values; the oldest go first.
    """

    def __init__(self, columns: Mapping[Table, str], max_remembered: int = MAX_REMEMBERED) -> None:
        self._columns = columns
        self._max_remembered = max_remembered
        self._missing: OrderedDict[str, frozenset[Table]] = OrderedDict()

    def find(self, values: Iterable[str]) -> list[str]:
        """Returns which of the values came into all of the tables."""
        return [value for value in values if not self._missing.get(value, self._columns)]

    def add(self, table: Table | None, rows: Rows) -> None:
        """Notes rows that are acknowledged."""
        column = self._columns.get(table) if table else None
        if table is None or column is None:
            return
        for row in rows:
            value = str(row.get(column))
            missing = self._missing.get(value, frozenset(self._columns))
            self._missing[value] = missing - {table}
        while len(self._missing) > self._max_remembered:
            self._missing.popitem(last=False)


class PendingKeys:
    """Knows the keys of rows that are acknowledged and not yet in the tables.

    Args:
        columns: By table its column of keys, which are strings.
        log: Keeps the rows.
    """

    def __init__(self, columns: Mapping[Table, str], log: InsertLog) -> None:
        self._columns = columns
        self._log = log
        self._segments: dict[tuple[Table, str | None], int] = {}
        self._max_remembered = MAX_REMEMBERED

    def add(self, table: Table | None, rows: Rows) -> None:
        """Notes rows that the log has just got."""
        column = self._columns.get(table) if table else None
        if table is None or column is None:
            return
        for row in rows:
            key = row.get(column)
            self._segments[table, key if isinstance(key, str) else None] = self._log.newest
        if len(self._segments) > self._max_remembered:
            self._forget_written()

    def may_have(self, table: Table, key: str | None) -> bool:
        """Whether a row with a key may not be in its table yet."""
        if key is None or table not in self._columns:
            return True
        numbers = (self._segments.get((table, each)) for each in (key, None))
        return any(number is not None and self._log.keeps(number) for number in numbers)

    def _forget_written(self) -> None:
        kept = {key: number for key, number in self._segments.items() if self._log.keeps(number)}
        self._segments = kept
        self._max_remembered = max(MAX_REMEMBERED, 2 * len(kept))


def _shape(row: dict[str, Any]) -> Hashable:
    return (*row, *_kinds(row.values()))


def _kinds(values: Iterable[Any]) -> list[Any]:
    # Not a function for one value: most are no containers, and a call for each takes the longest.
    return [
        kind if (kind := type(value)) is not dict and kind is not list else _kind(value)
        for value in values
    ]


def _kind(container: dict[str, Any] | list[Any]) -> Hashable:
    """The type of a container, and which types its entries have."""
    if isinstance(container, dict):
        return dict, frozenset(_kinds(container.values()))
    return list, frozenset(_kinds(container))
