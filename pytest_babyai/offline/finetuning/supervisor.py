"""Starts the trainer's process for one job after the other, and stops it.

A training belongs to the server that runs it: the trainer ends with the server, however that ends.
Its job is then unfinished and nobody's. The next server that is asked about it takes it up again:
training goes on after the last whole epoch and learns what it would have learnt undisturbed. A
server that is not asked leaves it alone.
"""

from __future__ import annotations

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

from pytest_babyai.offline.finetuning.jobs import CANCELLED, FINAL, QUEUED, VALIDATING
from pytest_babyai.offline.finetuning.storage import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.offline.finetuning.jobs import JobStore

STOP_TIMEOUT_S = 10.0

# Not "-m": that would put the current directory first, where a user's json.py would be imported.
_BOOTSTRAP = """\
import sys
sys.path[:] = [path for path in sys.path if path]
sys.path.append({root!r})
from pytest_babyai.offline.finetuning.trainer import main
sys.exit(main(sys.argv[1:]))
"""


def trainer_command(models_dir: Path, job_id: str) -> list[str]:
    """Returns the command that trains one job's model."""
    bootstrap = _BOOTSTRAP.format(root=str(Path(__file__).resolve().parents[3]))
    return [sys.executable, "-c", bootstrap, str(models_dir), job_id]


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
        lock = FileLock(self._jobs.directory(job_id) / "lock")
        with self._changing:
            if job_id in self._locks or not lock.acquire():
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
        """Ends a job that is not finished; what it had learnt is discarded."""
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
