"""ClickHouse's HTTP interface as an ASGI application."""

from __future__ import annotations

import base64
import binascii
import secrets
import uuid
from hmac import compare_digest
from typing import TYPE_CHECKING

from pytest_babyai.gateway.clickhouse.engine import Result
from pytest_babyai.gateway.clickhouse.failures import EngineError
from pytest_babyai.gateway.clickhouse.requests import read_query, url_part

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from starlette.types import Receive, Scope, Send

    from pytest_babyai.gateway.clickhouse.leases import Leases
    from pytest_babyai.gateway.clickhouse.requests import Query
    from pytest_babyai.gateway.clickhouse.statements import Statements

LEASE_PATH = "/lease"
ACKNOWLEDGED_PATH = "/acknowledged"
"""Tells which of TensorZero's inferences and feedback, an id a line, came in lately."""
_PLAIN = (b"content-type", b"text/plain; charset=UTF-8")


class Application:
    """Answers what ClickHouse's clients ask.

    Args:
        statements: Runs the statements.
        user: Name of the one user.
        password: Password of the user.
        leases: Whoever uses the server besides the process that started it.
    """

    def __init__(self, statements: Statements, user: str, password: str, leases: Leases) -> None:
        self._statements = statements
        self._credentials = (user.encode(), password.encode())
        self._leases = leases

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/ping":
            await _send_whole(send, 200, [_PLAIN], b"Ok.\n")
            return
        try:
            self._authenticate(scope)
            if scope["path"] == LEASE_PATH:
                await self._leases.hold(receive, send)
                return
            query = await read_query(scope, receive)
            if scope["path"] == ACKNOWLEDGED_PATH:
                found = self._statements.acknowledged(query.statement().splitlines())
                await _send_whole(send, 200, [_PLAIN], "\n".join(found).encode())
                return
        except EngineError as error:
            await _send_failure(send, error)
            return
        written = self._statements.merged_insert(query)
        if written is None:
            await _Exchange(query, send).answer(self._statements.results(query))
        else:
            await _acknowledge(written, send)

    def _authenticate(self, scope: Scope) -> None:
        told = _credentials_of(scope)
        if told is None:
            raise EngineError(194, "REQUIRED_PASSWORD", "User and password are required.")
        right = [compare_digest(*pair) for pair in zip(told, self._credentials, strict=True)]
        if not all(right):
            raise EngineError(516, "AUTHENTICATION_FAILED", "User or password is incorrect.")


class _Exchange:
    """The answer to one query."""

    def __init__(self, query: Query, send: Send) -> None:
        self._send = send
        self._tag = secrets.token_hex(8).encode()
        query_id = query.url.interface.get("query_id") or str(uuid.uuid4())
        self._headers = [
            _PLAIN,
            (b"x-clickhouse-query-id", query_id.encode("latin-1", "replace")),
            (b"x-clickhouse-timezone", b"UTC"),
            (b"x-clickhouse-server-display-name", b"pytest-babyai"),
        ]

    async def answer(self, results: AsyncIterator[Result]) -> None:
        """Sends results: at once if there is one part, else as they come."""
        total = Result()
        started = False
        try:
            async for result in results:
                if total.body:
                    await self._send_part(total, started=started)
                    started = True
                total = Result(
                    result.body,
                    total.num_read + result.num_read,
                    total.num_written + result.num_written,
                )
        except EngineError as error:
            if started:
                await self._break_off(total, error)
            else:
                await _send_failure(self._send, error, self._headers)
            return
        if started:
            await self._send({"type": "http.response.body", "body": total.body})
        else:
            headers = [*self._headers, (b"x-clickhouse-summary", _summary(total))]
            await _send_whole(self._send, 200, headers, total.body)

    async def _send_part(self, result: Result, *, started: bool) -> None:
        if not started:
            headers = [*self._headers, (b"x-clickhouse-exception-tag", self._tag)]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": result.body, "more_body": True})

    async def _break_off(self, result: Result, error: EngineError) -> None:
        message = f"{error}\n".encode()
        told = (b"__exception__", self._tag, message, b"%d %s" % (len(message), self._tag))
        body = b"\r\n".join((result.body, *told, b"__exception__", b""))
        await self._send({"type": "http.response.body", "body": body})


async def _acknowledge(written: Awaitable[int], send: Send) -> None:
    """Answers an INSERT that is merged: by far the most frequent request."""
    try:
        result = Result(num_written=await written)
    except EngineError as error:
        await _send_failure(send, error)
    else:
        await _send_whole(send, 200, [(b"x-clickhouse-summary", _summary(result))], b"")


async def _send_failure(
    send: Send, error: EngineError, headers: Sequence[tuple[bytes, bytes]] = (_PLAIN,)
) -> None:
    code = (b"x-clickhouse-exception-code", b"%d" % error.code)
    await _send_whole(send, error.status, [*headers, code], f"{error}\n".encode())


async def _send_whole(
    send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _summary(result: Result) -> bytes:
    # Numbers are strings, as in ClickHouse. Bytes and times are nothing that clients rely on.
    return (
        b'{"read_rows":"%d","read_bytes":"0","written_rows":"%d","written_bytes":"0",'
        b'"total_rows_to_read":"0","result_rows":"%d","result_bytes":"%d","elapsed_ns":"0"}'
    ) % (result.num_read, result.num_written, result.num_read, len(result.body))


def _credentials_of(scope: Scope) -> tuple[bytes, bytes] | None:
    """User and password: from ClickHouse's headers, an Authorization header, or the URL."""
    user = password = None
    for name, value in scope["headers"]:
        if name == b"x-clickhouse-user":
            user = value
        elif name == b"x-clickhouse-key":
            password = value
        elif name == b"authorization":
            return _basic_credentials(value)
    if user is None and scope["query_string"]:
        told = url_part(scope["query_string"]).interface
        user, password = (
            told[key].encode() if key in told else None for key in ("user", "password")
        )
    return None if user is None and password is None else (user or b"default", password or b"")


def _basic_credentials(header: bytes) -> tuple[bytes, bytes] | None:
    scheme, _, encoded = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).partition(b":")
    except binascii.Error:
        return None
    return user, password
