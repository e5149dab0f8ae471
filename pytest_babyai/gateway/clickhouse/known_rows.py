"""Which rows the engine is known to take, and which of them it was given lately."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from pytest_babyai.gateway.clickhouse.insert_log import Target
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
    """Remembers values of some columns in the rows that came in.

    Args:
        columns: By table the column, of strings, that is remembered.
        max_remembered: How many values; the oldest go first.
    """

    def __init__(self, columns: Mapping[Table, str], max_remembered: int = MAX_REMEMBERED) -> None:
        self._columns = columns
        self._max_remembered = max_remembered
        self._values: OrderedDict[str, None] = OrderedDict()

    def find(self, values: Iterable[str]) -> list[str]:
        """Returns which of the values are remembered."""
        return [value for value in values if value in self._values]

    def add(self, table: Table | None, rows: Rows) -> None:
        """Notes rows that are acknowledged."""
        column = self._columns.get(table) if table else None
        if column is None:
            return
        for row in rows:
            self._values[str(row.get(column))] = None
        while len(self._values) > self._max_remembered:
            self._values.popitem(last=False)


def _shape(row: dict[str, Any]) -> Hashable:
    kinds = [_kind(value) if type(value) in {dict, list} else type(value) for value in row.values()]
    return (*row, *kinds)


def _kind(value: Any) -> Hashable:
    """The type of a value; of many entries, which types there are."""
    if isinstance(value, dict):
        return dict, frozenset(map(_kind, value.values()))
    if isinstance(value, list):
        return list, frozenset(map(_kind, value))
    return cast("Hashable", type(value))
