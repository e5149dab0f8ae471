"""Starts the trainer's process for one job after the other, and stops it.

A training belongs to the server that runs it: the trainer ends with the server, however that ends.
Its job is then unfinished and nobody's. The next server that is asked about it takes it up again:
training goes on after the last whole epoch and learns what it would have learned undisturbed. A
server that is not asked leaves it alone.
"""

from __future__ import annotations

import errno
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from pytest_babyai.offline.finetuning.chats import (
    ExamplesError,
    count_example_tokens,
    read_examples,
    require_enough,
    split,
)
from pytest_babyai.offline.finetuning.jobs import (
    CANCELLED,
    FINAL,
    MODEL_DIRECTORY,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    VALIDATING,
    FileStore,
    JobStore,
    model_name,
)
from pytest_babyai.offline.finetuning.metrics import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_babyai.offline.finetuning.chats import Example


STOP_TIMEOUT_S = 10.0

# Not "-m": that would put the current directory first, where a user's json.py would be imported.
_BOOTSTRAP = """\
import sys
sys.path[:] = [path for path in sys.path if path]
sys.path.append({root!r})
from pytest_babyai.offline.finetuning.worker import main
sys.exit(main(sys.argv[1:]))
"""


def trainer_command(models_dir: Path, job_id: str) -> list[str]:
    """Returns the command that trains one job's model."""
    bootstrap = _BOOTSTRAP.format(root=str(Path(__file__).resolve().parents[3]))
    return [sys.executable, "-c", bootstrap, str(models_dir), job_id]


def lock_of(directory: Path) -> FileLock | None:
    """Returns the lock of a job, held by one process at a time until that ends; None if taken."""
    lock = FileLock(directory / "lock", thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


class Supervisor:
    """Trains one model at a time; jobs that come meanwhile wait their turn.

    Args:
        jobs: Where the jobs are kept.
        command: Returns the command that trains a job's model, given the job's id.
    """

    def __init__(self, jobs: JobStore, command: Callable[[str], list[str]]) -> None:
        self._jobs = jobs
        self._command = command
        self._waiting: queue.Queue[str | None] = queue.Queue()
        self._locks: dict[str, FileLock] = {}
        self._changing = threading.Lock()
        self._running: tuple[str, subprocess.Popen[bytes]] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job_id: str) -> bool:
        """Puts a job in the queue; tells whether it was free to be taken by this server."""
        with self._changing:
            lock = None if job_id in self._locks else lock_of(self._jobs.directory(job_id))
            if lock is None:
                return False
            self._locks[job_id] = lock
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        self._waiting.put(job_id)
        return True

    def take_up(self, job: dict[str, Any]) -> None:
        """Goes on with a job that its server left unfinished; does nothing with any other."""
        if job["status"] in FINAL or not self.submit(job["id"]):
            return
        if job["status"] not in (VALIDATING, QUEUED):
            self._jobs.update(job["id"], status=QUEUED)
            self._jobs.add_event(job["id"], "The server was stopped; training is taken up again")

    def cancel(self, job_id: str) -> None:
        """Ends a job that is not finished; what it had learned is discarded."""
        self.take_up(self._jobs.get(job_id))
        with self._changing:
            self._jobs.finish(job_id, CANCELLED)
            self._jobs.add_event(job_id, "The job was cancelled")
            running = self._running
        if running and running[0] == job_id:
            _stop(running[1])

    def close(self) -> None:
        """Stops the training under way; its job stays unfinished."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._changing:
            self._waiting.put(None)
            running = self._running
        if running:
            _stop(running[1])
        thread.join()

    def _work(self) -> None:
        while (job_id := self._waiting.get()) is not None:
            try:
                self._train(job_id)
            finally:
                with self._changing:
                    self._locks.pop(job_id).release()

    def _train(self, job_id: str) -> None:
        with tempfile.TemporaryFile() as errors:
            with self._changing:
                if self._thread is None or self._jobs.get(job_id)["status"] in FINAL:
                    return
                process = self._spawn(job_id, errors)
                self._running = (job_id, process)
            status = process.wait()
            with self._changing:
                self._running = None
                is_unfinished = self._jobs.get(job_id)["status"] not in FINAL
            if process.stdin:
                process.stdin.close()
            if is_unfinished and self._thread is not None:
                self._jobs.fail(job_id, _reason(status, errors), "training_failed")

    def _spawn(self, job_id: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own program
            self._command(job_id),
            stdin=subprocess.PIPE,  # the trainer ends when its input does
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            # Threads that wait for each other let others have the core meanwhile.
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _reason(status: int, errors: IO[bytes]) -> str:
    errors.seek(0)
    said = errors.read().decode("utf-8", "replace").strip().splitlines()
    ended = f"with exit code {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
    detail = f": {said[-1]}" if said else ""
    return f"The trainer's process was ended {ended}{detail}"


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
        print(_one_line(error), file=sys.stderr)  # noqa: T201 - the server reads it
        return 1
    return 0


def _end_with_input() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(1)


def _one_line(error: Exception) -> str:
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
    jobs.add_event(
        job_id, f"Training starts on {len(train)} chats; {len(valid)} are for validation"
    )
    from pytest_babyai.offline.finetuning import train as training  # imports PyTorch

    training.use_cores()
    try:
        model, num_epochs = training.train_model(jobs, job, train, valid)
    except CancelledError:
        return
    model.save(jobs.directory(job_id) / MODEL_DIRECTORY)
    training.discard_state(jobs.directory(job_id))
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
