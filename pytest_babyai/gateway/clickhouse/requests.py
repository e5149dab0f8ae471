"""What a client of ClickHouse's HTTP interface asks for."""

from __future__ import annotations

import gzip
import re
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.requests import Request as FormRequest

from pytest_babyai.gateway.clickhouse.connections import Context
from pytest_babyai.gateway.clickhouse.failures import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope

    from pytest_babyai.gateway.clickhouse.engine import Settings

# Parameters of the interface itself; every other one is a setting, or a form's table.
_INTERFACE = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "session_check",
        "session_id",
        "session_timeout",
        "user",
        "wait_end_of_query",
    }
)
# The server merges INSERTs itself: the engine is never to do it.
_ASYNC_INSERT = frozenset({"async_insert", "wait_for_async_insert"})
_TABLE_FIELD = re.compile(r"(?P<table>.+)_(?:structure|format|types)")
_MAX_FIELD_BYTES = 1 << 30

_NAME = r"(?:\w+|`[^`\\]+`|\"[^\"\\]+\")"
_SETTING = r"\w+\s*=\s*(?:[\w.+-]+|'[^'\\]*')"
_INSERT = re.compile(
    rf"\s*(?P<into>INSERT\s+INTO\s+(?:TABLE\s+)?{_NAME}(?:\s*\.\s*{_NAME})?"
    rf"\s*(?:\([^()]*\))?"
    rf"(?:\s*SETTINGS\s+{_SETTING}(?:\s*,\s*{_SETTING})*)?)"
    r"\s+FORMAT\s+(?P<format>\w+)[ \t\f]*;?[ \t\f]*(?:\r?\n|(?=[^\w\s])|\Z)".encode(),
    re.IGNORECASE,
)
_READS = re.compile(rb"\s*(?:SELECT|WITH|SHOW|DESCRIBE|EXISTS)\b", re.IGNORECASE)
_WRITES = re.compile(rb"\b(?:INSERT|CREATE|ALTER|DROP)\b|;\s*\S", re.IGNORECASE)
_ASYNC_INSERT_IN_SQL = re.compile(r"\basync_insert\s*=\s*(\w+)", re.IGNORECASE)


class Table(NamedTuple):
    """A table that came with the request and lives as long as it."""

    name: str
    structure: str
    input_format: str
    data: bytes


class UrlPart(NamedTuple):
    """What a request's URL says."""

    interface: Mapping[str, str]
    settings: Settings
    parameters: Mapping[str, str]

    def with_settings(self, settings: Settings) -> UrlPart:
        """The same with more settings, where it does not say otherwise."""
        return self._replace(settings=(*settings, *self.settings))


class Insert(NamedTuple):
    """An INSERT with rows in a format.

    Attributes:
        statement: The statement without the rows; the engine is never to queue them itself.
        input_format: Name of the rows' format.
        data: The rows.
        is_asynchronous: Whether the client leaves it to the server when they are written.
    """

    statement: str
    input_format: str
    data: bytes
    is_asynchronous: bool


class Query(NamedTuple):
    """Everything a request asks for.

    Attributes:
        text: Query and body, in this order, as ClickHouse reads them.
        read_only: Whether nothing may be changed, as for a GET.
    """

    text: bytes
    url: UrlPart
    database: str | None = None
    default_format: str = "TabSeparated"
    read_only: bool = False
    tables: tuple[Table, ...] = ()

    @property
    def session_id(self) -> str | None:
        """The session whose settings and temporary tables the statement sees."""
        return self.url.interface.get("session_id")

    @property
    def context(self) -> Context:
        """What the statement is to find on its connection."""
        return Context(self.database, self.url.settings)

    @property
    def only_reads(self) -> bool:
        """Whether the statement changes neither data nor its connection; False where in doubt."""
        return bool(_READS.match(self.text)) and not _WRITES.search(self.text)

    def insert(self) -> Insert | None:
        """The INSERT with rows in a format, if it is one."""
        head = _INSERT.match(self.text)
        if head is None:
            return None
        statement, input_format, said = _insert_head(head["into"], head["format"])
        is_asynchronous = _is_on(said or self.url.interface.get("async_insert", "0"))
        return Insert(statement, input_format, self.text[head.end() :], is_asynchronous)

    def statement(self) -> str:
        """The whole text.

        Raises:
            EngineError: It is no UTF-8.
        """
        try:
            return self.text.decode()
        except UnicodeDecodeError as error:
            raise EngineError(62, "SYNTAX_ERROR", f"The query is not UTF-8: {error}") from None


