"""The offline model behind OpenAI's HTTP interface.

Starlette routes, uvicorn serves. On one core, uvicorn with httptools and uvloop took 92
microseconds for a request through Starlette's router, aiohttp 94 with uvloop and 154 without;
uvicorn starts in half the time.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.routing import Route, Router

from pytest_babyai.offline.chat import (
    Answer,
    ApiError,
    ChatRequest,
    choose,
    chunks,
    completion,
    parse_request,
    unknown_model,
)
from pytest_babyai.offline.policy import Chance, Policy, Reply
from pytest_babyai.offline.prompt import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import Receive, Scope, Send

    from pytest_babyai.offline.finetuning.serve import FineTunedModels

MODEL_NAME = "babyai-offline"
CARELESS_MODEL_NAME = "babyai-offline-careless"
"""The same model with more slips: whoever learns from its successes alone can surpass it."""
EARLIER_NAMES = {"babyai-offline-human": CARELESS_MODEL_NAME}
MAX_BODY_BYTES = 16 * 2**20


@dataclass
class ReadPrompts:
    """How many prompts the policies were sent, and how many lacked what an episode needs.

    Attributes:
        prompts: All of them.
        without_mission: Those in which no mission was found.
        without_view: Those in which no current observation was found.
    """

    prompts: int = 0
    without_mission: int = 0
    without_view: int = 0

    def count(self, reply: Reply) -> None:
        """Adds a prompt."""
        self.prompts += 1
        self.without_mission += not reply.has_mission
        self.without_view += not reply.has_view


@dataclass(frozen=True)
class ServedModels:
    """What the server answers with.

    Attributes:
        policies: The policy behind every model's name.
        latency_ms: Shortest and longest time that a completion takes; a prompt always takes the
            same.
        seed: Seed of these times.
        fine_tuned: The models that were trained here; None for none.
        read: What the policies could make of the prompts so far.
    """

    policies: Mapping[str, Policy] = field(default_factory=lambda: {MODEL_NAME: Policy()})
    latency_ms: tuple[float, float] = (0.0, 0.0)
    seed: int = 0
    fine_tuned: FineTunedModels | None = None
    read: ReadPrompts = field(default_factory=ReadPrompts)

    async def answer(self, request: ChatRequest) -> list[Answer]:
        """Answers a request by the model that it names.

        Raises:
            ApiError: There is no such model (404), or it cannot answer (500).
        """
        policy = self.policies.get(EARLIER_NAMES.get(request.model, request.model))
        if policy is not None:
            return self._answers_of(policy, request)
        answers = await self.fine_tuned.answers(request) if self.fine_tuned else None
        if answers is None:
            raise unknown_model(request.model, self.names())
        return answers

    def _answers_of(self, policy: Policy, request: ChatRequest) -> list[Answer]:
        replies = [
            policy.reply(request.messages, seed=request.seed + index, as_json=request.is_json)
            for index in range(request.num_choices)
        ]
        self.read.count(replies[0])
        return [Answer(reply.text) for reply in replies]

    def names(self) -> list[str]:
        """Returns the models' names, those trained here last."""
        return [*self.policies, *(self.fine_tuned.names() if self.fine_tuned else ())]


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
        choices = choose(request, await self.models.answer(request))
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
        listed = [model_object(name) for name in self.models.policies]
        if self.models.fine_tuned is not None:
            listed += [
                model_object(model.name, model.created_s) for model in self.models.fine_tuned.all()
            ]
        await send_json(send, 200, {"object": "list", "data": listed})


def model_object(name: str, created_s: int = 0) -> dict[str, Any]:
    """Returns OpenAI's model object."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "pytest-babyai"}


class Health(Endpoint):
    """``GET /healthz``."""

    async def respond(self, receive: Receive, send: Send) -> None:
        """Answers as long as the server runs."""
        del receive
        state = {"status": "ok", "models": self.models.names(), "read": asdict(self.models.read)}
        await send_json(send, 200, state)


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
