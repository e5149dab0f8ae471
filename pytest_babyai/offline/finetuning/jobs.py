"""Uploaded files, fine-tuning jobs and their events, kept in a directory.

The directory is the truth: the server and the trainer's process both read and write it, and a
server started later finds what an earlier one left. Files are written wholly or not at all.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from pytest_babyai.offline.chat import ApiError

if TYPE_CHECKING:
    from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file as a whole: a reader meets the old content or the new one.

    Raises:
        OSError: It cannot be written; the old content is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file as a whole.

    Raises:
        OSError: It cannot be written; the old content is kept.
    """
    write_bytes(path, json.dumps(value, indent=2, ensure_ascii=False).encode())


def read_json(path: Path) -> Any:
    """Returns a JSON file's content; None if there is no such file or it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def append_json_line(path: Path, value: Any) -> None:
    """Adds a line to a JSON Lines file.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("ab") as file:
        file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")


def read_json_lines(path: Path) -> list[Any]:
    """Returns the lines of a JSON Lines file without a last one that was cut off."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [value for line in lines if (value := _read_line(line)) is not None]


def _read_line(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


PURPOSE = "fine-tune"
MAX_FILE_BYTES = 512 * 2**20

_FILE_ID = re.compile(r"file-[0-9a-f]{24}")


class FileStore:
    """Files by their ids: the content as it came, next to OpenAI's file object."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def add(self, filename: str, purpose: str, content: bytes) -> dict[str, Any]:
        """Keeps a file.

        Returns:
            Its file object.

        Raises:
            ApiError: The purpose is another than fine-tuning, the file is empty or too large, or
                cannot be written (507).
        """
        if purpose != PURPOSE:
            message = f"{purpose!r} is not one of [{PURPOSE!r}] - 'purpose'"
            raise ApiError(message, param="purpose")
        if not content:
            raise ApiError(f"File {filename!r} is empty.", param="file")
        if len(content) > MAX_FILE_BYTES:
            message = f"File {filename!r} is larger than {MAX_FILE_BYTES} bytes."
            raise ApiError(message, status=413, param="file")
        described = _file_object(filename, len(content))
        try:
            write_bytes(self.path(described["id"]), content)
            write_json(self._description(described["id"]), described)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"File {filename!r} cannot be kept in {self._directory}: {reason}"
            raise ApiError(message, status=507) from error
        return described

    def get(self, file_id: str, *, param: str | None = "id") -> dict[str, Any]:
        """Returns a file's object.

        Raises:
            ApiError: There is no such file (404).
        """
        described = read_json(self._description(file_id)) if _FILE_ID.fullmatch(file_id) else None
        if described is None:
            raise ApiError(f"No such File object: {file_id}", status=404, param=param)
        file_object: dict[str, Any] = described
        return file_object

    def all(self) -> list[dict[str, Any]]:
        """Returns every file's object, the newest first."""
        found = [read_json(path) for path in self._directory.glob("file-*.json")]
        described = [item for item in found if item is not None]
        return sorted(described, key=lambda item: (item["created_at"], item["id"]), reverse=True)

    def content(self, file_id: str) -> bytes:
        """Returns a file's content.

        Raises:
            ApiError: There is no such file (404).
        """
        self.get(file_id)
        return self.path(file_id).read_bytes()

    def delete(self, file_id: str) -> None:
        """Deletes a file.

        Raises:
            ApiError: There is no such file (404).
        """
        self.get(file_id)
        self._description(file_id).unlink(missing_ok=True)
        self.path(file_id).unlink(missing_ok=True)

    def path(self, file_id: str) -> Path:
        """Returns where a file's content is."""
        return self._directory / f"{file_id}.jsonl"

    def _description(self, file_id: str) -> Path:
        return self._directory / f"{file_id}.json"


def _file_object(filename: str, num_bytes: int) -> dict[str, Any]:
    return {
        "id": f"file-{uuid.uuid4().hex[:24]}",
        "object": "file",
        "bytes": num_bytes,
        "created_at": int(time.time()),
        "expires_at": None,
        "filename": filename,
        "purpose": PURPOSE,
        "status": "processed",
        "status_details": None,
    }


VALIDATING = "validating_files"
QUEUED = "queued"
RUNNING = "running"
SUCCEEDED = "succeeded"
FAILED = "failed"
CANCELLED = "cancelled"
FINAL = (SUCCEEDED, FAILED, CANCELLED)

MODEL_DIRECTORY = "model"
"""Where a job's trained model is, below the job's own directory; there only once it is whole."""

_JOB_ID = re.compile(r"ftjob-[0-9a-f]{24}")


class JobRequest(msgspec.Struct, frozen=True):
    """A request for a fine-tuning job, checked.

    Attributes:
        model: Name of the model to start from.
        training_file: Id of the uploaded chats.
        validation_file: Id of the chats to measure with; None keeps some of the training file's
            back.
        num_epochs: Passes over the chats; None leaves the choice to the trainer.
        batch_size: Chats a step; None as before.
        learning_rate_multiplier: Factor of the trainer's own learning rate; None as before.
        seed: Seed of all that is left to chance. The same job with the same seed learns the same.
        suffix: Part of the model's name.
        metadata: Texts by names, given back as they are.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    num_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    seed: int = 0
    suffix: str | None = None
    metadata: dict[str, str] | None = None


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
        job = self._read(job_id) if _JOB_ID.fullmatch(job_id) else None
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