async def read_query(scope: Scope, receive: Receive) -> Query:
    """Reads a whole request.

    Raises:
        EngineError: It cannot be understood.
    """
    headers = dict(scope["headers"])
    url = url_part(scope["query_string"])
    tables: tuple[Table, ...] = ()
    if headers.get(b"content-type", b"").startswith(b"multipart/form-data"):
        url, tables, body = await _read_form(scope, receive, url)
    else:
        body = await _read_body(receive)
        if b"content-encoding" in headers:
            body = _decompressed(body, headers[b"content-encoding"].decode("latin-1"))
    asked = url.interface.get("query", "")
    return Query(
        text=b"\n".join(part for part in (asked.encode(), body) if part),
        url=url,
        database=url.interface.get("database") or _text(headers.get(b"x-clickhouse-database")),
        default_format=url.interface.get("default_format")
        or _text(headers.get(b"x-clickhouse-format"))
        or "TabSeparated",
        read_only=scope["method"] == "GET",
        tables=tables,
    )


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")


@lru_cache(maxsize=256)
def url_part(query_string: bytes) -> UrlPart:
    """Sorts out a query string."""
    return _sorted_out(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True))


def _sorted_out(pairs: list[tuple[str, str]]) -> UrlPart:
    interface, settings, parameters = {}, {}, {}
    for name, text in pairs:
        if name.startswith("param_"):
            parameters[name.removeprefix("param_")] = text
        elif name in _INTERFACE or name in _ASYNC_INSERT:
            interface[name] = text
        else:
            settings[name] = text
    return UrlPart(interface, tuple(settings.items()), parameters)


@lru_cache(maxsize=256)
def _insert_head(into: bytes, input_format: bytes) -> tuple[str, str, str | None]:
    """Returns the statement, the format, and what it says about being asynchronous."""
    text = into.decode()
    said = _ASYNC_INSERT_IN_SQL.search(text)
    statement = _ASYNC_INSERT_IN_SQL.sub("async_insert=0", text)
    return statement, input_format.decode(), said and said[1]


def _is_on(text: str) -> bool:
    return text.lower() in {"1", "true"}


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks = [body]
    while message.get("more_body"):
        message = await receive()
        chunks.append(message.get("body", b""))
    return b"".join(chunks)


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding in {"", "identity"}:
        return body
    try:
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body)
        if encoding == "lz4":
            import lz4.frame

            return bytes(lz4.frame.decompress(body))
    except (OSError, EOFError, RuntimeError, zlib.error) as error:
        raise EngineError(271, "CANNOT_DECOMPRESS", f"The body is no {encoding}: {error}") from None
    raise EngineError(
        89,
        "UNKNOWN_COMPRESSION_METHOD",
        f"Content-Encoding {encoding!r}; this server reads gzip, deflate, lz4",
    )


async def _read_form(
    scope: Scope, receive: Receive, url: UrlPart
) -> tuple[UrlPart, tuple[Table, ...], bytes]:
    async with FormRequest(scope, receive).form(max_part_size=_MAX_FIELD_BYTES) as form:
        fields = {
            name: await value.read() if isinstance(value, UploadFile) else value.encode()
            for name, value in form.multi_items()
        }
    said = (*fields, *dict(url.settings))
    described = {match["table"] for name in said if (match := _TABLE_FIELD.fullmatch(name))}
    described |= {
        match["table"] for name, _ in url.settings if (match := _TABLE_FIELD.fullmatch(name))
    }
    names = [name for name in fields if name in described]
    options = {f"{name}_{suffix}" for name in names for suffix in ("structure", "format", "types")}
    texts = {name: data.decode() for name, data in fields.items() if name not in names}
    told = {**dict(url.settings), **texts}
    tables = tuple(_table(name, fields[name], told) for name in names)
    left = [(name, text) for name, text in texts.items() if name not in options]
    kept = [(name, text) for name, text in url.settings if name not in options]
    form_part = _sorted_out(left)
    joined = UrlPart(
        {**url.interface, **form_part.interface},
        (*kept, *form_part.settings),
        {**url.parameters, **form_part.parameters},
    )
    return joined, tables, b""


def _table(name: str, data: bytes, told: Mapping[str, str]) -> Table:
    structure = told.get(f"{name}_structure")
    if structure is None:
        types = told.get(f"{name}_types")
        if types is None:
            message = f"External table {name!r} has neither structure nor types"
            raise EngineError(36, "BAD_ARGUMENTS", message)
        structure = ", ".join(
            f"_{number} {kind}" for number, kind in enumerate(types.split(","), 1)
        )
    return Table(name, structure, told.get(f"{name}_format", "TabSeparated"), data)
