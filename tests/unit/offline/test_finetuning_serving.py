"""From uploaded chats to answers, with the real trainer in a process of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pytest_babyai.offline import OfflineServer
from pytest_babyai.offline.chat import ChatRequest
from pytest_babyai.offline.finetuning import serve
from pytest_babyai.offline.finetuning.jobs import write_json
from pytest_babyai.offline.finetuning.metrics import read_metrics
from tests.unit.offline.finetuning_samples import (
    ANIMALS,
    DEADLINE_S,
    Client,
    as_json_lines,
    chats,
    error_of,
    needs_torch,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_torch

JOBS = "/v1/fine_tuning/jobs"
HELD_OUT, LEARNT = chats()[:24], chats()[24:]


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def job(models_dir: Path) -> dict[str, Any]:
    """A job that has succeeded; its server has ended since."""
    with closing(Client(models_dir)) as client:
        job_id = client.launch(
            training_file=client.upload(as_json_lines(LEARNT)),
            validation_file=client.upload(as_json_lines(HELD_OUT)),
            suffix="animals",
            seed=1,
            hyperparameters={"n_epochs": 8},
        )
        done = client.wait(job_id)
        assert done["status"] == "succeeded", client.messages(job_id)
        return done


@pytest.fixture
def later(models_dir: Path, job: dict[str, Any]) -> Iterator[Client]:
    """A server that was started after the job had succeeded."""
    assert job["status"] == "succeeded"
    with closing(Client(models_dir)) as client:
        yield client


def content_of(response: Any) -> str:
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def test_the_model_answers_prompts_that_it_has_not_learnt(
    later: Client, job: dict[str, Any]
) -> None:
    model = job["fine_tuned_model"]
    answers = [content_of(later.ask(model, example)) for example in HELD_OUT]
    num_right = sum(answer == c.answer for answer, c in zip(answers, HELD_OUT, strict=True))
    assert num_right >= 20


def test_prompts_at_the_same_time_are_answered_each_its_own(
    later: Client, job: dict[str, Any]
) -> None:
    model = job["fine_tuned_model"]
    one_by_one = [content_of(later.ask(model, example)) for example in HELD_OUT]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda c: content_of(later.ask(model, c)), HELD_OUT))
    assert together == one_by_one


def test_a_finished_job_names_its_model_and_what_it_learnt(job: dict[str, Any]) -> None:
    assert job["fine_tuned_model"] == f"ft:babyai-offline:pytest-babyai:animals:{job['id'][-8:]}"
    assert job["trained_tokens"] > 8 * len(LEARNT)
    assert job["estimated_finish"] is None
    assert job["error"] is None


def test_progress_is_told_by_events(later: Client, job: dict[str, Any]) -> None:
    messages = later.messages(job["id"])
    assert messages[0] == f"Created fine-tuning job: {job['id']}"
    assert "Training starts on 156 chats; 24 are for validation" in messages
    assert any(message.startswith("Step 160/160: training loss=") for message in messages)
    assert any(message.startswith("Epoch 8/8: validation loss=") for message in messages)
    assert messages[-1] == "The job has successfully completed"


def test_figures_of_the_training_are_read_back(
    models_dir: Path, later: Client, job: dict[str, Any]
) -> None:
    metrics = read_metrics(models_dir, job["fine_tuned_model"])
    assert metrics == read_metrics(models_dir, job["id"])
    assert metrics is not None
    assert (metrics.num_train, metrics.num_valid, metrics.num_epochs) == (156, 24, 8)
    assert [item.epoch for item in metrics.epochs] == list(range(1, 9))
    assert metrics.steps[-1].train_loss < metrics.steps[0].train_loss
    assert metrics.epochs[-1].valid_action_accuracy >= 20 / 24
    [checkpoint] = later.get(f"{JOBS}/{job['id']}/checkpoints")["data"]
    assert checkpoint["metrics"]["full_valid_loss"] == metrics.epochs[-1].valid_loss
    assert checkpoint["fine_tuned_model_checkpoint"] == job["fine_tuned_model"]


def test_of_an_unknown_model_there_are_no_figures(models_dir: Path) -> None:
    assert read_metrics(models_dir, "ft:unknown") is None


def test_the_model_is_listed_and_found(later: Client, job: dict[str, Any]) -> None:
    name = job["fine_tuned_model"]
    listed = [model["id"] for model in later.get("/v1/models")["data"]]
    assert listed == ["babyai-offline", name]
    assert later.get(f"/v1/models/{name}")["created"] == job["finished_at"]
    assert name in later.get("/healthz")["models"]


def test_a_name_spelt_wrongly_brings_the_right_one(later: Client, job: dict[str, Any]) -> None:
    name = job["fine_tuned_model"]
    error = error_of(later.ask(name[:-1], HELD_OUT[0]), 404)
    assert error["message"].endswith(f"did you mean {name!r}?")


def test_usage_counts_a_prompt_as_for_the_model_it_started_from(
    later: Client, job: dict[str, Any]
) -> None:
    tuned = later.ask(job["fine_tuned_model"], HELD_OUT[0]).json()["usage"]
    base = later.ask("babyai-offline", HELD_OUT[0]).json()["usage"]
    assert tuned["prompt_tokens"] == base["prompt_tokens"]


def test_a_short_limit_cuts_the_answer(later: Client, job: dict[str, Any]) -> None:
    response = later.ask(job["fine_tuned_model"], HELD_OUT[0], max_tokens=3).json()
    assert response["choices"][0]["finish_reason"] == "length"
    assert response["usage"]["completion_tokens"] == 3


def test_several_choices_are_drawn_each_with_its_seed(later: Client, job: dict[str, Any]) -> None:
    def draw() -> list[str]:
        response = later.ask(job["fine_tuned_model"], HELD_OUT[0], n=6, temperature=2.0, seed=1)
        return [choice["message"]["content"] for choice in response.json()["choices"]]

    assert draw() == draw()
    assert len(set(draw())) > 1


@pytest.mark.parametrize("temperature", [-1, 2.1, "warm", True])
def test_a_temperature_that_is_none_is_named(
    later: Client, job: dict[str, Any], temperature: Any
) -> None:
    response = later.ask(job["fine_tuned_model"], HELD_OUT[0], temperature=temperature)
    assert error_of(response, 400)["param"] == "temperature"


def test_a_model_whose_files_are_broken_tells_it(
    later: Client, models_dir: Path, job: dict[str, Any]
) -> None:
    weights = models_dir / "jobs" / job["id"] / "model" / "model.json"
    kept = weights.read_bytes()
    weights.write_bytes(b"{")
    try:
        error = error_of(later.ask(job["fine_tuned_model"], HELD_OUT[0]), 500)
    finally:
        weights.write_bytes(kept)
    assert "cannot answer: ValueError: " in error["message"]


def test_without_pytorch_a_model_names_the_extra(
    later: Client, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "LIBRARY", "a_library_that_is_missing")
    error = error_of(later.ask(job["fine_tuned_model"], HELD_OUT[0]), 500)
    assert error["message"].endswith("needs PyTorch: pip install 'pytest-babyai[finetune]'")


def test_only_some_models_stay_loaded(
    later: Client, models_dir: Path, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    other_id = "ftjob-" + "0" * 24
    other = {**job, "id": other_id, "fine_tuned_model": "ft:other"}
    shutil.copytree(models_dir / "jobs" / job["id"], models_dir / "jobs" / other_id)
    write_json(models_dir / "jobs" / other_id / "job.json", other)
    monkeypatch.setattr(serve, "MAX_LOADED", 1)
    try:
        answers = [
            content_of(later.ask(name, HELD_OUT[0]))
            for name in (job["fine_tuned_model"], "ft:other", job["fine_tuned_model"])
        ]
        assert list(later.tuning.models._workers) == [job["fine_tuned_model"]]
    finally:
        shutil.rmtree(models_dir / "jobs" / other_id)
    assert len(set(answers)) == 1


def test_a_model_that_was_given_up_takes_no_more_questions(
    later: Client, job: dict[str, Any]
) -> None:
    content_of(later.ask(job["fine_tuned_model"], HELD_OUT[0]))
    [worker] = later.tuning.models._workers.values()
    worker.close()
    request = ChatRequest(job["fine_tuned_model"], HELD_OUT[0].messages)
    assert asyncio.run(worker.ask(request)) is None


def test_a_cancelled_training_leaves_no_model(offline: Client) -> None:
    job_id = offline.launch(
        training_file=offline.upload(as_json_lines(LEARNT)), hyperparameters={"n_epochs": 50}
    )
    offline.wait(job_id, "running")
    offline.request("POST", f"{JOBS}/{job_id}/cancel")
    offline.close()
    assert offline.get(f"{JOBS}/{job_id}")["status"] == "cancelled"
    assert offline.tuning.models.names() == []


WAITS_AFTER_AN_EPOCH = """
import sys, threading
from pytest_babyai.offline.finetuning import train, worker

