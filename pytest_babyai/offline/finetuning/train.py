"""The training: encoded chats in batches, the loop, and one whole training of a job."""

from __future__ import annotations

import json
import math
import os
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from pytest_babyai.offline.chat import Question
from pytest_babyai.offline.finetuning.jobs import model_name
from pytest_babyai.offline.finetuning.metrics import (
    EpochMetrics,
    Progress,
    StepProgress,
    TrainingMetrics,
)
from pytest_babyai.offline.finetuning.model import LanguageModel, Network, NetworkSize, prompt_mask
from pytest_babyai.offline.finetuning.tokenizer import END, PAD, learn_tokenizer, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pytest_babyai.offline.finetuning.chats import Example
    from pytest_babyai.offline.finetuning.jobs import JobStore
    from pytest_babyai.offline.finetuning.tokenizer import Tokenizer


POOL = 32
"""Batches' worth of chats that are sorted by length together: less padding, still well mixed."""


class EncodedChat(NamedTuple):
    """A chat as token ids, its answer ended by `END`."""

    prompt: list[int]
    answer: list[int]


class Batch(NamedTuple):
    """Some chats, padded at their ends.

    Attributes:
        ids: Token ids ``[batch, length]``.
        num_prompt: Tokens of each prompt ``[batch]``.
        targets: The token that follows each token of an answer, -1 elsewhere; like ``ids``.
    """

    ids: Tensor
    num_prompt: Tensor
    targets: Tensor


def encode(examples: Sequence[Example], tokenizer: Tokenizer, max_prompt: int) -> list[EncodedChat]:
    """Returns the chats as token ids."""
    return [
        EncodedChat(
            shorten(tokenizer.encode_prompt(example.messages), max_prompt),
            [*tokenizer.encode(example.answer), END],
        )
        for example in examples
    ]


def batches(
    chats: Sequence[EncodedChat], batch_size: int, generator: random.Random | None = None
) -> list[Batch]:
    """Puts chats into batches of like length.

    Args:
        chats: The chats.
        batch_size: Chats a batch.
        generator: Mixes the chats and the batches; None keeps them sorted by length.
    """
    order = list(chats)
    if generator is not None:
        generator.shuffle(order)
    pool = POOL * batch_size if generator is not None else max(len(order), 1)
    groups = []
    for start in range(0, len(order), pool):
        mixed = sorted(order[start : start + pool], key=lambda chat: sum(map(len, chat)))
        groups += [mixed[i : i + batch_size] for i in range(0, len(mixed), batch_size)]
    if generator is not None:
        generator.shuffle(groups)
    return [_batch(group) for group in groups]


def _batch(chats: Sequence[EncodedChat]) -> Batch:
    length = max(len(chat.prompt) + len(chat.answer) for chat in chats) - 1
    ids = torch.full((len(chats), length), PAD)
    targets = torch.full((len(chats), length), -1)
    for row, (prompt, answer) in enumerate(chats):
        told = prompt + answer[:-1]
        ids[row, : len(told)] = torch.tensor(told)
        targets[row, len(prompt) - 1 : len(told)] = torch.tensor(answer)
    return Batch(ids, torch.tensor([len(chat.prompt) for chat in chats]), targets)


PEAK_LEARNING_RATE = 2e-3
WARM_UP_SHARE = 0.05
WEIGHT_DECAY = 0.05
MAX_GRADIENT_NORM = 1.0
FEW_CHATS = 1000
SMALL_BATCH_SIZE = 8
"""Chats a step where fewer than `FEW_CHATS` are learned: few chats need many steps."""
LARGEST_BATCH_SIZE = 16
MIN_EPOCHS = 4
MAX_EPOCHS = 40
TOKENS_PER_TRAINING = 4_000_000
"""Tokens that are read in a whole training where the number of epochs is left open."""


@dataclass(frozen=True)
class TrainingPlan:
    """How a network is trained.

    Attributes:
        num_epochs: Passes over the chats.
        batch_size: Chats a step.
        learning_rate: The highest learning rate.
        seed: Seed of the first weights, the order of the chats and dropout.
    """

    num_epochs: int
    batch_size: int = LARGEST_BATCH_SIZE
    learning_rate: float = PEAK_LEARNING_RATE
    seed: int = 0


def choose_num_epochs(chats: Sequence[EncodedChat]) -> int:
    """Returns how many epochs a training has where the request leaves it open."""
    num_tokens = sum(len(chat.prompt) + len(chat.answer) for chat in chats)
    return min(max(round(TOKENS_PER_TRAINING / max(num_tokens, 1)), MIN_EPOCHS), MAX_EPOCHS)


