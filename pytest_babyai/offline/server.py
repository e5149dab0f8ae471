"""The offline model behind OpenAI's HTTP interface.

Starlette routes, uvicorn serves. On one core, uvicorn with httptools and uvloop took 92
microseconds for a request through Starlette's router, aiohttp 94 with uvloop and 154 without;
uvicorn starts in half the time.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.routing import Route, Router

from pytest_babyai.offline.chance import Chance
from pytest_babyai.offline.chat import (
    ApiError,
    choose,
    chunks,
    completion,
    find_policy,
    parse_request,
)
from pytest_babyai.offline.policy import Policy
from pytest_babyai.offline.prompt import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Receive, Scope, Send

MODEL_NAME = "babyai-offline"
MAX_BODY_BYTES = 16 * 2**20


@dataclass(frozen=True)
class ServedModels:
    """What the server answers with.

    Attributes:
        policies: The policy behind every model's name.
        latency_ms: Shortest and longest time that a completion takes; a prompt always takes the
            same.
        seed: Seed of these times.
    """

    policies: Mapping[str, Policy] = field(default_factory=lambda: {MODEL_NAME: Policy()})
    latency_ms: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


class Endpoint:
    """One path and method on bare ASGI: every step of every episode passes through here."""

    method: ClassVar[str] = "GET"

    def __init__(self, models: ServedModels) -> None:
        self.models = models

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["method"] != self.method:
            message = f"{scope['path']} takes {self.method}, not {scope['method']}."
            raise ApiError(message, status=405)
        await self.respond(receive, send)

    async def respond(self, receive: Receive, send: Send) -> None:
        """Answers a request of the right method."""
        raise NotImplementedError


class ChatCompletions(Endpoint):
    """``POST /v1/chat/completions``."""

    method = "POST"

    async def respond(self, receive: Receive, send: Send) -> None:
        """Answers with a completion, or with its stream."""
        body = await read_body(receive)
        request = parse_request(body)
        choices = choose(request, find_policy(self.models.policies, request.model))
        await self._wait(body)
        if request.is_stream:
            await send_bytes(send, 200, _stream(chunks(request, choices)), b"text/event-stream")
        else:
            await send_json(send, 200, completion(request, choices))

    async def _wait(self, body: bytes) -> None:
        low, high = self.models.latency_ms
        if high > 0:
            share = Chance(digest_of(body.decode("utf-8", "replace")), self.models.seed).uniform()
            await asyncio.sleep((low + (high - low) * share) / 1000)


class ListModels(Endpoint):
    """``GET /v1/models``."""

    async def respond(self, receive: Receive, send: Send) -> None:
        """Answers with the models' names."""
        del receive
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "pytest-babyai"}
            for name in self.models.policies
        ]
        await send_json(send, 200, {"object": "list", "data": listed})


class Health(Endpoint):
    """``GET /healthz``."""

    async def respond(self, receive: Receive, send: Send) -> None:
        """Answers as long as the server runs."""
        del receive
        await send_json(send, 200, {"status": "ok", "models": list(self.models.policies)})


class Application:
    """The server as an ASGI application: routes, and errors as OpenAI words them."""

    def __init__(self, models: ServedModels, routes: Iterable[Route] = ()) -> None:
        own = [
            Route("/v1/chat/completions", ChatCompletions(models)),
            Route("/v1/models", ListModels(models)),
            Route("/healthz", Health(models)),
        ]
        self._router = Router([*own, *routes], default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            await self._router(scope, receive, send)
        except ApiError as error:
            await send_json(send, error.status, error.body())


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del receive, send
    raise ApiError(f"No such endpoint: {scope['method']} {scope['path']}", status=404)


async def read_body(receive: Receive) -> bytes:
    """Reads a request's body.

    Raises:
        ApiError: It is larger than `MAX_BODY_BYTES` (413).
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            text = f"The body is larger than {MAX_BODY_BYTES} bytes."
            raise ApiError(text, status=413)
    return body


async def send_json(send: Send, status: int, content: Any) -> None:
    """Sends a JSON answer."""
    await send_bytes(send, status, json.dumps(content).encode(), b"application/json")


async def send_bytes(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    """Sends an answer as a whole."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _stream(objects: Iterable[dict[str, Any]]) -> bytes:
    events = [json.dumps(item) for item in objects]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
