"""ClickHouse's engine in this process (chdb): connections, statements, results."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from xml.etree import ElementTree as ET

from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

Settings = tuple[tuple[str, str], ...]

SERVER_SETTINGS = {
    "mark_cache_size": 64 << 20,
    "max_server_memory_usage_to_ram_ratio": 0.5,
}
TABLE_SETTINGS = {
    # What an INSERT and a merge cost is the creation of files: a wide part has one a column.
    "min_bytes_for_wide_part": 256 << 20,
    # Parts that were merged are removed in their own time, not while others are written.
    "old_parts_lifetime": 60,
    # What the log of acknowledged rows holds may be written twice, once before a sudden end.
    "non_replicated_deduplication_window": 100,
}
DEFAULT_SETTINGS = {
    "deduplicate_insert": "disable",  # two equal INSERTs are two, but for those of the log
    "async_insert": 0,  # an INSERT is acknowledged when it is written; the queue merges them
    "input_format_parallel_parsing": 0,  # batches are small: threads cost more than they save
}
_CONFIGURATION_FILE = "engine.xml"
_SETTING_NAME = re.compile(r"[A-Za-z_]\w*")


class Result(NamedTuple):
    """What a statement gave."""

    body: bytes = b""
    num_read: int = 0
    num_written: int = 0


class Connection(Protocol):
    """A connection with settings and temporary tables of its own; for one statement at a time."""

    def set(self, settings: Settings) -> None:
        """Changes settings of this connection."""

    def run(self, statement: str, output_format: str, parameters: Mapping[str, str]) -> Result:
        """Runs a statement to its end."""

    def stream(
        self, statement: str, output_format: str, parameters: Mapping[str, str]
    ) -> Iterator[Result]:
        """Runs a query block by block."""

    def insert(self, statement: str, input_format: str, data: bytes) -> int:
        """Writes rows and returns their number, rows of materialized views included."""

    def close(self) -> None:
        """Closes the connection."""


class Engine(Protocol):
    """What the server needs of a database engine; every failure is an `EngineError`."""

    @property
    def version(self) -> str:
        """ClickHouse's version."""

    def connect(self, database: str | None, settings: Settings) -> Connection:
        """Opens a connection; that takes a fraction of a millisecond."""

    def close(self) -> None:
        """Closes the engine once all its connections are closed."""


class ChdbEngine:
    """The engine on a data directory, of which a process can have one.

    Args:
        directory: Where the data lies, relative to the current directory, in which the engine's
            configuration is written; without ``?``.
    """

    def __init__(self, directory: str) -> None:
        self._chdb = _import_chdb()
        Path(_CONFIGURATION_FILE).write_text(_configuration(), encoding="utf-8")
        options = {"config-file": _CONFIGURATION_FILE, **DEFAULT_SETTINGS}
        joined = "&".join(f"{name}={value}" for name, value in options.items())
        self._source = f"{directory}?{joined}"
        try:
            # It lives as long as one connection is open.
            self._anchor = self._chdb.connect(self._source)
        except RuntimeError as error:
            raise EngineError.from_text(str(error)) from None

    @property
    def version(self) -> str:
        """ClickHouse's version."""
        return engine_version()

    def connect(self, database: str | None, settings: Settings) -> ChdbConnection:
        """Opens a connection."""
        connection = ChdbConnection(self._chdb.connect(self._source))
        try:
            if database:
                connection.run(f"USE {quoted_name(database)}", "Null", {})
            connection.set(settings)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Closes the engine."""
        self._anchor.close()


class ChdbConnection:
    """A connection to the engine."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def set(self, settings: Settings) -> None:
        """Changes settings of this connection."""
        if settings:
            changes = ", ".join(f"{_checked(name)} = {_quoted(text)}" for name, text in settings)
            self.run(f"SET {changes}", "Null", {})

    def run(self, statement: str, output_format: str, parameters: Mapping[str, str]) -> Result:
        """Runs a statement to its end."""
        return self._query(statement.encode(), output_format, parameters)

    def _query(self, statement: bytes, output_format: str, parameters: Mapping[str, str]) -> Result:
        try:
            result = self._connection.query(statement, output_format, params=dict(parameters))
        except RuntimeError as error:
            raise EngineError.from_text(str(error)) from None
        return Result(result.bytes(), result.rows_read(), result.rows_written())

    def stream(
        self, statement: str, output_format: str, parameters: Mapping[str, str]
    ) -> Iterator[Result]:
        """Runs a query block by block."""
        try:
            blocks = self._connection.send_query(statement, output_format, params=dict(parameters))
            while (block := blocks.fetch()) is not None:
                yield Result(block.bytes(), block.rows_read())
        except RuntimeError as error:
            raise EngineError.from_text(str(error)) from None

    def insert(self, statement: str, input_format: str, data: bytes) -> int:
        """Writes rows."""
        # Not as chdb's streaming insert: that one says nothing of an error at its end, such as a
        # full disk.
        head = f"{statement} FORMAT {input_format}\n".encode()
        return self._query(head + data, "Null", {}).num_written

    def close(self) -> None:
        """Closes the connection; a stream that is not at its end ends."""
        self._connection.close()


def engine_version() -> str:
    """ClickHouse's version in the installed chdb, such as ``26.9.2.1``."""
    return str(_import_chdb().engine_version)


def quoted_name(name: str) -> str:
    """A database's or table's name as SQL writes it."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _configuration() -> str:
    root = ET.Element("clickhouse")
    tables = ET.Element("merge_tree")
    for parent, settings in ((root, SERVER_SETTINGS), (tables, TABLE_SETTINGS)):
        for name, value in settings.items():
            ET.SubElement(parent, name).text = str(value)
    root.append(tables)
    return ET.tostring(root, encoding="unicode")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _checked(name: str) -> str:
    if not _SETTING_NAME.fullmatch(name):
        raise EngineError(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}.")
    return name


def _import_chdb() -> ModuleType:
    """Imports chdb without the signal handlers that it installs: they would report our ends."""
    first = "chdb" not in sys.modules
    import chdb

    if first:
        native: Any = chdb._chdb  # noqa: SLF001 - there are no public names for these
        native.reset_signal_handlers()
        native.set_signal_handlers_enabled(0)
    return chdb
