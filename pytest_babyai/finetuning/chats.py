"""Training examples as OpenAI's files have them, and what breaks that format.

Formats: https://platform.openai.com/docs/guides/supervised-fine-tuning and
https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from pytest_babyai.finetuning.failures import DatasetError

SFT: Final = "sft"
DPO: Final = "dpo"
FORMATS: Final = (SFT, DPO)
MIN_EXAMPLES: Final = 10
"""OpenAI refuses smaller training files."""
MAX_FILE_BYTES: Final = 512 * 10**6
"""OpenAI refuses larger files."""

_ROLES: Final = (["system", "user", "assistant"], ["user", "assistant"])
_RESERVED = re.compile(r"<\|[A-Za-z0-9_]{2,32}\|>")
"""Special tokens of OpenAI's tokenizers, such as ``<|endoftext|>``: never training text."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt and the answer to learn.

    Attributes:
        system: Text of the system message, None where the variant has none.
        user: Text of the user's message.
        answer: The answer's raw text.
        rejected: For preference pairs, the raw text of the worse answer; else None.
    """

    system: str | None
    user: str
    answer: str
    rejected: str | None = None

    @property
    def prompt(self) -> tuple[str | None, str]:
        """What the model is asked, without the answer."""
        return self.system, self.user

    def messages(self) -> list[dict[str, str]]:
        """Returns the messages in OpenAI's form, the answer last."""
        system = [] if self.system is None else [_message("system", self.system)]
        return [*system, _message("user", self.user), _message("assistant", self.answer)]

    def to_line(self) -> str:
        r"""Encodes the chat as one line of JSON, ``\n`` included."""
        *prompt, answer = self.messages()
        record: dict[str, Any] = {"messages": [*prompt, answer]}
        if self.rejected is not None:
            record = {
                "input": {"messages": prompt},
                "preferred_output": [answer],
                "non_preferred_output": [_message("assistant", self.rejected)],
            }
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"

    def fault(self) -> str | None:
        """Returns why a provider would refuse or misread the chat, None if it would not."""
        texts = [message["content"] for message in self.messages()]
        texts += [] if self.rejected is None else [self.rejected]
        if not all(text.strip() for text in texts):
            return "message without text"
        if any(map(_RESERVED.search, texts)):
            return "reserved token, such as <|endoftext|>"
        try:
            "".join(texts).encode()
        except UnicodeEncodeError:
            return "text that is not UTF-8"
        return None


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def read_chats(content: bytes, name: str, *, min_examples: int = MIN_EXAMPLES) -> tuple[Chat, ...]:
    """Reads and checks a file of chats or of preference pairs.

    Args:
        content: Its content.
        name: Names it in an error.
        min_examples: Examples that it needs: `MIN_EXAMPLES` for training, 0 for validation.

    Raises:
        DatasetError: It breaks the format; the line says where.
    """
    if len(content) > MAX_FILE_BYTES:
        raise DatasetError(
            f"{name}: {len(content) / 1e6:,.0f} MB, and OpenAI takes up to "
            f"{MAX_FILE_BYTES / 1e6:,.0f} MB; choose fewer episodes, for example with a "
            "stronger --where"
        )
    try:
        # Not splitlines: a text may hold other characters that end lines, such as U+2028.
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name}: not UTF-8 text: {error.reason}") from None
    if lines[-1] == "":
        lines.pop()
    chats = tuple(_read(line, f"{name}:{number}") for number, line in enumerate(lines, start=1))
    if len(chats) < min_examples:
        count = f"{len(chats)} example{'' if len(chats) == 1 else 's'}"
        raise DatasetError(
            f"{name}: {count}, and fine-tuning needs at least {min_examples}; collect more "
            "episodes, or weaken --where"
        )
    return chats


def _read(line: str, place: str) -> Chat:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise DatasetError(f"{place}: no JSON") from None
    rejected = None
    if isinstance(record, dict) and isinstance(record.get("input"), dict):
        [rejected] = _contents(record.get("non_preferred_output"), (["assistant"],), place)
        preferred = record.get("preferred_output")
        _contents(preferred, (["assistant"],), place)
        record = {"messages": [*(record["input"].get("messages") or []), *(preferred or [])]}
    messages = record.get("messages") if isinstance(record, dict) else None
    *system, user, answer = _contents(messages, _ROLES, place)
    chat = Chat(system[0] if system else None, user, answer, rejected)
    if fault := chat.fault():
        raise DatasetError(f"{place}: {fault}")
    return chat


def _contents(messages: Any, expected: tuple[list[str], ...], place: str) -> list[str]:
    if not isinstance(messages, list) or not all(isinstance(part, dict) for part in messages):
        raise DatasetError(f'{place}: no object with "messages", an array of messages')
    roles = [message.get("role") for message in messages]
    if roles not in expected:
        found = ", ".join(map(str, roles)) or "none"
        wanted = "assistant" if expected == (["assistant"],) else "system (if any), user, assistant"
        raise DatasetError(f"{place}: messages of the roles {found}; expected {wanted}")
    contents = [message.get("content") for message in messages]
    for role, content in zip(roles, contents, strict=True):
        if not isinstance(content, str):
            raise DatasetError(f"{place}: the {role} message has no text")
    return [str(content) for content in contents]