keep = train._keep

def keep_and_wait(*arguments):
    keep(*arguments)
    threading.Event().wait()

train._keep = keep_and_wait
sys.exit(worker.main(sys.argv[1:]))
"""


def test_an_interrupted_training_is_taken_up_after_its_last_epoch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WAITS_AFTER_AN_EPOCH, str(tmp_path)]
    with closing(Client(tmp_path, lambda job_id: [*command, job_id])) as first:
        job_id = first.launch(
            training_file=first.upload(as_json_lines(LEARNT)), hyperparameters={"n_epochs": 3}
        )
        state = first.tuning.jobs.directory(job_id) / "unfinished.pt"
        while not state.exists():
            assert first.wait(job_id, "running", "validating_files")["status"] != "failed"
    assert first.tuning.jobs.get(job_id)["status"] == "running"
    with closing(Client(tmp_path)) as second:
        assert second.wait(job_id)["status"] == "succeeded"
    metrics = read_metrics(tmp_path, job_id)
    assert metrics is not None
    assert [item.epoch for item in metrics.epochs] == [1, 2, 3]
    assert [item.step for item in metrics.steps] == sorted({item.step for item in metrics.steps})
    assert not state.exists()


def test_a_trainer_ends_when_its_server_does(tmp_path: Path) -> None:
    with closing(Client(tmp_path)) as client:
        job_id = client.launch(
            training_file=client.upload(as_json_lines(LEARNT)), hyperparameters={"n_epochs": 50}
        )
    command = client.tuning.supervisor._command(job_id)
    trainer = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    trainer.communicate(timeout=DEADLINE_S)  # closes its input
    assert trainer.returncode == 1
    assert client.tuning.jobs.get(job_id)["status"] in ("validating_files", "running")


def test_a_deleted_model_is_gone_and_its_job_stays(
    models_dir: Path, job: dict[str, Any], tmp_path: Path
) -> None:
    name = job["fine_tuned_model"]
    shutil.copytree(models_dir, tmp_path / "models")
    with closing(Client(tmp_path / "models")) as client:
        assert client.ask(name, HELD_OUT[0]).status_code == 200
        deleted = client.request("DELETE", f"/v1/models/{name}")
        assert deleted.json() == {"id": name, "object": "model", "deleted": True}
        assert client.ask(name, HELD_OUT[0]).status_code == 404
        assert client.get(f"{JOBS}/{job['id']}")["status"] == "succeeded"


def test_a_server_in_a_process_of_its_own_serves_the_models_of_its_directory(
    models_dir: Path, job: dict[str, Any]
) -> None:
    messages = [{"role": role, "content": text} for role, text in HELD_OUT[0].messages]
    body = {"model": job["fine_tuned_model"], "messages": messages}
    with OfflineServer(models_dir=models_dir) as server:
        response = httpx.post(
            f"{server.url}/v1/chat/completions", json=body, trust_env=False, timeout=DEADLINE_S
        )
    assert json.loads(content_of(response))["action"] in ANIMALS


def test_a_server_imports_pytorch_only_where_a_trained_model_is_asked() -> None:
    program = textwrap.dedent("""
        import json, sys
        import pytest_babyai.offline.__main__
        from tests.unit.offline.finetuning_samples import Client, chats
        from pathlib import Path
        client = Client(Path(sys.argv[1]))
        client.get("/v1/models")
        client.ask("babyai-offline", chats()[0])
        client.get("/v1/fine_tuning/jobs")
        print(json.dumps("torch" in sys.modules))
    """)
    done = subprocess.run(
        [sys.executable, "-c", program, "nowhere"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) is False


def test_pytorch_is_there_where_the_whole_project_is_tested() -> None:
    assert find_spec("torch") is not None
