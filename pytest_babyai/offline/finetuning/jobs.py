"""Fine-tuning jobs and their events, kept in a directory.

The directory is the truth: the server and the trainer's process both read and write it, and a
server started later finds what an earlier one left.
"""

from __future__ import annotations

import re
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_babyai.offline.chat import ApiError
from pytest_babyai.offline.finetuning.storage import (
    append_json_line,
    read_json,
    read_json_lines,
    write_json,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.offline.finetuning.requests import JobRequest

VALIDATING = "validating_files"
QUEUED = "queued"
RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
CANCELLED = "cancelled"
FINAL = (SUCCEEDED, FAILED, CANCELLED)

MODEL_DIRECTORY = "model"
"""Where a job's trained model is, below the job's own directory; there only once it is whole."""

_ID = re.compile(r"ftjob-[0-9a-f]{24}")


class JobStore:
    """Jobs by their ids: OpenAI's job object and its events."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unwritten: dict[str, dict[str, Any]] = {}

    def create(self, request: JobRequest) -> dict[str, Any]:
        """Keeps a new job.

        Returns:
            Its job object.

        Raises:
            ApiError: It cannot be written (507).
        """
        job = _job_object(request)
        try:
            write_json(self.directory(job["id"]) / "job.json", job)
            self.add_event(job["id"], f"Created fine-tuning job: {job['id']}")
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"The job cannot be kept in {self._directory}: {reason}"
            raise ApiError(message, status=507) from error
        return job

    def get(self, job_id: str) -> dict[str, Any]:
        """Returns a job's object.

        Raises:
            ApiError: There is no such job (404).
        """
        job = self._read(job_id) if _ID.fullmatch(job_id) else None
        if job is None:
            message = f"Could not find fine tune: {job_id}"
            raise ApiError(message, 404, "fine_tuning_job_id", "fine_tune_not_found")
        return job

    def _read(self, job_id: str) -> dict[str, Any] | None:
        job = self._unwritten.get(job_id) or read_json(self.directory(job_id) / "job.json")
        return dict(job) if job else None

    def all(self) -> list[dict[str, Any]]:
        """Returns every job's object, the newest first."""
        found = [self._read(path.parent.name) for path in self._directory.glob("*/job.json")]
        jobs = [job for job in found if job is not None]
        return sorted(jobs, key=lambda job: (job["created_at"], job["id"]), reverse=True)

    def update(self, job_id: str, **fields: Any) -> dict[str, Any]:
        """Changes a job.

        Returns:
            The changed job object.

        Raises:
            OSError: It cannot be written.
        """
        job = {**self.get(job_id), **fields}
        write_json(self.directory(job_id) / "job.json", job)
        self._unwritten.pop(job_id, None)
        return job

    def finish(self, job_id: str, status: str, **fields: Any) -> dict[str, Any]:
        """Gives a job its final status.

        Raises:
            OSError: It cannot be written.
        """
        return self.update(job_id, status=status, finished_at=int(time.time()), **fields)

    def fail(self, job_id: str, message: str, code: str, param: str | None = None) -> None:
        """Gives a job the status failed, with the reason as error and as event.

        On a full disk nothing can be written: this process tells it nevertheless.
        """
        error = {"code": code, "message": message, "param": param}
        changes = {"status": FAILED, "finished_at": int(time.time()), "error": error}
        with suppress(OSError):
            # First the event: who sees the status looks for the reason at once.
            self.add_event(job_id, message, level="error")
        try:
            self.update(job_id, **changes)
        except OSError:
            self._unwritten[job_id] = {**self.get(job_id), **changes}

    def add_event(
        self, job_id: str, message: str, *, level: str = "info", data: dict[str, Any] | None = None
    ) -> None:
        """Adds an event: a message, or measured figures if there is data.

        Raises:
            OSError: It cannot be written.
        """
        event = {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{uuid.uuid4().hex[:24]}",
            "created_at": int(time.time()),
            "level": level,
            "message": message,
            "type": "message" if data is None else "metrics",
            "data": data or {},
        }
        append_json_line(self.directory(job_id) / "events.jsonl", event)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Returns a job's events, the newest first.

        Raises:
            ApiError: There is no such job (404).
        """
        self.get(job_id)
        return read_json_lines(self.directory(job_id) / "events.jsonl")[::-1]

    def directory(self, job_id: str) -> Path:
        """Returns where everything of a job is."""
        return self._directory / job_id


def _job_object(request: JobRequest) -> dict[str, Any]:
    hyperparameters = {
        "n_epochs": request.num_epochs or "auto",
        "batch_size": request.batch_size or "auto",
        "learning_rate_multiplier": request.learning_rate_multiplier or "auto",
    }
    return {
        "object": "fine_tuning.job",
        "id": f"ftjob-{uuid.uuid4().hex[:24]}",
        "model": request.model,
        "created_at": int(time.time()),
        "finished_at": None,
        "fine_tuned_model": None,
        "organization_id": "pytest-babyai",
        "result_files": [],
        "status": VALIDATING,
        "validation_file": request.validation_file,
        "training_file": request.training_file,
        "hyperparameters": hyperparameters,
        "trained_tokens": None,
        "error": None,
        "user_provided_suffix": request.suffix,
        "seed": request.seed,
        "integrations": [],
        "estimated_finish": None,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        "metadata": request.metadata,
    }


def model_name(job: dict[str, Any]) -> str:
    """Returns the name that a job's model gets, as OpenAI forms it."""
    suffix = job["user_provided_suffix"] or ""
    return f"ft:{job['model']}:{job['organization_id']}:{suffix}:{job['id'][-8:]}"
