"""ClickHouse's engine in this process (chdb): its rights, its connections, its errors."""

from __future__ import annotations

import errno
import re
import secrets
import sys
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

Settings = tuple[tuple[str, str], ...]

SERVER_SETTINGS: dict[str, Any] = {
    "mark_cache_size": 64 << 20,
    "max_server_memory_usage_to_ram_ratio": 0.5,
    "users_config": "users.xml",
    "access_control_improvements": {"table_engines_require_grant": "true"},
    "merge_tree": {
        # What an INSERT and a merge cost is the creation of files: a wide part has one a column.
        "min_bytes_for_wide_part": 256 << 20,
        # Parts that were merged are removed in their own time, not while others are written.
        "old_parts_lifetime": 60,
    },
}
DEFAULT_SETTINGS = {
    "async_insert": 0,  # chdb has no queue of its own; `group_commit` merges INSERTs
    "input_format_parallel_parsing": 0,  # batches are small: threads cost more than they save
}
RIGHTS = (
    "SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, "
    "CREATE TEMPORARY TABLE, CREATE FUNCTION, DROP, DROP FUNCTION, TRUNCATE, OPTIMIZE, dictGet"
)
"""What SQL may do. Not among it: files, URLs and other servers (SOURCES), SYSTEM, BACKUP, KILL,
users and dictionaries. `sql.check_statement` refuses what the engine grants everyone."""
TABLE_ENGINES = (
    "MergeTree",
    "AggregatingMergeTree",
    "CollapsingMergeTree",
    "ReplacingMergeTree",
    "SummingMergeTree",
    "VersionedCollapsingMergeTree",
    "Memory",
    "Null",
    "Log",
    "StripeLog",
    "TinyLog",
)

_CONFIGURATION_FILE = "engine.xml"
_USERS_FILE = "users.xml"
_INCOMING = "incoming"
_SETTING_NAME = re.compile(r"[A-Za-z_]\w*")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_MAX_IDLE = 32

_CODE_AND_NAME = re.compile(
    r"Code: (?P<code>\d+)\. DB::\w*Exception: .*\((?P<name>[A-Z0-9_]+)\)", re.DOTALL
)
_STATUS = {
    "REQUIRED_PASSWORD": 401,
    "AUTHENTICATION_FAILED": 403,
    "ACCESS_DENIED": 403,
    "READONLY": 403,
    "TIMEOUT_EXCEEDED": 408,
    "SYNTAX_ERROR": 400,
    "NOT_IMPLEMENTED": 501,
}
_BAD_DATA = {
    "ARGUMENT_OUT_OF_BOUND",
    "ATTEMPT_TO_READ_AFTER_EOF",
    "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    "CANNOT_READ_ALL_DATA",
    "ILLEGAL_TYPE_OF_ARGUMENT",
    "INCORRECT_DATA",
    "TOO_DEEP_RECURSION",
    "TYPE_MISMATCH",
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
}


