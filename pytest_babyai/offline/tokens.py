"""An approximate token count that leaves no character out.

Offline there is no tokenizer's vocabulary to look words up in. What is counted are the pieces into
which byte-pair tokenizers cut a text before they look anything up: a word with the space before
it, up to three digits, up to four signs of punctuation, a line break, other white space. Common
English words are one token there, so the count comes close for prompts such as these; long or rare
words count once for every 10 letters.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_babyai.offline.prompt import Message

_PIECE = re.compile(r" ?[^\W\d_]{1,10}| ?\d{1,3}| ?(?:[^\w\s]|_){1,4}|\n|[^\S\n]{1,16}")

TOKENS_PER_MESSAGE = 4
"""What a chat format adds to every message: its start, its role, its end."""
TOKENS_PER_REPLY = 3
"""What it adds to open the answer."""


def count_tokens(text: str) -> int:
    """Counts the tokens of a text, approximately."""
    lines = text.split("\n")  # no piece reaches over a line break, and most lines come again
    return sum(map(_count_line, lines)) + len(lines) - 1


@functools.lru_cache(maxsize=8192)
def _count_line(line: str) -> int:
    return len(_PIECE.findall(line))


_count_repeated = functools.lru_cache(maxsize=1024)(count_tokens)


def count_prompt_tokens(messages: Iterable[Message]) -> int:
    """Counts a prompt's tokens: every message's role and text, and what the chat format adds."""
    counts = (_count_repeated(text) + TOKENS_PER_MESSAGE for _role, text in messages)
    return sum(counts) + TOKENS_PER_REPLY


def truncate(text: str, max_tokens: int) -> str:
    """Returns the text's first tokens, at most ``max_tokens``."""
    for index, piece in enumerate(_PIECE.finditer(text)):
        if index == max_tokens:
            return text[: piece.start()]
    return text
