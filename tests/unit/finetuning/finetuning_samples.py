"""Played episodes, projects and a provider that the tests of fine-tuning share."""

from __future__ import annotations

import asyncio
import dataclasses
import email.parser
import email.policy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.environment import environment_factory
from pytest_babyai.finetuning.chats import Chat
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.curation import curate
from pytest_babyai.finetuning.dataset import Dataset, read_dataset, write_dataset
from pytest_babyai.finetuning.episodes import Origin, RecordedEpisode, RecordedStep
from pytest_babyai.finetuning.provider_api import Provider
from pytest_babyai.gateway.configuration import GatewayConfiguration, read_configuration
from pytest_babyai.gateway.inference import Inference
from pytest_babyai.journal import (
    RUNS_DIRECTORY,
    Entry,
    EpisodeKey,
    Manifest,
    Recording,
    RunLog,
    RunState,
    Scrubber,
    VariantDefinition,
    create_run,
    describe_session,
    open_run,
)
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.project import create_project
from pytest_babyai.records import AnswerStatus, EpisodeResult, EpisodeSpec, Usage
from tests.unit.playing.rollout_fakes import FakeEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.gateway.inference import InferenceRequest

VARIANT = "history_and_reasoning"
ANSWERS = (
    '{"thinking": "I look around, überall.", "action": "turn left"}',
    '{"thinking": "On.", "action": "go forward"}',
    "no JSON at all",
    '{"thinking": "Hm.", "action": "pick up"}',
    '{"thinking": "Dance!", "action": "dance"}',
)
"""What the model of these episodes answers, in turn."""


class ScriptedModel:
    """Gives `ANSWERS` in turn."""

    def __init__(self) -> None:
        self.requests: list[InferenceRequest] = []

    async def infer(self, request: InferenceRequest) -> Inference:
        raw = ANSWERS[len(self.requests) % len(ANSWERS)]
        self.requests.append(request)
        parsed = json.loads(raw) if raw.startswith("{") else None
        return Inference(f"inference-{len(self.requests)}", raw, parsed, Usage(100, 10, None), 1.0)


def environments(num_dists: int) -> Callable[[str], Environment]:
    return environment_factory("builtin", num_dists=num_dists)


def play(
    seed: int, task: str = "goto", *, history_length: int = 8, **changes: Any
) -> EpisodeResult:
    """Plays a real episode; it counts as solved unless the changes say otherwise."""
    outcome = asyncio.run(
        run_episode(
            EpisodeSpec(VARIANT, task, seed),
            client=ScriptedModel(),
            make_environment=environments(0),
            options=RolloutOptions(history_length=history_length),
        )
    )
    assert isinstance(outcome, EpisodeResult)
    solved: dict[str, Any] = {"progression": 1.0, "episode_return": 0.8}
    return dataclasses.replace(outcome, **{**solved, **changes})


def make_project(directory: Path) -> Path:
    """Makes a project, and returns its configuration directory."""
    create_project(directory)
    return directory / "config"


def configuration_of(config_dir: Path) -> GatewayConfiguration:
    return read_configuration(config_dir, "offline", {})


def record_run(root: Path, results: Iterable[EpisodeResult], **key_changes: Any) -> RunLog:
    """Writes a run as the plugin does."""
    configuration = configuration_of(root / "config")
    parts = configuration.variant_parts
    variants = {
        name: VariantDefinition(value, parts[name])
        for name, value in configuration.variant_hashes.items()
    }
    session = describe_session(settings={}, command_line=[], directory=root, num_selected=1)
    manifest = Manifest(
        "babyai-offline (offline)", offline=True, variants=variants, sessions=(session,)
    )
    with create_run(root / RUNS_DIRECTORY, manifest, Recording(scrubber=Scrubber({}))) as journal:
        for result in results:
            spec = result.spec
            key = EpisodeKey(
                spec.variant, variants[spec.variant].hash, spec.task, spec.seed, **key_changes
            )
            journal.append(
                Entry(key, result, str(spec), "m", layout_fingerprint=result.layout_fingerprint)
            )
        journal.close(RunState.FINISHED)
    return open_run(root / RUNS_DIRECTORY)


class Episodes:
    """A source whose prompts are their own chats."""

    def __init__(
        self,
        episodes: Iterable[RecordedEpisode[Chat]],
        num_failures: int = 0,
        template_hashes: Mapping[str, str] | None = None,
    ) -> None:
        self._episodes = list(episodes)
        hashes = {} if template_hashes is None else dict(template_hashes)
        self.origin = Origin("journal", "run-1", ("run-1",), VARIANT, hashes, "m", num_failures)

    def episodes(self, conditions: Sequence[Condition]) -> list[RecordedEpisode[Chat]]:
        del conditions
        return self._episodes

    def chats(self, prompts: Sequence[Chat]) -> list[Chat]:
        return list(prompts)


