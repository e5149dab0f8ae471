from __future__ import annotations

import importlib.util
import os
import threading
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from pytest_babyai.store.directory import StoreDirectory
from pytest_babyai.store.engine import EngineError, Result
from pytest_babyai.store.http import Leases, application
from pytest_babyai.store.statements import Statements
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.store.embedded import EmbeddedStore
    from pytest_babyai.store.engine import Settings

DISK_FULL = EngineError(243, "NOT_ENOUGH_SPACE", "Cannot reserve 1.00 MiB, not enough space.")


def need_chdb() -> None:
    """Skips where the extra is not installed; in CI it has to be."""
    if importlib.util.find_spec("chdb") is None:
        message = "chdb is missing: pip install 'pytest-babyai[store]'"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def ask(store: EmbeddedStore, query: str) -> str:
    """Asks a started store.

    Raises:
        OSError: It is gone.
    """
    url = urlsplit(store.url)
    connection = HTTPConnection("127.0.0.1", url.port or 0, timeout=60)
    headers = {"X-ClickHouse-User": url.username or "", "X-ClickHouse-Key": url.password or ""}
    try:
        connection.request("POST", "/?database=tensorzero", query.encode(), headers)
        response = connection.getresponse()
        text = response.read().decode()
    except HTTPException as error:
        raise ConnectionError from error
    finally:
        connection.close()
    assert response.status == HTTPStatus.OK, text
    return text


def wait_until_gone(directory: Path) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while StoreDirectory(directory).is_served():
        assert time.monotonic() < give_up_s, "the server goes on"
        time.sleep(0.01)


@dataclass
class FakeEngine:
    """An engine that notes what it is told; `on_insert` and `on_run` may fail."""

    statements: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    inserts: list[tuple[str, str, bytes]] = field(default_factory=list)
    scopes: list[tuple[str | None, Settings]] = field(default_factory=list)
    num_open: int = 0
    may_insert: threading.Event = field(default_factory=threading.Event)
    on_insert: Callable[[str, bytes], None] = lambda *_: None
    on_run: Callable[[str], Result] = lambda _: Result(b"1\n", 1)

    def __post_init__(self) -> None:
        self.may_insert.set()

    def connect(self, database: str | None, settings: Settings) -> FakeConnection:
        self.scopes.append((database, settings))
        self.num_open += 1
        return FakeConnection(self)

    def close(self) -> None:
        assert self.num_open == 0


class FakeConnection:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine

    def set(self, settings: Settings) -> None:
        self.engine.statements.append(("SET", "", dict(settings)))

    def run(self, statement: str, output_format: str, parameters: Mapping[str, str]) -> Result:
        self.engine.statements.append((statement, output_format, dict(parameters)))
        return self.engine.on_run(statement)

    def stream(
        self, statement: str, output_format: str, parameters: Mapping[str, str]
    ) -> Iterator[Result]:
        yield self.run(statement, output_format, parameters)

    def insert(self, into: str, settings: str, input_format: str, data: bytes) -> int:
        assert self.engine.may_insert.wait(PATIENCE_S)
        statement = f"{into} {settings}".strip()
        self.engine.inserts.append((statement, input_format, data))
        self.engine.on_insert(statement, data)
        return data.count(b"{")

    def close(self) -> None:
        self.engine.num_open -= 1


class Served:
    """The application on an engine, with a client that is logged in."""

    def __init__(self, engine: Any) -> None:
        self.statements = Statements(engine)
        self.application = application(self.statements, "babyai", "secret", Leases(lambda: None))
        self.client = self.client_with(
            {"X-ClickHouse-User": "babyai", "X-ClickHouse-Key": "secret"}
        )

    def client_with(self, headers: Mapping[str, str]) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.application)
        return httpx.AsyncClient(transport=transport, base_url="http://store", headers=headers)

    async def insert(
        self, row: str, table: str = "t", *, settings: str = "", url: str = "/?database=d"
    ) -> httpx.Response:
        head = f"INSERT INTO {table}\n{settings}\nFORMAT JSONEachRow\n"
        return await self.client.post(url, content=head + row)

    async def ask(self, query: str, **parameters: str) -> httpx.Response:
        return await self.client.post("/", params=parameters, content=query)

    def close(self) -> None:
        self.statements.close()
