from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pytest_babyai.gateway.configuration import GatewayConfiguration, read_configuration
from pytest_babyai.gateway.inference import InferenceRequest, PastStep, new_episode_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

API_KEY = "sk-proj-0123456789abcdefSECRET"

TENSORZERO_TOML = """
[gateway]
disable_pseudonymous_usage_analytics = true
observability.enabled = false
template_filesystem_access.base_path = "templates"

[functions.act]
type = "json"
output_schema = "output.json"
schemas.user.path = "user.json"

[functions.act.variants.baseline]
type = "chat_completion"
model = "policy"
json_mode = "off"
templates.user.path = "templates/observation.minijinja"

[functions.act.variants.history]
type = "chat_completion"
model = "policy"
json_mode = "off"
templates.user.path = "templates/history.minijinja"
"""
MODEL_TOML = """
[models.policy]
routing = ["server"]

[models.policy.providers.server]
type = "openai"
model_name = "test-model"
api_base = "{api_base}"
api_key_location = "{key}"
"""
OUTPUT_SCHEMA = {
    "type": "object",
    "properties": {"thinking": {"type": "string"}, "action": {"type": "string"}},
    "required": ["action"],
    "additionalProperties": False,
}
USER_SCHEMA = {
    "type": "object",
    "properties": {
        "mission": {"type": "string"},
        "observation": {"type": "string"},
        "history": {"type": "array"},
    },
    "required": ["mission", "observation", "history"],
    "additionalProperties": False,
}
TEMPLATES = {
    "goal": "Goal: {{ mission }}",
    "observation": '{% include "goal.minijinja" %} Now: {{ observation }}',
    "history": "{% for past in history %}{{ past.observation }} > {{ past.action }}\n{% endfor %}"
    "Now: {{ observation }}",
}


def write_config(
    directory: Path, *, api_base: str = "http://127.0.0.1:9/v1", key: str = "none"
) -> Path:
    (directory / "models").mkdir(parents=True)
    (directory / "templates").mkdir()
    (directory / "tensorzero.toml").write_text(TENSORZERO_TOML)
    (directory / "output.json").write_text(json.dumps(OUTPUT_SCHEMA))
    (directory / "user.json").write_text(json.dumps(USER_SCHEMA))
    for name, text in TEMPLATES.items():
        (directory / "templates" / f"{name}.minijinja").write_text(text)
    write_model(directory / "models" / "server.toml", api_base=api_base, key=key)
    return directory


def write_model(path: Path, *, api_base: str, key: str = "none") -> Path:
    path.write_text(MODEL_TOML.format(api_base=api_base, key=key))
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def completion(content: str | None, **changes: Any) -> web.Response:
    body = {
        "id": "completion",
        "object": "chat.completion",
        "created": 1,
        "model": "test-model",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content},
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }
    return web.json_response({**body, **changes})


class FakeProvider:
    """An OpenAI-compatible server on a thread of its own; `answer` says what it does."""

    def __init__(self) -> None:
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = go_forward
        self.bodies: list[dict[str, Any]] = []
        self.hung_up = threading.Event()
        self.api_base = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._handle)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.api_base = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        try:
            return await self.answer(request)
        except asyncio.CancelledError:
            self.hung_up.set()
            raise

    def prompt(self) -> str:
        """Text of the last request's user message."""
        content = self.bodies[-1]["messages"][-1]["content"]
        return content if isinstance(content, str) else str(content[0]["text"])


async def go_forward(_: web.Request) -> web.StreamResponse:
    return completion('{"action": "go forward"}')


def configuration_of(config_dir: Path, model: str = "server") -> GatewayConfiguration:
    return read_configuration(config_dir, model, {}, check_credentials=False)


def request(**changes: Any) -> InferenceRequest:
    return dataclasses.replace(
        InferenceRequest(
            variant="baseline",
            episode_id=new_episode_id(),
            mission="go to the red ball",
            observation="a red ball 1 step forward",
            history=(PastStep("a wall", "turn left"),),
        ),
        **changes,
    )


def answering(**response: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(**response)

    return answer


def completing(content: str | None, **changes: Any) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return completion(content, **changes)

    return answer


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