def recorded(seed: int, task: str = "goto", *, num_steps: int = 3, **changes: Any) -> Any:
    """Returns a recorded episode of valid steps."""
    steps = tuple(
        RecordedStep(
            AnswerStatus.VALID,
            "go forward",
            Chat("Play.", f"{task}-{seed} step {number}", '{"action": "go forward"}'),
            num_tokens=7,
        )
        for number in range(num_steps)
    )
    fields: dict[str, Any] = {
        "task": task,
        "seed": seed,
        "episode_id": f"episode-{task}-{seed}",
        "meets_conditions": True,
        "steps": steps,
        "fingerprint": f"layout-{task}-{seed}",
    }
    return RecordedEpisode(**{**fields, **changes})


def dataset_at(
    path: Path,
    seeds: Iterable[int] = range(10),
    template_hashes: Mapping[str, str] | None = None,
    **options: Any,
) -> Dataset:
    """Writes and reads a small dataset."""
    source = Episodes(map(recorded, seeds), template_hashes=template_hashes)
    # The layouts are recorded; that they are none of the real evaluation need not be computed.
    curated = curate(source, parse_conditions(["progression>=1"]), lambda _: FakeEnvironment)
    write_dataset(curated, path, **options)
    return read_dataset(path)


JOB: Final = {
    "object": "fine_tuning.job",
    "id": "ftjob-abc123",
    "created_at": 1_721_764_800,
    "error": None,
    "estimated_finish": None,
    "fine_tuned_model": None,
    "finished_at": None,
    "status": "queued",
    "trained_tokens": None,
}
"""A job as OpenAI gives it right after it was created."""


class FakeProvider:
    """OpenAI's files and fine-tuning endpoints, as recorded; plays the states it is given.

    Attributes:
        states: Job objects that polling gives, one after the other; the last one stays.
        answers: Status and body that a path gives instead, by method and path.
        requests: Method, path, headers and body of every request.
    """

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = [
            {"status": "queued"},
            {"status": "running"},
            {"status": "succeeded", "fine_tuned_model": "ft:gpt-x:org::abc", "trained_tokens": 42},
        ]
        self.answers: dict[tuple[str, str], tuple[int, str]] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.events: list[dict[str, Any]] = []
        self._num_files = 0
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.respond(self)

            def do_POST(self) -> None:
                fake.respond(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )

    def __enter__(self) -> FakeProvider:  # noqa: PYI034 - Self needs Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def provider(self, api_key: str | None = None) -> Provider:
        return Provider(
            "openai", f"{self.url}/openai", f"{self.url}/openai/models", api_key, self.url
        )

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        method, path = handler.command, handler.path
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append((method, path, headers, body))
        plain_path = path.partition("?")[0]
        status, text = self.answers.get((method, plain_path)) or (
            200,
            json.dumps(self._answer(method, plain_path)),
        )
        content = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(self, method: str, path: str) -> dict[str, Any]:
        if path == "/openai/models":
            return {"object": "list", "data": [{"id": "gpt-x"}, {"id": "gpt-y"}]}
        if path.endswith("/events"):
            return {"object": "list", "data": self.events[::-1], "has_more": False}
        if path == "/openai/files":
            self._num_files += 1
            return {
                "id": f"file-{self._num_files}",
                "object": "file",
                "bytes": 1,
                "created_at": 1,
                "filename": "data.jsonl",
                "purpose": "fine-tune",
            }
        if (method, path) == ("GET", "/openai/fine_tuning/jobs"):
            return {"object": "list", "data": [], "has_more": False}
        if (method, path) == ("POST", "/openai/fine_tuning/jobs"):
            return JOB
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {**JOB, **state}

    def sent(self, method: str, path: str) -> list[tuple[dict[str, str], bytes]]:
        """Headers and bodies of the requests to a path."""
        return [
            (h, b) for m, p, h, b in self.requests if (m, p.partition("?")[0]) == (method, path)
        ]


def openai_error(message: str, **fields: Any) -> str:
    """Returns an error as OpenAI words it, indented as OpenAI does."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return json.dumps({"error": {**error, **fields}}, indent=2)


def multipart_fields(headers: dict[str, str], body: bytes) -> dict[str, tuple[str | None, str]]:
    """Returns file name and content by field of a multipart body."""
    head = f"Content-Type: {headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    return {
        str(part.get_param("name", header="content-disposition")): (
            part.get_filename(),
            part.get_payload(decode=True).decode(),  # type: ignore[union-attr]
        )
        for part in message.iter_parts()
    }
