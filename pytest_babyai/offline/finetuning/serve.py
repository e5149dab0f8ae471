"""Fine-tuned models behind their names, loaded when they are first asked."""

from __future__ import annotations

import asyncio
import importlib.util
import queue
import shutil
import threading
from concurrent.futures import Future as ThreadFuture
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.offline.chat import Answer, ApiError, Question
from pytest_babyai.offline.finetuning.jobs import MODEL_DIRECTORY, SUCCEEDED, JobStore

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.offline.chat import ChatRequest
    from pytest_babyai.offline.finetuning.model import LanguageModel

MAX_TOGETHER = 64
"""Prompts that are answered as one batch, at most."""
MAX_LOADED = 4
MAX_THREADS = 4
"""Cores for answering: batches are small, and whoever plays needs some as well."""
LIBRARY = "torch"


class ServedModel(NamedTuple):
    """A model that may be asked: its name, when it was made, where it is."""

    name: str
    created_s: int
    directory: Path


class FineTunedModels:
    """The models of a directory, those included that another process has just finished.

    Args:
        models_dir: Where files, jobs and models are kept.
    """

    def __init__(self, models_dir: Path) -> None:
        self._jobs = JobStore(models_dir / "jobs")
        self._workers: dict[str, _Worker] = {}

    def all(self) -> list[ServedModel]:
        """Returns the models, the oldest first."""
        served = []
        for job in reversed(self._jobs.all()):
            directory = self._jobs.directory(job["id"]) / MODEL_DIRECTORY
            if job["status"] == SUCCEEDED and directory.is_dir():
                name, made_s = job["fine_tuned_model"], job["finished_at"]
                served.append(ServedModel(name, made_s, directory))
        return served

    def names(self) -> list[str]:
        """Returns the models' names."""
        return [model.name for model in self.all()]

    def delete(self, name: str) -> bool:
        """Deletes a model; its job is kept. Tells whether there was one."""
        for model in self.all():
            if model.name == name:
                self._forget(name)
                shutil.rmtree(model.directory)
                return True
        return False

    async def answers(self, request: ChatRequest) -> list[Answer] | None:
        """Answers a request; None if none of the models has the name.

        Raises:
            ApiError: PyTorch is missing, or the model cannot be loaded (500).
        """
        worker = self._worker(request.model)
        if worker is None:
            return None
        return await worker.ask(request)

    def close(self) -> None:
        """Frees the loaded models."""
        for name in list(self._workers):
            self._forget(name)

    def _worker(self, name: str) -> _Worker | None:
        worker = self._workers.pop(name, None)
        if worker is None:
            found = [model for model in self.all() if model.name == name]
            if not found:
                return None
            _require_torch(name)
            worker = _Worker(found[0])
        if len(self._workers) >= MAX_LOADED:
            self._forget(next(iter(self._workers)))
        self._workers[name] = worker  # the latest asked is last
        return worker

    def _forget(self, name: str) -> None:
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.close()


def _require_torch(name: str) -> None:
    if importlib.util.find_spec(LIBRARY) is None:
        message = f"The model {name!r} needs PyTorch: pip install 'pytest-babyai[finetune]'"
        raise ApiError(message, status=500, param="model", code="missing_extra")


class _Waiting(NamedTuple):
    """A question and its answer to come."""

    question: Question
    answer: ThreadFuture[Answer]


class _Worker:
    """A model in a thread of its own, which answers all that waits as one batch."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        threading.Thread(target=self._work, daemon=True).start()

    async def ask(self, request: ChatRequest) -> list[Answer] | None:
        """Answers a request; None if the model was given up meanwhile."""
        waiting = [
            _Waiting(
                Question(request.messages, request.temperature, request.seed + index),
                ThreadFuture(),
            )
            for index in range(request.num_choices)
        ]
        with self._closing:
            if self._is_closed:
                return None
            for item in waiting:
                self._waiting.put(item)
        return list(await asyncio.gather(*(asyncio.wrap_future(item.answer) for item in waiting)))

    def close(self) -> None:
        """Ends the thread once all that waits is answered."""
        with self._closing:
            self._is_closed = True
            self._waiting.put(None)

    def _work(self) -> None:
        model: LanguageModel | None = None
        while batch := self._next_batch():
            try:
                model = model or _load(self._served)
                answers = model.answer([item.question for item in batch])
            except Exception as error:  # noqa: BLE001 - it belongs to whoever asked
                for item in batch:
                    item.answer.set_exception(_as_api_error(self._served, error))
                continue
            for item, answer in zip(batch, answers, strict=True):
                item.answer.set_result(answer)

    def _next_batch(self) -> list[_Waiting]:
        """Waits for a question and takes those that came meanwhile; none means the end."""
        batch: list[_Waiting] = []
        item = self._waiting.get()
        while item is not None:
            if item.answer.set_running_or_notify_cancel():
                batch.append(item)
            if len(batch) == MAX_TOGETHER or (batch and self._waiting.empty()):
                return batch
            item = self._waiting.get()
        if batch:
            self._waiting.put(None)  # the end comes after these
        return batch


def _load(served: ServedModel) -> LanguageModel:
    from pytest_babyai.offline.finetuning.model import LanguageModel  # imports PyTorch
    from pytest_babyai.offline.finetuning.train import use_cores

    use_cores(MAX_THREADS)
    return LanguageModel.load(served.directory)


def _as_api_error(served: ServedModel, error: Exception) -> ApiError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return ApiError(f"The model {served.name!r} cannot answer: {reason}", 500, "model")
