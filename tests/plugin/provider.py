"""A model provider that answers as the test says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Request = dict[str, Any]
Answer = Callable[[Request], "Awaitable[web.StreamResponse]"]

SOLVED_SEEDS = (2, 53, 85, 162, 168, 206, 212, 217, 223, 240)
"""Ten seeds of ``goto`` that "go forward" solves within three steps; most others never are."""

TEN_SOLVED = f"--babyai-seeds={','.join(map(str, SOLVED_SEEDS))}"


def completion(text: str) -> web.Response:
    """A chat completion as OpenAI's API gives it, one token a word."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "fake"}
    return web.json_response({**body, "choices": [choice], "usage": usage})


def action(name: str) -> web.Response:
    return completion(json.dumps({"action": name}))


async def go_forward(_: Request) -> web.StreamResponse:
    return action("go forward")


async def never(_: Request) -> web.StreamResponse:
    """Leaves a request unanswered until it hangs up."""
    await asyncio.Event().wait()
    raise AssertionError


class Crowd:
    """Answers nothing before so many requests are in flight, and then everything.

    Should they never be, the requests are answered after a while, so that the test goes on and
    finds out.

    Attributes:
        num_most: Most requests that were in flight at once.
    """

    def __init__(self, num_wanted: int) -> None:
        self.num_most = 0
        self._num_wanted = num_wanted
        self._num_now = 0
        self._is_complete = asyncio.Event()

    async def answer(self, request: Request) -> web.StreamResponse:
        self._num_now += 1
        self.num_most = max(self.num_most, self._num_now)
        try:
            if not self._is_complete.is_set():
                await self._gather()
        finally:
            self._num_now -= 1
        return await go_forward(request)

    async def _gather(self) -> None:
        if self._num_now >= self._num_wanted:
            await asyncio.sleep(0.05)  # were more allowed, they would come now
        else:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._is_complete.wait(), PATIENCE_S)
        self._is_complete.set()


class Provider:
    """An OpenAI-compatible server in a thread of its own.

    Attributes:
        answer: Answers a request; tests replace it.
        requests: Bodies of all requests so far.
    """

    def __init__(self) -> None:
        self.answer: Answer = go_forward
        self.requests: list[Request] = []
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    @contextmanager
    def serving(self, posts: dict[str, Handler], gets: dict[str, Handler]) -> Iterator[str]:
        """Serves something else on the same loop, and gives its URL."""
        runner = asyncio.run_coroutine_threadsafe(
            self._open_other(posts, gets), self._loop
        ).result()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), self._loop).result()

    async def _open_other(
        self, posts: dict[str, Handler], gets: dict[str, Handler]
    ) -> web.AppRunner:
        app = web.Application()
        for path, handler in posts.items():
            app.router.add_post(path, handler)
        for path, handler in gets.items():
            app.router.add_get(path, handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _open(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        self._ready.set()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        return await self.answer(body)
