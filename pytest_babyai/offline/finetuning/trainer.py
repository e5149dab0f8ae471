"""The trainer's process: one job from its files to its model."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.offline.finetuning.examples import (
    ExamplesError,
    count_example_tokens,
    read_examples,
    require_enough,
    split,
)
from pytest_babyai.offline.finetuning.files import FileStore
from pytest_babyai.offline.finetuning.jobs import (
    MODEL_DIRECTORY,
    RUNNING,
    SUCCEEDED,
    VALIDATING,
    JobStore,
    model_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pytest_babyai.offline.finetuning.examples import Example

NICENESS = 10
VALID_SHARE = 0.05


def main(arguments: Sequence[str]) -> int:
    """Trains the model of one job.

    Args:
        arguments: The directory of files and jobs, and the job's id.

    Returns:
        The exit code: 0 if the job has its final status, 1 if the server has to give it one; the
        reason is then the last line on standard error.
    """
    models_dir, job_id = Path(arguments[0]), arguments[1]
    threading.Thread(target=_end_with_input, daemon=True).start()
    if hasattr(os, "nice"):
        os.nice(NICENESS)  # whoever asks the server goes first
    try:
        run_job(models_dir, job_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job has to tell it
        print(_reason(error), file=sys.stderr)  # noqa: T201 - the server reads it
        return 1
    return 0


def _end_with_input() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(1)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "The disk is full: the model cannot be kept. Models trained before are untouched."
    if isinstance(error, MemoryError):
        return "Not enough memory to train the model."
    return " ".join(f"{type(error).__name__}: {error}".split())


def run_job(models_dir: Path, job_id: str) -> None:
    """Validates a job's files, trains its model and keeps it.

    A job whose files are at fault fails; one that is cancelled meanwhile is left at that.

    Raises:
        OSError: The model or the job cannot be written.
    """
    jobs, files = JobStore(models_dir / "jobs"), FileStore(models_dir / "files")
    job = jobs.update(job_id, status=VALIDATING)
    jobs.add_event(job_id, f"Validating training file: {job['training_file']}")
    try:
        train, valid = load_examples(job, files)
    except ExamplesError as error:
        jobs.fail(job_id, str(error), error.code, error.param)
        return
    jobs.update(job_id, status=RUNNING)
    jobs.add_event(job_id, f"Training starts on {len(train)} chats; {len(valid)} are kept back")
    from pytest_babyai.offline.finetuning import progress, run  # imports PyTorch

    run.use_cores()
    try:
        model, num_epochs = run.train_model(jobs, job, train, valid)
    except progress.CancelledError:
        return
    model.save(jobs.directory(job_id) / MODEL_DIRECTORY)
    run.discard_state(jobs.directory(job_id))
    name = model_name(job)
    jobs.add_event(job_id, f"New fine-tuned model created: {name}")
    jobs.add_event(job_id, "The job has successfully completed")
    jobs.finish(
        job_id,
        SUCCEEDED,
        fine_tuned_model=name,
        trained_tokens=num_epochs * count_example_tokens(train),
        estimated_finish=None,
    )


def load_examples(job: dict[str, Any], files: FileStore) -> tuple[list[Example], list[Example]]:
    """Reads a job's chats.

    Returns:
        The chats to learn and those to measure with.

    Raises:
        ExamplesError: A file is gone, holds anything but chats, or too few of them.
    """
    train = _load(job["training_file"], "training_file", files)
    require_enough(train, job["training_file"])
    if job["validation_file"] is None:
        return split(train, VALID_SHARE)
    valid = _load(job["validation_file"], "validation_file", files)
    if not valid:
        message = f"{job['validation_file']} has no example"
        raise ExamplesError(message, "invalid_n_examples", "validation_file")
    return train, valid


def _load(file_id: str, param: str, files: FileStore) -> list[Example]:
    try:
        content = files.path(file_id).read_bytes()
    except FileNotFoundError:
        message = f"{file_id} was deleted before training began"
        raise ExamplesError(message, "file_not_found", param) from None
    return read_examples(content, file_id, param)
