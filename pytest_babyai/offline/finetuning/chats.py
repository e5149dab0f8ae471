"""The uploaded chats: OpenAI's JSON Lines, checked line by line."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec
from msgspec import Meta

from pytest_babyai.offline.chat import ApiError, ChatMessage, decode
from pytest_babyai.offline.language import count_prompt_tokens, count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.offline.prompt import Message

MIN_EXAMPLES = 10
"""OpenAI's smallest training file."""


class ExamplesError(Exception):
    """Chats that cannot be learned from; its text is what the job's error says.

    Attributes:
        code: OpenAI's name of the error.
        param: The job's parameter at fault.
    """

    def __init__(self, message: str, code: str, param: str) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Example(NamedTuple):
    """One chat: a prompt and the answer to learn."""

    messages: tuple[Message, ...]
    answer: str


def read_examples(content: bytes, name: str, param: str = "training_file") -> list[Example]:
    """Reads chats, one a line.

    Args:
        content: The file's content.
        name: What to call the file in an error.
        param: The job's parameter that names the file.

    Raises:
        ExamplesError: A line is no chat, named by its number.
    """
    examples = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            examples.append(_example(line))
        except ApiError as error:
            message = f"Invalid file format. {name}, line {number}: {error}"
            raise ExamplesError(message, "invalid_file_format", param) from None
    return examples


def require_enough(examples: Sequence[Example], name: str) -> None:
    """Refuses a training file with fewer than `MIN_EXAMPLES` chats.

    Raises:
        ExamplesError: There are fewer.
    """
    if len(examples) < MIN_EXAMPLES:
        has = f"has {len(examples)} example{'' if len(examples) == 1 else 's'}"
        message = f"{name} {has}, but must have at least {MIN_EXAMPLES} examples"
        raise ExamplesError(message, "invalid_n_examples", "training_file")


class _Line(msgspec.Struct):
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]


def _example(line: bytes) -> Example:
    *prompt, answer = [message.plain() for message in decode(line, _Line).messages]
    if answer.role != "assistant":
        raise ApiError(f"the last message has to be the assistant's, not the {answer.role}'s")
    if not prompt or not answer.text:
        missing = "the answer is empty" if prompt else "there is no message before the answer"
        raise ApiError(missing)
    return Example(tuple(prompt), answer.text)


def split(examples: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """Keeps a share of the chats back to measure with.

    A chat goes by the text of its prompt, so that a prompt is never on both sides.

    Returns:
        The training and the validation chats. With a single prompt there is nothing to keep
        back: all chats are on both sides.
    """
    ranked = sorted({_rank(example) for example in examples})
    if len(ranked) == 1:
        return list(examples), list(examples)
    num_kept = min(max(1, round(share * len(ranked))), len(ranked) - 1)
    kept_ranks = set(ranked[:num_kept])
    kept = [example for example in examples if _rank(example) in kept_ranks]
    return [example for example in examples if _rank(example) not in kept_ranks], kept


def _rank(example: Example) -> bytes:
    text = "\0".join(part for message in example.messages for part in message)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def count_example_tokens(examples: Iterable[Example]) -> int:
    """Counts the tokens of chats as the usage of answers counts them."""
    return sum(
        count_prompt_tokens(example.messages) + count_tokens(example.answer) for example in examples
    )
