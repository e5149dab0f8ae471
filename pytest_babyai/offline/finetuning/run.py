"""One whole training: chats in, a kept model out, progress told on the way."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from pytest_babyai.offline.finetuning.batches import encode
from pytest_babyai.offline.finetuning.jobs import model_name
from pytest_babyai.offline.finetuning.metrics import EpochMetrics, TrainingMetrics
from pytest_babyai.offline.finetuning.model import LanguageModel
from pytest_babyai.offline.finetuning.progress import Progress
from pytest_babyai.offline.finetuning.serving import Question
from pytest_babyai.offline.finetuning.tokenizer import learn_tokenizer
from pytest_babyai.offline.finetuning.training import (
    PEAK_LEARNING_RATE,
    Training,
    TrainingPlan,
    choose_batch_size,
    choose_num_epochs,
    choose_size,
    evaluate,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_babyai.offline.finetuning.batches import EncodedChat
    from pytest_babyai.offline.finetuning.examples import Example
    from pytest_babyai.offline.finetuning.jobs import JobStore
    from pytest_babyai.offline.finetuning.tokenizer import Tokenizer

STATE_FILE = "unfinished.pt"
MAX_ANSWERED = 256
"""Chats kept back that are answered after each epoch; in the loss all of them count."""
ANSWERED_TOGETHER = 64
MAX_TOKENIZER_EXAMPLES = 4000
MIN_PROMPT, MAX_PROMPT = 256, 1024
"""Limits of the longest prompt, in tokens."""


def train_model(
    jobs: JobStore, job: dict[str, Any], train: Sequence[Example], valid: Sequence[Example]
) -> tuple[LanguageModel, int]:
    """Trains a job's model; goes on with what a stopped training left.

    Returns:
        The model, not yet kept, and the number of its epochs.

    Raises:
        OSError: The progress cannot be written.
    """
    tokenizer = _learn_tokenizer(train)
    chats = encode(train, tokenizer, MAX_PROMPT)
    size = choose_size(tokenizer.size, len(chats))
    training = Training(size, chats, _settle(jobs, job, chats))
    model = _model(tokenizer, training, chats)
    directory = jobs.directory(job["id"])
    _restore(training, directory)
    progress = Progress(jobs, job["id"], _described(job, training, chats, valid))
    valid_chats = encode(valid, tokenizer, MAX_PROMPT)
    began_s = time.perf_counter() - progress.duration_s
    while training.epoch < training.plan.num_epochs:
        training.run_epoch(progress.step)
        loss, token_accuracy = evaluate(training.network, valid_chats)
        progress.epoch(
            EpochMetrics(
                step=training.step,
                epoch=training.epoch,
                valid_loss=loss,
                valid_token_accuracy=token_accuracy,
                valid_action_accuracy=action_accuracy(model, valid[:MAX_ANSWERED]),
                duration_s=time.perf_counter() - began_s,
            )
        )
        _keep(training, directory)
    return model, training.plan.num_epochs


def _learn_tokenizer(train: Sequence[Example]) -> Tokenizer:
    stride = max(1, len(train) // MAX_TOKENIZER_EXAMPLES)
    sample = train[::stride]
    return learn_tokenizer([item.messages for item in sample], [item.answer for item in sample])


def _settle(jobs: JobStore, job: dict[str, Any], chats: Sequence[EncodedChat]) -> TrainingPlan:
    """Chooses what the request left open, and lets the job tell it."""
    wanted = job["method"]["supervised"]["hyperparameters"]
    settled = {
        "n_epochs": choose_num_epochs(chats),
        "batch_size": choose_batch_size(len(chats)),
        "learning_rate_multiplier": 1.0,
    } | {name: value for name, value in wanted.items() if value != "auto"}
    method = {"type": "supervised", "supervised": {"hyperparameters": settled}}
    jobs.update(job["id"], hyperparameters=settled, method=method)
    return TrainingPlan(
        num_epochs=int(settled["n_epochs"]),
        batch_size=int(settled["batch_size"]),
        learning_rate=settled["learning_rate_multiplier"] * PEAK_LEARNING_RATE,
        seed=job["seed"],
    )


def _model(tokenizer: Tokenizer, training: Training, chats: Sequence[EncodedChat]) -> LanguageModel:
    longest = max(len(chat.prompt) for chat in chats)
    max_prompt = min(max(2 * longest, MIN_PROMPT), MAX_PROMPT)
    max_answer = 2 * max(len(chat.answer) for chat in chats)
    return LanguageModel(tokenizer, training.network, max_prompt, max_answer)


def _described(
    job: dict[str, Any],
    training: Training,
    chats: Sequence[EncodedChat],
    valid: Sequence[Example],
) -> TrainingMetrics:
    return TrainingMetrics(
        job_id=job["id"],
        model=model_name(job),
        num_train=len(chats),
        num_valid=len(valid),
        num_parameters=training.network.num_parameters,
        num_epochs=training.plan.num_epochs,
        seed=job["seed"],
    )


def _keep(training: Training, directory: Path) -> None:
    """Keeps the state of an unfinished training; without room for it, a stop costs more."""
    draft = directory / f".{STATE_FILE}"
    with suppress(OSError, RuntimeError):  # PyTorch tells a full disk as a RuntimeError
        with draft.open("wb") as file:
            torch.save(training.state(), file)
        draft.replace(directory / STATE_FILE)
    draft.unlink(missing_ok=True)


def _restore(training: Training, directory: Path) -> None:
    path = directory / STATE_FILE
    if path.exists():
        training.restore(torch.load(path, map_location="cpu", weights_only=True))


def discard_state(directory: Path) -> None:
    """Deletes the state of a training that is finished."""
    (directory / STATE_FILE).unlink(missing_ok=True)


def action_accuracy(model: LanguageModel, examples: Sequence[Example]) -> float:
    """Returns the share of chats for which the model writes the same action."""
    num_right = 0
    for start in range(0, len(examples), ANSWERED_TOGETHER):
        asked = examples[start : start + ANSWERED_TOGETHER]
        answers = model.answer([Question(example.messages) for example in asked])
        num_right += sum(
            action_of(answer.text) == action_of(example.answer)
            for answer, example in zip(answers, asked, strict=True)
        )
    return num_right / len(examples)


def action_of(text: str) -> str:
    """Returns the action that an answer names; the answer itself if it is not of that form."""
    try:
        told = json.loads(text)
    except ValueError:
        return text
    return str(told["action"]) if isinstance(told, dict) and "action" in told else text


def use_cores(at_most: int | None = None) -> None:
    """Lets PyTorch use the cores that this process may run on, or so many of them."""
    is_known = hasattr(os, "sched_getaffinity")
    num_cores = len(os.sched_getaffinity(0)) if is_known else os.cpu_count() or 1
    torch.set_num_threads(min(num_cores, at_most or num_cores))
