from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.offline.finetuning.tokenizer import END, PAD, Tokenizer, learn_tokenizer
from pytest_babyai.offline.prompt import Message
from tests.unit.offline.finetuning_samples import chats

CHATS = chats()
TOKENIZER = learn_tokenizer(
    [example.messages for example in CHATS], [example.answer for example in CHATS]
)


@given(st.text())
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.sampled_from(["a cat", " is red", "\n", "Which one", "é", "{", " ", "7"])))
def test_texts_of_known_and_unknown_words_come_back(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_half_a_surrogate_pair_comes_back() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("\ud800")) == "\ud800"


def test_bytes_that_are_no_text_are_replaced() -> None:
    first_byte_of_two = TOKENIZER.encode("é")[:1]
    assert TOKENIZER.decode(first_byte_of_two) == "\ufffd"


def test_a_message_that_all_chats_share_is_one_token() -> None:
    role, *text = TOKENIZER.encode_message(Message("system", "Answer in JSON."))
    assert len(text) == 1
    assert TOKENIZER.decode([role, *text]) == "Answer in JSON."


def test_a_phrase_that_keeps_coming_back_is_one_token() -> None:
    assert len(TOKENIZER.encode('{"thinking": "It is the')) == 1


def test_what_fills_a_blank_is_a_token_of_its_own_wherever_it_comes_up() -> None:
    filled = [
        (f" {colour} {kind}", f" {number} steps {side}")
        for colour in ("red", "blue", "grey")
        for kind in ("ball", "box", "key")
        for number in (2, 3, 4)
        for side in ("left", "right")
    ]
    tokenizer = learn_tokenizer(
        [[Message("user", f"I look.\na{thing}{place}\n")] for thing, place in filled],
        [f"I see the{thing}{place}, so I go there." for thing, place in filled],
    )
    [red] = tokenizer.encode(" red")
    assert red in tokenizer.encode("a red ball 2 steps left\n")
    assert red in tokenizer.encode("I see the red ball 2 steps left, so I go there.")
    assert len(tokenizer.encode(", so I go there.")) == 1


def test_a_user_message_is_no_single_token_however_often_it_comes() -> None:
    prompt = [Message("user", "a hen and a cat")]
    tokenizer = learn_tokenizer([prompt] * 20, ["yes"] * 20)
    assert len(tokenizer.encode_message(prompt[0])) > 1


def test_roles_make_different_tokens() -> None:
    texts = {tuple(TOKENIZER.encode_message(Message(role, "hen"))) for role in ("user", "system")}
    assert len(texts) == 2


def test_a_prompt_ends_where_the_answer_begins() -> None:
    prompt = TOKENIZER.encode_prompt([Message("user", "hen")])
    opened = TOKENIZER.encode_message(Message("assistant", ""))
    assert prompt[-1:] == opened


def test_no_text_brings_the_tokens_that_pad_and_end() -> None:
    ids = {token for example in CHATS for token in TOKENIZER.encode(example.answer)}
    assert not ids & {PAD, END}
    assert max(ids) < TOKENIZER.size


def test_a_tokenizer_is_kept_as_json() -> None:
    kept = Tokenizer.from_json(json.loads(json.dumps(TOKENIZER.to_json())))
    for example in CHATS:
        assert kept.encode_prompt(example.messages) == TOKENIZER.encode_prompt(example.messages)


def test_learning_twice_gives_the_same_tokenizer() -> None:
    again = learn_tokenizer([c.messages for c in CHATS], [c.answer for c in CHATS])
    assert again.to_json() == TOKENIZER.to_json()


def test_a_higher_share_makes_shorter_tokens() -> None:
    prompts, answers = [c.messages for c in CHATS], [c.answer for c in CHATS]
    fine = learn_tokenizer(prompts, answers, min_share=0.9)
    text = CHATS[0].answer
    assert len(TOKENIZER.encode(text)) < len(fine.encode(text))
