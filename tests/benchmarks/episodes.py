"""400 episodes through pytest, against the bound and against a bare loop of the same inferences.

``python -m tests.benchmarks.episodes`` prints the ratios; everything is measured in one run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_babyai.environment import TASKS, environment_factory
from pytest_babyai.gateway.client import Gateway, open_gateway
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.inference import Inference, InferenceRequest
from pytest_babyai.playing.rollout import run_episode
from pytest_babyai.project import packaged
from pytest_babyai.records import EpisodeSpec, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIANTS = ("baseline", "reasoning", "history", "history_and_reasoning")
SEEDS = range(200, 220)
CONCURRENCY = 50
NUM_TURNS = 3
NOTEBOOK_STEPS_PER_S = 792
"""A notebook with a semaphore of 50 on the same kind of machine, model answering at once."""

MODEL = """
[models.policy]
routing = ["constant"]
[models.policy.providers.constant]
type = "openai"
model_name = "constant"
api_base = "http://127.0.0.1:{port}/v1"
api_key_location = "none"
"""


@contextmanager
def model_server(min_ms: float, max_ms: float, sigma: float = 0.0) -> Iterator[int]:
    script = Path(__file__).with_name("model_server.py")
    command = [sys.executable, str(script), str(min_ms), str(max_ms), str(sigma)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.terminate()


def stats(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as answer:
        loaded: dict[str, float] = json.load(answer)
    return loaded


def write_project(directory: Path, port: int) -> Path:
    model = directory / "constant.toml"
    model.write_text(MODEL.format(port=port))
    (directory / "pytest.ini").write_text("[pytest]\n")
    suite = packaged("evals") / "test_babyai.py"
    (directory / "test_babyai.py").write_text(suite.read_text())
    return model


def run_pytest(directory: Path, model: Path) -> float:
    """Returns the wall time of the whole command, in seconds."""
    options = [f"--babyai-model={model}", f"--babyai-concurrency={CONCURRENCY}"]
    call_pytest(directory, "--collect-only", *options)  # as anyone's second run: compiled files
    started_s = time.perf_counter()
    printed = call_pytest(directory, "--babyai-gate=aggregate", *options)
    wall_s = time.perf_counter() - started_s
    if "400 episodes in" not in printed:
        sys.exit(printed)
    return wall_s


def call_pytest(directory: Path, *options: str) -> str:
    # Other plugins that happen to be installed here would be measured as well.
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "pytest_babyai.plugin"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


class Recorder:
    """Answers as the model server does, and remembers each episode's requests."""

    def __init__(self) -> None:
        self.episodes: dict[str, list[InferenceRequest]] = {}

    async def infer(self, request: InferenceRequest, /) -> Inference:
        self.episodes.setdefault(request.episode_id, []).append(request)
        return Inference(
            inference_id="",
            raw='{"action": "go forward"}',
            parsed={"action": "go forward"},
            usage=Usage(0, 0),
            latency_ms=0.0,
        )


async def record_requests() -> list[list[InferenceRequest]]:
    recorder = Recorder()
    for variant in VARIANTS:
        for task in TASKS:
            for seed in SEEDS:
                await run_episode(
                    EpisodeSpec(variant, task, seed),
                    client=recorder,
                    make_environment=environment_factory(),
                )
    return list(recorder.episodes.values())


async def bare_loop(model: Path, episodes: list[list[InferenceRequest]]) -> float:
    """Sends the same inferences with TensorZero's client alone; returns seconds."""
    started_s = time.perf_counter()
    configuration = read_configuration(packaged("config"), str(model), os.environ)
    gateway = await open_gateway(configuration)
    bound = asyncio.Semaphore(CONCURRENCY)
    await asyncio.gather(*(send(gateway, episode, bound) for episode in episodes))
    wall_s = time.perf_counter() - started_s
    await gateway.close()
    return wall_s


async def send(gateway: Gateway, episode: list[InferenceRequest], bound: asyncio.Semaphore) -> None:
    client: Any = gateway._client
    async with bound:
        for request in episode:
            past = request.history
            history = [{"observation": step.observation, "action": step.action} for step in past]
            arguments = {
                "mission": request.mission,
                "observation": request.observation,
                "history": history,
            }
            content = [{"type": "template", "name": "user", "arguments": arguments}]
            await client.inference(
                function_name="act",
                variant_name=request.variant,
                episode_id=request.episode_id,
                input={"messages": [{"role": "user", "content": content}]},
            )


def at_once() -> None:
    episodes = asyncio.run(record_requests())
    num_steps = sum(map(len, episodes))
    with model_server(0, 0) as port, tempfile.TemporaryDirectory() as directory:
        model = write_project(Path(directory), port)
        turns = [
            (asyncio.run(bare_loop(model, episodes)), run_pytest(Path(directory), model))
            for _ in range(NUM_TURNS)
        ]
        num_answers = stats(port)["num_answers"]
    assert num_answers == NUM_TURNS * 2 * num_steps, (num_answers, num_steps)
    # The best of each: whatever else the machine does makes only slower.
    bare_s, wall_s = (min(column) for column in zip(*turns, strict=True))
    told = f"{len(episodes)} episodes, {num_steps:,} steps, best of {NUM_TURNS} in turns"
    print(f"model answers at once: {told}")
    print(f"  bare loop          {bare_s:6.2f} s  {num_steps / bare_s:7,.0f} steps/s")
    print(f"  pytest, all in all {wall_s:6.2f} s  {num_steps / wall_s:7,.0f} steps/s")
    print(f"  over the bare loop {wall_s / bare_s - 1:+6.1%}  (at most +25 %)")
    print(f"  over the notebook  {num_steps / wall_s / NOTEBOOK_STEPS_PER_S:5.2f} x  (at least 3)")


def after_a_while() -> None:
    with model_server(50, 150) as port, tempfile.TemporaryDirectory() as directory:
        wall_s = run_pytest(Path(directory), write_project(Path(directory), port))
        served = stats(port)
    bound_s = served["latency_sum_s"] / CONCURRENCY
    print("model answers after 50-150 ms")
    print(f"  latency sum / {CONCURRENCY}   {bound_s:6.2f} s")
    print(f"  pytest, all in all {wall_s:6.2f} s")
    print(f"  over the bound     {wall_s / bound_s:5.3f} x  (at most 1.15)")


if __name__ == "__main__":
    at_once()
    after_a_while()