def choose_batch_size(num_chats: int) -> int:
    """Returns the chats a step where the request leaves it open."""
    return SMALL_BATCH_SIZE if num_chats < FEW_CHATS else LARGEST_BATCH_SIZE


def choose_size(vocabulary: int, num_chats: int) -> NetworkSize:
    """Returns how large a network is that learns from this many chats."""
    if num_chats < FEW_CHATS:
        return NetworkSize(vocabulary, width=96, num_layers=3)
    return NetworkSize(vocabulary)


class Training:
    """A network in training, one epoch at a time.

    Every epoch starts its own pseudo-random numbers: a training that goes on from a saved state
    learns the same as one that was never interrupted.

    Attributes:
        network: The network.
        plan: How it is trained.
        epoch: Epochs done.
        step: Steps done.
    """

    def __init__(self, size: NetworkSize, chats: Sequence[EncodedChat], plan: TrainingPlan) -> None:
        torch.manual_seed(plan.seed)
        self.network = Network(size)
        self.epoch = 0
        self.step = 0
        self._chats = chats
        self.plan = plan
        self._optimizer = torch.optim.AdamW(
            self._groups(), lr=plan.learning_rate, betas=(0.9, 0.98), fused=True
        )

    def _groups(self) -> list[dict[str, Any]]:
        parameters = list(self.network.parameters())
        return [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]

    @property
    def num_steps(self) -> int:
        """Steps of the whole training."""
        return self.plan.num_epochs * math.ceil(len(self._chats) / self.plan.batch_size)

    def run_epoch(self, on_step: Callable[[StepProgress], None]) -> None:
        """Passes over the chats once."""
        torch.manual_seed(self.plan.seed + 1 + self.epoch)
        generator = random.Random(f"{self.plan.seed} {self.epoch}")  # noqa: S311 - no secret
        self.network.train()
        self.epoch += 1
        for batch in batches(self._chats, self.plan.batch_size, generator):
            on_step(self._learn(batch))
        self.network.eval()

    def _learn(self, batch: Batch) -> StepProgress:
        rate = self._learning_rate()
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss, num_right, num_tokens = measure(self.network, batch)
        self._optimizer.zero_grad()
        (loss / num_tokens).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self._optimizer.step()
        self.step += 1
        return StepProgress(
            self.step,
            self.num_steps,
            self.epoch,
            loss.item() / num_tokens,
            num_right / num_tokens,
            rate,
        )

    def _learning_rate(self) -> float:
        """Rises to its peak, then falls along a cosine (Loshchilov and Hutter 2017)."""
        warm_up = max(1, round(WARM_UP_SHARE * self.num_steps))
        if self.step < warm_up:
            return self.plan.learning_rate * (self.step + 1) / warm_up
        share = (self.step - warm_up) / max(1, self.num_steps - warm_up)
        return self.plan.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def state(self) -> dict[str, Any]:
        """Returns what `restore` goes on from."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a saved state."""
        self.epoch, self.step = state["epoch"], state["step"]
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])


def measure(network: Network, batch: Batch) -> tuple[torch.Tensor, int, int]:
    """Returns summed loss over a batch's answers, correctly predicted tokens, and all tokens."""
    is_token = torch.ones_like(batch.ids, dtype=torch.bool)
    mask = prompt_mask(is_token, batch.num_prompt)
    is_answer = batch.targets >= 0
    scores = network.scores(network(batch.ids, mask)[is_answer])
    targets = batch.targets[is_answer]
    loss = functional.cross_entropy(scores, targets, reduction="sum")
    return loss, int((scores.argmax(dim=-1) == targets).sum()), len(targets)


@torch.inference_mode()
def evaluate(network: Network, chats: Sequence[EncodedChat]) -> tuple[float, float]:
    """Returns mean loss and token accuracy over chats that were not trained on."""
    network.eval()
    losses, num_right, num_tokens = 0.0, 0, 0
    for batch in batches(chats, 2 * LARGEST_BATCH_SIZE):
        loss, right, tokens = measure(network, batch)
        losses, num_right, num_tokens = losses + loss.item(), num_right + right, num_tokens + tokens
    return losses / num_tokens, num_right / num_tokens


STATE_FILE = "unfinished.pt"
MAX_ANSWERED = 256
"""Validation chats that are answered after each epoch; in the loss all of them count."""
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
