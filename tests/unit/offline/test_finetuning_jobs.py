"""Jobs without PyTorch: trainers that are other programs, and files that are no chats."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.offline.finetuning import api, jobs
from pytest_babyai.offline.finetuning.jobs import write_json
from pytest_babyai.offline.finetuning.worker import lock_of
from tests.unit.offline.finetuning_samples import (
    DEADLINE_S,
    Client,
    as_json_lines,
    chats,
    error_of,
    program,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[[str], Client]

JOBS = "/v1/fine_tuning/jobs"
CHATS = as_json_lines(chats())
SLEEP = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets jobs be launched where there is no PyTorch: these trainers do without."""
    if find_spec("torch") is None:
        monkeypatch.setattr(api, "LIBRARIES", ())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Makes servers over the same directory whose trainer is a program of the test's own."""
    clients: list[Client] = []

    def start(source: str) -> Client:
        clients.append(Client(tmp_path / "models", program(source)))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def launch(client: Client, content: bytes = CHATS, **fields: Any) -> str:
    return client.launch(training_file=client.upload(content), **fields)


@pytest.mark.parametrize("prefix", ["/v1"])
def test_a_job_object_has_the_shape_of_openai(serve: Serve, prefix: str) -> None:
    client = serve(SLEEP)
    file_id = client.upload(CHATS)
    body = {"model": "babyai-offline", "training_file": file_id, "suffix": "try", "seed": 4}
    job = client.request("POST", f"{prefix}/fine_tuning/jobs", json=body).json()
    auto = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
    assert job.pop("id").startswith("ftjob-")
    assert job.pop("created_at") > 1_700_000_000
    assert job == {
        "object": "fine_tuning.job",
        "model": "babyai-offline",
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "pytest-babyai",
        "result_files": [],
        "status": "validating_files",
        "validation_file": None,
        "training_file": file_id,
        "hyperparameters": auto,
        "trained_tokens": None,
        "error": None,
        "user_provided_suffix": "try",
        "seed": 4,
        "integrations": [],
        "estimated_finish": None,
        "method": {"type": "supervised", "supervised": {"hyperparameters": auto}},
        "metadata": None,
    }


def test_hyperparameters_are_given_back(serve: Serve) -> None:
    client = serve(SLEEP)
    job_id = launch(client, hyperparameters={"n_epochs": 2})
    job = client.get(f"{JOBS}/{job_id}")
    assert job["hyperparameters"]["n_epochs"] == 2
    assert job["method"]["supervised"]["hyperparameters"]["n_epochs"] == 2


def test_jobs_are_listed_by_pages(serve: Serve) -> None:
    client = serve(SLEEP)
    launched = {launch(client) for _ in range(3)}
    first = client.get(JOBS, limit=2)
    rest = client.get(JOBS, after=first["last_id"])
    assert first["has_more"]
    assert {job["id"] for job in first["data"] + rest["data"]} == launched


@pytest.mark.parametrize("path", ["", "/events", "/checkpoints"])
@pytest.mark.parametrize("job_id", ["ftjob-1", "..", "ftjob-" + "0" * 24])
def test_an_unknown_job_is_not_found(offline: Client, job_id: str, path: str) -> None:
    assert offline.request("GET", f"{JOBS}/{job_id}{path}").status_code == 404


def test_an_unknown_base_model_is_not_found(offline: Client) -> None:
    body = {"model": "babyai-ofline", "training_file": offline.upload(CHATS)}
    error = error_of(offline.request("POST", JOBS, json=body), 404)
    assert "did you mean 'babyai-offline'?" in error["message"]


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_an_unknown_file_is_not_found(offline: Client, param: str) -> None:
    body = {"model": "babyai-offline", "training_file": offline.upload(CHATS), param: "file-1"}
    error = error_of(offline.request("POST", JOBS, json=body), 404)
    assert (error["message"], error["param"]) == ("No such File object: file-1", param)


