from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.offline.language import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REPLY,
    count_prompt_tokens,
    count_tokens,
    truncate,
)
from pytest_babyai.offline.prompt import Message


def test_words_numbers_and_signs_are_counted() -> None:
    assert count_tokens("a red ball 12 steps forward.") == 7


def test_a_long_word_is_more_than_one_token() -> None:
    assert count_tokens("incomprehensibilities") == 3


def test_nothing_is_no_token() -> None:
    assert count_tokens("") == 0


def test_every_message_of_a_prompt_counts() -> None:
    messages = [Message("system", "go on"), Message("user", "a wall")]
    assert count_prompt_tokens(messages) == 4 + 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY


@given(st.text())
def test_no_character_is_left_out(text: str) -> None:
    assert truncate(text, count_tokens(text)) == text
    assert not text or truncate(text, count_tokens(text) - 1) != text


@given(st.text(), st.integers(0, 20))
def test_a_truncated_text_has_at_most_that_many_tokens(text: str, max_tokens: int) -> None:
    assert count_tokens(truncate(text, max_tokens)) <= max_tokens