class EngineError(Exception):
    """A statement failed.

    Args:
        code: ClickHouse's number of the error.
        name: ClickHouse's name of the error, such as ``UNKNOWN_TABLE``.
        reason: What happened, without code and name.
    """

    def __init__(self, code: int, name: str, reason: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {reason} ({name})")
        self.code = code
        self.name = name

    @classmethod
    def from_text(cls, text: str) -> EngineError:
        """Reads the engine's message; anything else gets the code of an unknown exception."""
        found = _CODE_AND_NAME.search(text)
        if found is None:
            return cls(1002, "UNKNOWN_EXCEPTION", text)
        start = text.index("Exception: ", found.start()) + len("Exception: ")
        return cls(int(found["code"]), found["name"], text[start : found.start("name") - 2])

    @property
    def status(self) -> int:
        """HTTP status that ClickHouse answers this error with."""
        if self.name in _STATUS:
            return _STATUS[self.name]
        if self.name.startswith("UNKNOWN_") and self.name != "UNKNOWN_EXCEPTION":
            return 404
        return 400 if self.is_bad_data else 500

    @property
    def is_bad_data(self) -> bool:
        """Whether rows could not be read, so that none of their INSERT was written."""
        return self.name.startswith("CANNOT_PARSE_") or self.name in _BAD_DATA


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

    def insert(self, into: str, settings: str, input_format: str, data: bytes) -> int:
        """Writes rows and returns their number, rows of materialized views included."""

    def close(self) -> None:
        """Closes the connection."""


class Engine(Protocol):
    """What the server needs of a database engine; every failure is an `EngineError`."""

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
        _prepare_files()
        options = {"config-file": _CONFIGURATION_FILE, **DEFAULT_SETTINGS}
        joined = "&".join(f"{name}={value}" for name, value in options.items())
        self._source = f"{directory}?{joined}"
        try:
            # It lives as long as one connection is open.
            self._anchor = self._chdb.connect(self._source)
        except RuntimeError as error:
            raise EngineError.from_text(str(error)) from None

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
        try:
            result = self._connection.query(
                statement.encode(), output_format, params=dict(parameters)
            )
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

    def insert(self, into: str, settings: str, input_format: str, data: bytes) -> int:
        """Writes rows.

        By a file: rows in the statement itself end for chdb at a blank line, and its streaming
        INSERT says nothing of an error at its end, such as a full disk.
        """
        path = Path(_INCOMING) / secrets.token_hex(16)
        try:
            path.write_bytes(data)
            return self.run(
                f"{into} FROM INFILE '{path}' COMPRESSION 'none' {settings} FORMAT {input_format}",
                "Null",
                {},
            ).num_written
        except OSError as error:
            raise _refusal(error) from None
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the connection; a stream that is not at its end ends."""
        self._connection.close()


class Context(NamedTuple):
    """Database and settings of a statement."""

    database: str | None
    settings: Settings


class ConnectionPool:
    """Connections by database and settings, whose setting up costs as much as a short query.

    Only statements that change nothing of a connection, and did not fail, may give one back.

    Args:
        engine: Opens the connections.
        max_idle: How many are kept; the one longest unused goes first.
    """

    def __init__(self, engine: Engine, max_idle: int = _MAX_IDLE) -> None:
        self._engine = engine
        self._max_idle = max_idle
        self._lock = threading.Lock()
        self._idle: OrderedDict[Connection, Context] = OrderedDict()

    def take(self, context: Context) -> Connection:
        """Returns a connection that nobody else uses."""
        with self._lock:
            for connection, its_context in self._idle.items():
                if its_context == context:
                    del self._idle[connection]
                    return connection
        return self._engine.connect(*context)

    def give_back(self, connection: Connection, context: Context) -> None:
        """Keeps a connection for the next statement."""
        with self._lock:
            self._idle[connection] = context
            unused = self._idle.popitem(last=False)[0] if len(self._idle) > self._max_idle else None
        if unused is not None:
            unused.close()

    def close(self) -> None:
        """Closes the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.popitem()[0].close()


def engine_version() -> str:
    """Returns ClickHouse's version in the installed chdb, such as ``26.9.2.1``."""
    return str(_import_chdb().engine_version)


def quoted_name(name: str) -> str:
    """Returns a database's or table's name as SQL writes it."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def _prepare_files() -> None:
    """Writes the engine's configuration, and empties the directory of rows under way."""
    Path(_CONFIGURATION_FILE).write_text(_xml("clickhouse", SERVER_SETTINGS), encoding="utf-8")
    Path(_USERS_FILE).write_text(_xml("clickhouse", _users()), encoding="utf-8")
    incoming = Path(_INCOMING)
    incoming.mkdir(exist_ok=True)
    for left in incoming.iterdir():
        left.unlink()


def _users() -> dict[str, Any]:
    grants = [
        f"GRANT {RIGHTS} ON *.*",
        *(f"GRANT TABLE ENGINE ON {name}" for name in TABLE_ENGINES),
    ]
    user = {
        "password": "",
        "networks": {"ip": "::/0"},
        "profile": "default",
        "quota": "default",
        "grants": {"query": grants},
    }
    return {"profiles": {"default": {}}, "quotas": {"default": {}}, "users": {"default": user}}


def _xml(tag: str, content: Mapping[str, Any]) -> str:
    return ET.tostring(_element(tag, content), encoding="unicode")


def _element(tag: str, content: object) -> ET.Element:
    element = ET.Element(tag)
    if isinstance(content, dict):
        for name, part in content.items():
            element.extend(
                _element(name, each) for each in (part if isinstance(part, list) else [part])
            )
    else:
        element.text = str(content)
    return element


def _refusal(error: OSError) -> EngineError:
    reason = f"The rows cannot be taken: {error.strerror}"
    if error.errno in _FULL:
        return EngineError(243, "NOT_ENOUGH_SPACE", reason)
    return EngineError(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", reason)


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
