from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_babyai.finetuning import chats as chats_module
from pytest_babyai.finetuning.chats import Chat, read_chats
from pytest_babyai.finetuning.failures import DatasetError

CHAT = Chat("Play.", "You see a wall.\u2028Now?", '{"action": "go forward"}')


def line(*messages: Any) -> bytes:
    return json.dumps({"messages": list(messages)}).encode()


def message(role: str, content: Any = "text") -> dict[str, Any]:
    return {"role": role, "content": content}


def refusal(content: bytes, **options: int) -> str:
    with pytest.raises(DatasetError) as caught:
        read_chats(content, "data.jsonl", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_written_can_be_read() -> None:
    chats = (CHAT, Chat(None, "ü", "{}")) * 5

    assert read_chats("".join(chat.to_line() for chat in chats).encode(), "data.jsonl") == chats


def test_a_line_is_compact_json_of_the_three_messages() -> None:
    assert Chat("S", "U ü", "A").to_line() == (
        '{"messages":[{"role":"system","content":"S"},{"role":"user","content":"U ü"},'
        '{"role":"assistant","content":"A"}]}\n'
    )


def test_too_few_examples_are_told_with_the_number_that_is_needed() -> None:
    assert refusal(CHAT.to_line().encode() * 9).startswith(
        "data.jsonl: 9 examples, and fine-tuning needs at least 10"
    )


def test_an_empty_file_is_told() -> None:
    assert refusal(b"").startswith("data.jsonl: 0 examples")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff", "not UTF-8"),
        (b"{", "data.jsonl:1: no JSON"),
        (b"[]", '"messages"'),
        (b'{"messages": "x"}', '"messages"'),
        (b'{"messages": [1]}', '"messages"'),
        (line(), "roles none"),
        (line(message("user")), "roles user;"),
        (line(message("user"), message("assistant"), message("user")), "user, assistant, user"),
        (line(message("tool"), message("assistant")), "roles tool, assistant"),
        (line(message("user", ""), message("assistant")), "message without text"),
        (line(message("user", " \n"), message("assistant")), "message without text"),
        (line(message("user"), message("assistant", None)), "the assistant message has no text"),
        (line(message("user"), message("assistant", "\ud800")), "not UTF-8"),
    ],
)
def test_what_breaks_the_format_is_told_with_its_place(content: bytes, reason: str) -> None:
    assert reason in refusal(content, min_examples=0)


def test_the_number_of_the_line_is_told() -> None:
    assert refusal(CHAT.to_line().encode() * 3 + b"x\n").startswith("data.jsonl:4: ")


def test_a_file_that_is_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chats_module, "MAX_FILE_BYTES", 100)

    assert "choose fewer episodes" in refusal(CHAT.to_line().encode() * 10)