def test_without_pytorch_the_extra_is_named(
    offline: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LIBRARIES", ("a_library_that_is_missing",))
    body = {"model": "babyai-offline", "training_file": offline.upload(CHATS)}
    assert error_of(offline.request("POST", JOBS, json=body), 400)["message"] == (
        "Fine-tuning with the offline model needs a_library_that_is_missing: "
        "pip install 'pytest-babyai[finetune]'"
    )


def test_a_line_that_is_no_chat_fails_the_job(offline: Client) -> None:
    file_id = offline.upload(CHATS + b"\n{broken")
    job = offline.wait(offline.launch(training_file=file_id))
    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_file_format"
    assert job["error"]["param"] == "training_file"
    assert f"{file_id}, line {len(chats()) + 1}: not valid JSON" in job["error"]["message"]


def test_a_broken_validation_file_fails_the_job(offline: Client) -> None:
    files = {"training_file": offline.upload(CHATS), "validation_file": offline.upload(b"{")}
    job = offline.wait(offline.launch(**files))
    assert (job["status"], job["error"]["param"]) == ("failed", "validation_file")


def test_too_few_chats_fail_the_job(offline: Client) -> None:
    job = offline.wait(launch(offline, as_json_lines(chats()[:9])))
    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_n_examples"
    assert job["error"]["message"].endswith("has 9 examples, but must have at least 10 examples")
    assert job["finished_at"] >= job["created_at"]


def test_a_failure_is_the_last_event(offline: Client) -> None:
    job_id = launch(offline, as_json_lines(chats()[:9]))
    error = offline.wait(job_id)["error"]
    latest, *earlier = offline.get(f"{JOBS}/{job_id}/events")["data"]
    assert (latest["level"], latest["message"]) == ("error", error["message"])
    assert {event["object"] for event in [latest, *earlier]} == {"fine_tuning.job.event"}


def test_a_trainer_that_ends_in_error_fails_the_job_with_its_last_line(serve: Serve) -> None:
    client = serve("import sys; sys.exit('noise\\nThe disk is full')")
    job = client.wait(launch(client))
    assert job["status"] == "failed"
    assert job["error"]["message"] == (
        "The trainer's process was ended with exit code 1: The disk is full"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_trainer_that_is_killed_fails_the_job(serve: Serve) -> None:
    client = serve("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    job = client.wait(launch(client))
    assert job["error"]["message"] == "The trainer's process was ended by SIGKILL"


def test_a_failed_job_leaves_the_next_one_its_turn(serve: Serve) -> None:
    client = serve("import sys; sys.exit(3)")
    failed = [client.wait(launch(client))["status"] for _ in range(2)]
    assert failed == ["failed", "failed"]


def test_a_cancelled_job_stays_cancelled(serve: Serve) -> None:
    client = serve(SLEEP)
    job_id = launch(client)
    response = client.request("POST", f"{JOBS}/{job_id}/cancel")
    assert response.json()["status"] == "cancelled"
    client.close()
    assert client.get(f"{JOBS}/{job_id}")["status"] == "cancelled"
    assert client.messages(job_id)[-1] == "The job was cancelled"


def test_a_job_that_waits_can_be_cancelled(serve: Serve) -> None:
    client = serve(SLEEP)
    launch(client)
    waiting = launch(client)
    assert client.request("POST", f"{JOBS}/{waiting}/cancel").json()["status"] == "cancelled"


def test_a_finished_job_cannot_be_cancelled(serve: Serve) -> None:
    client = serve("import sys; sys.exit(3)")
    job_id = client.wait(launch(client))["id"]
    error = error_of(client.request("POST", f"{JOBS}/{job_id}/cancel"), 400)
    assert error["message"] == f"Job has already completed: {job_id} has the status failed"


def test_a_job_of_a_server_that_ended_is_taken_up_by_the_next_one_asked(serve: Serve) -> None:
    first = serve(SLEEP)
    job_id = launch(first)
    first.tuning.jobs.update(job_id, status="running")
    first.close()
    second = serve("import sys; sys.exit('taken up')")
    assert second.wait(job_id)["error"]["message"].endswith("taken up")
    assert "The server was stopped; training is taken up again" in second.messages(job_id)


def test_a_job_that_nobody_asks_about_is_left_alone(serve: Serve) -> None:
    first = serve(SLEEP)
    job_id = launch(first)
    first.close()
    second = serve("import sys; sys.exit(3)")
    assert [job["status"] for job in second.get(JOBS)["data"]] == ["validating_files"]
    assert lock_of(second.tuning.jobs.directory(job_id)) is not None


def test_a_job_of_a_server_that_runs_is_left_to_it(serve: Serve) -> None:
    first = serve(SLEEP)
    job_id = launch(first)
    second = serve("import sys; sys.exit(3)")
    assert second.get(f"{JOBS}/{job_id}")["status"] == "validating_files"
    assert second.messages(job_id) == [f"Created fine-tuning job: {job_id}"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_trainer_ends_when_its_server_does(tmp_path: Path) -> None:
    with closing(Client(tmp_path / "models")) as client:
        job_id = launch(client)
    command = client.tuning.supervisor._command(job_id)
    trainer = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    trainer.communicate(timeout=DEADLINE_S)  # closes its input
    assert trainer.returncode in (1, 0, -signal.SIGTERM)


def test_on_a_full_disk_the_job_tells_that_it_failed(
    offline: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = launch(offline, as_json_lines(chats()[:9]))
    offline.wait(job_id)

    def refuse(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path), len(value))

    monkeypatch.setattr(jobs, "write_json", refuse)
    offline.tuning.jobs.fail(job_id, "The disk is full", "training_failed")
    job = offline.get(f"{JOBS}/{job_id}")
    assert (job["status"], job["error"]["message"]) == ("failed", "The disk is full")


def test_a_job_that_cannot_be_written_is_refused(
    offline: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "babyai-offline", "training_file": offline.upload(CHATS)}

    def refuse(path: Path, value: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path), len(value))

    monkeypatch.setattr(jobs, "write_json", refuse)
    assert error_of(offline.request("POST", JOBS, json=body), 507)["message"] == (
        f"The job cannot be kept in {tmp_path / 'models' / 'jobs'}: No space left on device"
    )


def test_a_job_file_cut_off_in_the_middle_is_no_job(offline: Client, tmp_path: Path) -> None:
    directory = tmp_path / "models" / "jobs" / ("ftjob-" + "0" * 24)
    write_json(directory / "job.json", {})
    (directory / "job.json").write_text('{"id": "ftjob-')
    assert offline.get(JOBS)["data"] == []
