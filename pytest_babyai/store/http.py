"""ClickHouse's HTTP interface as an ASGI application."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import re
import secrets
import uuid
import zlib
from contextlib import aclosing
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pytest_babyai.store.engine import EngineError, Result
from pytest_babyai.store.statements import Query, Table

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from pytest_babyai.store.engine import Settings
    from pytest_babyai.store.statements import Statements

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
        # The server merges INSERTs itself, and answers them when they are written.
        "async_insert",
        "wait_for_async_insert",
    }
)
_TABLE_FIELD = re.compile(r"(?P<table>.+)_(?:structure|format|types)")
_MAX_FIELD_BYTES = 1 << 30
_PLAIN = "text/plain; charset=UTF-8"


class Leases:
    """Counts the clients that keep the server running; one that dies gives its lease up.

    Args:
        stop: Called once the owner is gone and nobody holds a lease any longer.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._num_held = 0
        self._owned = True

    def end_ownership(self) -> bool:
        """Notes that the process that started the server needs it no longer.

        Returns:
            Whether others still use it.
        """
        self._owned = False
        if not self._num_held:
            self._stop()
        return self._num_held > 0

    async def hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with a body that has no end, until the client is gone."""
        if not (self._owned or self._num_held):
            await _failure(EngineError(236, "ABORTED", "The server is about to stop."))(
                scope, receive, send
            )
            return
        self._num_held += 1
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"held\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self._num_held -= 1
            if not (self._owned or self._num_held):
                self._stop()


def application(statements: Statements, user: str, password: str, leases: Leases) -> Starlette:
    """Returns an application that answers what ClickHouse's clients ask.

    Args:
        statements: Runs the statements.
        user: Name of the one user.
        password: Password of the user.
        leases: Whoever uses the server besides the process that started it.
    """
    credentials = (user.encode(), password.encode())

    async def ping(request: Request) -> Response:  # noqa: ARG001 - starlette's
        return PlainTextResponse("Ok.\n")

    async def lease(request: Request) -> Any:
        _authenticate(request, credentials)
        return leases.hold

    async def query(request: Request) -> Response:
        _authenticate(request, credentials)
        asked = await read_query(request)
        return await _answer(statements.results(asked), _headers(request))

    routes = [
        Route("/ping", ping),
        Route("/lease", _answering(lease)),
        Route("/", _answering(query), methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes)


def _answering(handle: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Any]]:
    """Makes errors the answers that ClickHouse gives."""

    async def handled(request: Request) -> Any:
        try:
            return await handle(request)
        except EngineError as error:
            return _failure(error, _headers(request))
        except ClientDisconnect:  # nothing of a body that was cut off is run
            return Response(status_code=400)

    return handled


def _failure(error: EngineError, headers: Mapping[str, str] | None = None) -> Response:
    code = {"X-ClickHouse-Exception-Code": str(error.code)}
    return PlainTextResponse(f"{error}\n", error.status, {**(headers or {}), **code})


def _headers(request: Request) -> dict[str, str]:
    query_id = request.query_params.get("query_id") or str(uuid.uuid4())
    return {
        "X-ClickHouse-Query-Id": query_id.encode("latin-1", "replace").decode("latin-1"),
        "X-ClickHouse-Timezone": "UTC",
        "X-ClickHouse-Server-Display-Name": "pytest-babyai",
    }


async def _answer(results: AsyncGenerator[Result, None], headers: dict[str, str]) -> Response:
    """Answers with results: at once if there is one part, else as they come."""
    first = await _next(results) or Result()
    try:
        second = await _next(results)
    except EngineError as error:
        if not first.body:
            raise
        return _streamed(_parts(first, _failing(error), tag := secrets.token_hex(8)), headers, tag)
    if second is None:
        headers = {**headers, "X-ClickHouse-Summary": _summary(first)}
        return Response(first.body, headers=headers, media_type=_PLAIN)
    tag = secrets.token_hex(8)
    return _streamed(_parts(first, _after(second, results), tag), headers, tag)


async def _next(results: AsyncGenerator[Result, None]) -> Result | None:
    async for result in results:
        return result
    return None


def _streamed(parts: AsyncIterator[bytes], headers: Mapping[str, str], tag: str) -> Response:
    tagged = {**headers, "X-ClickHouse-Exception-Tag": tag}
    return _StreamedResponse(parts, headers=tagged, media_type=_PLAIN)


class _StreamedResponse(StreamingResponse):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        # Starlette's own would cancel a statement in the midst, where a client is gone.
        await self.stream_response(send)


async def _parts(
    first: Result, rest: AsyncGenerator[Result, None], tag: str
) -> AsyncIterator[bytes]:
    """Yields bodies; an error ends them as it does in ClickHouse, between two tags."""
    yield first.body
    async with aclosing(rest):
        try:
            async for result in rest:
                yield result.body
        except EngineError as error:
            message = f"{error}\n"
            lines = ("", "__exception__", tag, message, f"{len(message.encode())} {tag}")
            yield "\r\n".join((*lines, "__exception__", "")).encode()


async def _after(
    second: Result, results: AsyncGenerator[Result, None]
) -> AsyncGenerator[Result, None]:
    yield second
    async with aclosing(results):
        async for result in results:
            yield result


async def _failing(error: EngineError) -> AsyncGenerator[Result, None]:
    raise error
    yield


def _summary(result: Result) -> str:
    # Numbers are strings, as in ClickHouse. Bytes and times are nothing that clients rely on.
    numbers = {
        "read_rows": result.num_read,
        "read_bytes": 0,
        "written_rows": result.num_written,
        "written_bytes": 0,
        "total_rows_to_read": 0,
        "result_rows": result.num_read,
        "result_bytes": len(result.body),
        "elapsed_ns": 0,
    }
    return json.dumps({name: str(number) for name, number in numbers.items()})


def _authenticate(request: Request, credentials: tuple[bytes, bytes]) -> None:
    given = _credentials_of(request)
    if given is None:
        raise EngineError(194, "REQUIRED_PASSWORD", "User and password are required.")
    right = [compare_digest(*pair) for pair in zip(given, credentials, strict=True)]
    if not all(right):
        raise EngineError(516, "AUTHENTICATION_FAILED", "User or password is incorrect.")


def _credentials_of(request: Request) -> tuple[bytes, bytes] | None:
    """User and password: from ClickHouse's headers, an Authorization header, or the URL."""
    headers, url = request.headers, request.query_params
    if "authorization" in headers:
        return _basic_credentials(headers["authorization"])
    user, password = headers.get("x-clickhouse-user"), headers.get("x-clickhouse-key")
    if user is None:
        user, password = url.get("user"), url.get("password", password)
    if user is None and password is None:
        return None
    return (user or "default").encode(), (password or "").encode()


