"""The training loop."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from pytest_babyai.offline.finetuning.batches import batches
from pytest_babyai.offline.finetuning.network import Network, NetworkSize, prompt_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_babyai.offline.finetuning.batches import Batch, EncodedChat

PEAK_LEARNING_RATE = 2e-3
WARM_UP_SHARE = 0.05
WEIGHT_DECAY = 0.05
MAX_GRADIENT_NORM = 1.0
FEW_CHATS = 1000
SMALL_BATCH_SIZE = 8
"""Chats a step where fewer than `FEW_CHATS` are learnt: few chats need many steps."""
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


@dataclass(frozen=True)
class StepProgress:
    """What one step of training did."""

    step: int
    num_steps: int
    epoch: int
    loss: float
    token_accuracy: float
    learning_rate: float


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
    """Returns summed loss over a batch's answers, tokens foretold rightly, and all tokens."""
    is_token = torch.ones_like(batch.ids, dtype=torch.bool)
    mask = prompt_mask(is_token, batch.num_prompt)
    is_answer = batch.targets >= 0
    scores = network.scores(network(batch.ids, mask)[is_answer])
    targets = batch.targets[is_answer]
    loss = functional.cross_entropy(scores, targets, reduction="sum")
    return loss, int((scores.argmax(dim=-1) == targets).sum()), len(targets)


@torch.inference_mode()
def evaluate(network: Network, chats: Sequence[EncodedChat]) -> tuple[float, float]:
    """Returns mean loss and share of rightly foretold tokens over chats it has not learnt."""
    network.eval()
    losses, num_right, num_tokens = 0.0, 0, 0
    for batch in batches(chats, 2 * LARGEST_BATCH_SIZE):
        loss, right, tokens = measure(network, batch)
        losses, num_right, num_tokens = losses + loss.item(), num_right + right, num_tokens + tokens
    return losses / num_tokens, num_right / num_tokens
