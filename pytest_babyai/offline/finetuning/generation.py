"""Answers, token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pytest_babyai.offline.finetuning.network import Cache, prompt_mask
from pytest_babyai.offline.finetuning.tokenizer import END, PAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.offline.finetuning.network import Network


class Ask(NamedTuple):
    """A prompt to be answered.

    Attributes:
        prompt: Its token ids.
        temperature: 0 takes the likeliest token; above it tokens are drawn, the less likely ones
            the more often the higher it is.
        seed: Seed of the draws.
        max_tokens: Longest answer, in tokens.
    """

    prompt: list[int]
    temperature: float = 0.0
    seed: int = 0
    max_tokens: int = 256


class Generated(NamedTuple):
    """An answer's token ids, and whether the model ended it."""

    ids: list[int]
    is_whole: bool


@torch.inference_mode()
def generate(network: Network, asks: Sequence[Ask]) -> list[Generated]:
    """Answers several prompts at once."""
    length = max(len(ask.prompt) for ask in asks)
    # Padded at the front, so that all answers begin in the same column. Positions are relative,
    # so that a sequence may start anywhere.
    ids = torch.tensor([[PAD] * (length - len(ask.prompt)) + ask.prompt for ask in asks])
    is_token = torch.tensor(
        [[n >= length - len(ask.prompt) for n in range(length)] for ask in asks]
    )
    cache = Cache()
    mask = prompt_mask(is_token, torch.full((len(asks),), length))
    scores = network.scores(network(ids, mask, cache=cache)[:, -1])
    answering = _Answering(asks)
    while (alive := answering.add(scores)) is not None:
        if len(alive) < len(is_token):
            cache.keep(alive)
            is_token = is_token[alive]
        is_token = torch.cat((is_token, torch.ones(len(alive), 1, dtype=torch.bool)), dim=1)
        mask = is_token[:, None, None, :]
        start = is_token.shape[1] - 1
        hidden = network(answering.latest(), mask, start=start, cache=cache)
        scores = network.scores(hidden[:, -1])
    return answering.results()


class _Answering:
    """The answers that are being written; those that are finished leave the batch."""

    def __init__(self, asks: Sequence[Ask]) -> None:
        self._asks = asks
        self._ids: list[list[int]] = [[] for _ in asks]
        self._is_whole = [False] * len(asks)
        self._rows = list(range(len(asks)))
        self._generators = [torch.Generator().manual_seed(ask.seed) for ask in asks]

    def add(self, scores: Tensor) -> Tensor | None:
        """Chooses every answer's next token.

        Returns:
            Which rows of the batch go on; None if there are none.
        """
        alive = []
        likeliest = scores.argmax(dim=-1).tolist()
        for index, row in enumerate(self._rows):
            ask = self._asks[row]
            is_greedy = ask.temperature <= 0
            token = likeliest[index] if is_greedy else self._draw(row, scores[index])
            if token == END:
                self._is_whole[row] = True
                continue
            self._ids[row].append(token)
            if len(self._ids[row]) < ask.max_tokens:
                alive.append(index)
        self._rows = [self._rows[index] for index in alive]
        return torch.tensor(alive) if alive else None

    def _draw(self, row: int, scores: Tensor) -> int:
        shares = (scores / self._asks[row].temperature).softmax(dim=-1)
        return int(torch.multinomial(shares, 1, generator=self._generators[row]))

    def latest(self) -> Tensor:
        return torch.tensor([[self._ids[row][-1]] for row in self._rows])

    def results(self) -> list[Generated]:
        return [
            Generated(ids, is_whole)
            for ids, is_whole in zip(self._ids, self._is_whole, strict=True)
        ]