def _basic_credentials(header: str) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return user, password


class _Parameters(NamedTuple):
    interface: dict[str, str]
    settings: dict[str, str]
    parameters: dict[str, str]


async def read_query(request: Request) -> Query:
    """Reads a whole request.

    Raises:
        EngineError: It cannot be understood.
        ClientDisconnect: It was cut off.
    """
    pairs = dict(request.query_params)
    tables: tuple[Table, ...] = ()
    body = b""
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        pairs, tables = await _read_form(request, pairs)
    else:
        body = _decompressed(await request.body(), request.headers.get("content-encoding", ""))
    interface, settings, parameters = _sorted_out(pairs)
    headers = request.headers
    return Query(
        text=b"\n".join(part for part in (interface.get("query", "").encode(), body) if part),
        database=interface.get("database") or headers.get("x-clickhouse-database"),
        settings=_as_settings(settings),
        parameters=parameters,
        default_format=interface.get("default_format")
        or headers.get("x-clickhouse-format")
        or "TabSeparated",
        session_id=interface.get("session_id"),
        read_only=request.method in {"GET", "HEAD"},
        tables=tables,
    )


def _as_settings(settings: Mapping[str, str]) -> Settings:
    return tuple(settings.items())


def _sorted_out(pairs: Mapping[str, str]) -> _Parameters:
    sorted_out = _Parameters({}, {}, {})
    for name, text in pairs.items():
        if name.startswith("param_"):
            sorted_out.parameters[name.removeprefix("param_")] = text
        elif name in _INTERFACE:
            sorted_out.interface[name] = text
        else:
            sorted_out.settings[name] = text
    return sorted_out


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
    request: Request, pairs: Mapping[str, str]
) -> tuple[dict[str, str], tuple[Table, ...]]:
    """Reads a form: fields that have a structure are tables, all others are parameters."""
    async with request.form(max_part_size=_MAX_FIELD_BYTES) as form:
        fields = {
            name: await value.read() if isinstance(value, UploadFile) else value.encode()
            for name, value in form.multi_items()
        }
    matches = (_TABLE_FIELD.fullmatch(name) for name in (*fields, *pairs))
    described = {match["table"] for match in matches if match}
    names = [name for name in fields if name in described]
    options = {f"{name}_{suffix}" for name in names for suffix in ("structure", "format", "types")}
    texts = {name: data.decode() for name, data in fields.items() if name not in names}
    everything = {**pairs, **texts}
    tables = tuple(_table(name, fields[name], everything) for name in names)
    return {name: text for name, text in everything.items() if name not in options}, tables


def _table(name: str, data: bytes, options: Mapping[str, str]) -> Table:
    structure = options.get(f"{name}_structure")
    if structure is None:
        types = options.get(f"{name}_types")
        if types is None:
            message = f"External table {name!r} has neither structure nor types"
            raise EngineError(36, "BAD_ARGUMENTS", message)
        structure = ", ".join(
            f"_{number} {kind}" for number, kind in enumerate(types.split(","), 1)
        )
    return Table(name, structure, options.get(f"{name}_format", "TabSeparated"), data)
