"""One training example: a chat of system, user and assistant, as OpenAI's files have it."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Chat:
    """What a model was told and what it answered.

    Attributes:
        system: Text of the system message, None where the variant has none.
        user: Text of the user's message.
        answer: The answer's raw text.
    """

    system: str | None
    user: str
    answer: str

    def messages(self) -> list[dict[str, str]]:
        """Returns the messages in OpenAI's form, the answer last."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [
            *system,
            {"role": "user", "content": self.user},
            {"role": "assistant", "content": self.answer},
        ]

    def to_line(self) -> str:
        r"""Encodes the chat as one line of JSON, ``\n`` included.

        The order and spacing are those of TensorZero's upload, byte for byte, up to the messages'
        end.
        """
        record = {"messages": self.messages()}
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def chat_from_messages(messages: list[dict[str, str]]) -> Chat:
    """Returns the chat of messages that `openai_format.read_chats` has checked."""
    texts = {message["role"]: message["content"] for message in messages}
    return Chat(texts.get("system"), texts["user"], texts["assistant"])
