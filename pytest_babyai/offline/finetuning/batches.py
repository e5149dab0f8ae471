"""Encoded chats in batches of like length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pytest_babyai.offline.finetuning.tokenizer import END, PAD

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from pytest_babyai.offline.finetuning.examples import Example
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


def shorten(prompt: list[int], max_length: int) -> list[int]:
    """Cuts tokens out of a prompt that is too long.

    The first quarter of what is kept is the prompt's beginning, where the task is told, and the
    rest its end, where the latest events are.
    """
    if len(prompt) <= max_length:
        return prompt
    num_first = max_length // 4
    return prompt[:num_first] + prompt[num_first - max_length :]


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
