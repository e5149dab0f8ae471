"""A language model: a tokenizer, a network, and the directory where both are kept."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from pytest_babyai.offline.chat import Answer
from pytest_babyai.offline.finetuning.batches import shorten
from pytest_babyai.offline.finetuning.generation import Ask, generate
from pytest_babyai.offline.finetuning.network import Network, NetworkSize
from pytest_babyai.offline.finetuning.storage import read_json, write_json
from pytest_babyai.offline.finetuning.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


CONFIGURATION_FILE = "model.json"
WEIGHTS_FILE = "weights.pt"


@dataclass(frozen=True)
class LanguageModel:
    """A trained model.

    Attributes:
        tokenizer: Its tokenizer.
        network: Its network.
        max_prompt: Longest prompt, in tokens of its own; what is beyond is cut out of the middle.
        max_answer: Longest answer, in tokens of its own.
    """

    tokenizer: Tokenizer
    network: Network
    max_prompt: int
    max_answer: int

    def answer(self, questions: Sequence[Any]) -> list[Answer]:
        """Answers several prompts at once."""
        asks = [
            Ask(
                shorten(self.tokenizer.encode_prompt(question.messages), self.max_prompt),
                question.temperature,
                question.seed,
                self.max_answer,
            )
            for question in questions
        ]
        written = generate(self.network, asks)
        return [Answer(self.tokenizer.decode(item.ids), item.is_whole) for item in written]

    def save(self, directory: Path) -> None:
        """Keeps the model; the directory is there as a whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        draft = directory.with_name(f".{directory.name}.{uuid.uuid4().hex}")
        draft.mkdir(parents=True)
        try:
            write_json(
                draft / CONFIGURATION_FILE,
                {
                    "size": self.network.size.to_json(),
                    "tokenizer": self.tokenizer.to_json(),
                    "max_prompt": self.max_prompt,
                    "max_answer": self.max_answer,
                },
            )
            with (draft / WEIGHTS_FILE).open("wb") as file:
                torch.save(self.network.state_dict(), file)
            if directory.exists():
                shutil.rmtree(directory)
            draft.rename(directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    @classmethod
    def load(cls, directory: Path) -> LanguageModel:
        """Returns the model that `save` kept.

        Raises:
            OSError: It cannot be read.
            ValueError: The directory holds no model.
        """
        told = read_json(directory / CONFIGURATION_FILE)
        if told is None:
            raise ValueError(f"{directory} holds no model")
        network = Network(NetworkSize(**told["size"]))
        weights = torch.load(directory / WEIGHTS_FILE, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        network.eval()
        tokenizer = Tokenizer.from_json(told["tokenizer"])
        return cls(tokenizer, network, told["max_prompt"], told["max_answer"])
