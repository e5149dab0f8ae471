"""Chats to learn from, a server to send them to."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pytest_babyai.offline.finetuning.api import FineTuning
from pytest_babyai.offline.finetuning.chats import Example
from pytest_babyai.offline.finetuning.worker import Supervisor
from pytest_babyai.offline.prompt import Message
from pytest_babyai.offline.server import MODEL_NAME, Application, ServedModels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Where the whole project is tested PyTorch has to be there; elsewhere its tests may be left out.
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None and not os.environ.get("CI"),
    reason="needs PyTorch: pip install 'pytest-babyai[finetune]'",
)

ANIMALS = ("cat", "dog", "hen", "cow", "pig", "bat")
COLOURS = ("red", "blue", "grey", "green", "white", "black")
FINAL = ("succeeded", "failed", "cancelled")
DEADLINE_S = 300.0


def chat(animal: str, colour: str, other: str) -> Example:
    """A question whose answer is found in the prompt: which animal is of the colour asked for."""
    wrong = next(name for name in COLOURS if name != colour)
    lines = [f"a {animal} is {colour}", f"a {other} is {wrong}"]
    if len(other) % 2 or COLOURS.index(colour) % 2:
        lines.reverse()
    user = "\n".join([*lines, f"Which one is {colour}?"])
    prompt = (Message("system", "Answer in JSON."), Message("user", user))
    answer = {"thinking": f"It is the {colour} {animal}.", "action": animal}
    return Example(prompt, json.dumps(answer))


def chats() -> list[Example]:
    """Every combination, always in the same mixed order."""
    made = [
        chat(animal, colour, other)
        for animal in ANIMALS
        for colour in COLOURS
        for other in ANIMALS
        if other != animal
    ]
    random.Random(5).shuffle(made)
    return made


def as_json_lines(examples: list[Example]) -> bytes:
    """The chats as OpenAI wants them uploaded."""
    return b"\n".join(
        json.dumps(
            {
                "messages": [
                    *({"role": role, "content": text} for role, text in example.messages),
                    {"role": "assistant", "content": example.answer},
                ]
            }
        ).encode()
        for example in examples
    )


class Client:
    """Asks a server that lives in this process; its jobs run in processes of their own."""

    def __init__(self, models_dir: Path, command: Callable[[str], list[str]] | None = None) -> None:
        self.tuning = FineTuning(models_dir, (MODEL_NAME,))
        if command is not None:
            self.tuning.supervisor = Supervisor(self.tuning.jobs, command)
        models = ServedModels(fine_tuned=self.tuning.models)
        self._application = Application(models, self.tuning.routes())

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._application)
            async with httpx.AsyncClient(transport=transport, base_url="http://offline") as http:
                return await http.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, status: int = 200, **params: Any) -> dict[str, Any]:
        response = self.request("GET", path, params=params)
        assert response.status_code == status, response.text
        told: dict[str, Any] = response.json()
        return told

    def upload(self, content: bytes, name: str = "data.jsonl") -> str:
        response = self.request(
            "POST", "/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, content)}
        )
        assert response.status_code == 200, response.text
        file_id: str = response.json()["id"]
        return file_id

    def launch(self, **fields: Any) -> str:
        response = self.request(
            "POST", "/v1/fine_tuning/jobs", json={"model": MODEL_NAME, **fields}
        )
        assert response.status_code == 200, response.text
        job_id: str = response.json()["id"]
        return job_id

    def wait(self, job_id: str, *until: str) -> dict[str, Any]:
        """Polls a job until it has one of these states, else a final one."""
        ends_s = time.monotonic() + DEADLINE_S
        while (job := self.get(f"/v1/fine_tuning/jobs/{job_id}"))["status"] not in (until or FINAL):
            assert time.monotonic() < ends_s, self.messages(job_id)
            time.sleep(0.02)
        return job

    def messages(self, job_id: str) -> list[str]:
        """The messages of a job's events, the oldest first."""
        events = self.get(f"/v1/fine_tuning/jobs/{job_id}/events", limit=1000)["data"]
        return [event["message"] for event in reversed(events)]

    def ask(self, model: str, example: Example, **options: Any) -> httpx.Response:
        messages = [{"role": role, "content": text} for role, text in example.messages]
        body = {"model": model, "messages": messages, **options}
        return self.request("POST", "/v1/chat/completions", json=body)

    def close(self) -> None:
        self.tuning.close()


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def program(source: str) -> Callable[[str], list[str]]:
    """A trainer that runs this source instead."""
    return lambda job_id: [sys.executable, "-c", source, job_id]
