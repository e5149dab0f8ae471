"""Writes many INSERTs as few: one per target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from pytest_babyai.gateway.clickhouse.connections import ConnectionPool, Context
from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_babyai.gateway.clickhouse.engine import Engine, Settings
    from pytest_babyai.gateway.clickhouse.insert_log import Record, Segment, Target

MERGED_FORMAT: Final = "JSONEachRow"

_MAX_BATCH_BYTES: Final = 32 << 20
"""Far below the size at which the engine would split an INSERT, which is all or nothing so."""

_FEW_THREADS: Final = (("max_threads", "1"),)
_ONCE: Final = (
    ("deduplicate_insert", "enable"),
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
)
_TOKEN: Final = "insert_deduplication_token"  # noqa: S105 - a setting's name


class Writer:
    """Writes records into the tables; all on one thread.

    Args:
        engine: The engine.
        refused: File for acknowledged rows that the engine will never take, with what it said.
    """

    def __init__(self, engine: Engine, refused: Path) -> None:
        self._pool = ConnectionPool(engine)
        self._refused = refused

    def write(self, records: Sequence[Record]) -> list[EngineError | None]:
        """Writes records whose clients wait; should rows be unreadable, each by itself.

        Returns:
            For every record why it was not written, or None.
        """
        failures: dict[int, EngineError] = {}
        for numbers in _batches(records):
            batch = [records[number] for number in numbers]
            failure = self._insert(batch)
            if failure is None:
                continue
            for number in numbers:
                is_alone = len(batch) == 1 or not failure.is_bad_data
                told = failure if is_alone else self._insert([records[number]])
                if told is not None:
                    failures[number] = told
        return [failures.get(number) for number in range(len(records))]

    def write_segment(self, segment: Segment) -> None:
        """Writes acknowledged records, each once, however often this is called for them.

        Raises:
            EngineError: Not all are written; another time they may be.
        """
        for place, numbers in enumerate(_batches(segment.records)):
            batch = [segment.records[number] for number in numbers]
            token = f"{segment.token}-{place}"
            failure = self._insert(batch, token)
            if failure is None:
                continue
            if not failure.is_final:
                raise failure
            for number, record in enumerate(batch):
                alone = self._insert([record], f"{token}-{number}")
                if alone is not None and not alone.is_final:
                    raise alone
                if alone is not None:
                    self._keep_refused(record, alone)

    def _insert(self, batch: Sequence[Record], token: str | None = None) -> EngineError | None:
        """Writes records of one target, with a token once at most."""
        connection = None
        try:
            context = _context(batch[0].target, is_once=token is not None)
            connection = self._pool.take(context)
            if token is not None:
                connection.set(((_TOKEN, token),))
            data = b"\n".join(record.data for record in batch)
            connection.insert(batch[0].target.statement, MERGED_FORMAT, data)
        except Exception as error:  # noqa: BLE001 - who waits has to be told, whatever it was
            if connection is not None:
                connection.close()
            return error if isinstance(error, EngineError) else _unknown(error)
        self._pool.give_back(connection, context)
        return None

    def _keep_refused(self, record: Record, failure: EngineError) -> None:
        rows = record.data.decode(errors="replace")
        told = {"statement": record.target.statement, "error": str(failure), "rows": rows}
        with self._refused.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()


def _context(target: Target, *, is_once: bool) -> Context:
    settings: Settings = (*target.context.settings, *_FEW_THREADS)
    return Context(target.context.database, (*settings, *_ONCE) if is_once else settings)


def _unknown(error: Exception) -> EngineError:
    return EngineError.from_text(f"{type(error).__name__}: {error}")


def _batches(records: Sequence[Record]) -> Iterator[list[int]]:
    """Yields the numbers of records that are written together; the same for the same records."""
    by_target: dict[Target, list[int]] = {}
    for number, record in enumerate(records):
        by_target.setdefault(record.target, []).append(number)
    for numbers in by_target.values():
        batch: list[int] = []
        num_bytes = 0
        for number in numbers:
            length = len(records[number].data)
            if batch and num_bytes + length > _MAX_BATCH_BYTES:
                yield batch
                batch, num_bytes = [], 0
            batch.append(number)
            num_bytes += length
        yield batch
