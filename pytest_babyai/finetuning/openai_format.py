"""OpenAI's format of chats for supervised fine-tuning, checked before anything is uploaded.

Format: https://platform.openai.com/docs/guides/supervised-fine-tuning
"""

from __future__ import annotations

import json
from typing import Any, Final

from pytest_babyai.finetuning.chats import Chat, chat_from_messages
from pytest_babyai.finetuning.failures import DatasetError

MIN_EXAMPLES: Final = 10
"""OpenAI refuses smaller training files."""

MAX_FILE_BYTES: Final = 512 * 10**6
"""OpenAI refuses larger files."""

_ROLES: Final = (["system", "user", "assistant"], ["user", "assistant"])


def read_chats(content: bytes, name: str, *, min_examples: int = MIN_EXAMPLES) -> tuple[Chat, ...]:
    """Reads and checks a file of chats.

    Args:
        content: Its content.
        name: Names it in an error.
        min_examples: Chats that it needs: `MIN_EXAMPLES` for training, 1 for validation.

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
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list) or not all(isinstance(part, dict) for part in messages):
        raise DatasetError(f'{place}: no object with "messages", an array of messages')
    _check_messages(messages, place)
    return chat_from_messages(messages)


def _check_messages(messages: list[dict[str, Any]], place: str) -> None:
    roles = [message.get("role") for message in messages]
    if roles not in _ROLES:
        found = ", ".join(map(str, roles)) or "none"
        raise DatasetError(
            f"{place}: messages of the roles {found}; expected system (if any), user, assistant"
        )
    for message in messages:
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            raise DatasetError(f"{place}: the {message['role']} message has no text")
        try:
            content.encode()
        except UnicodeEncodeError:
            raise DatasetError(
                f"{place}: the {message['role']} message has half of a surrogate pair, which is "
                "no UTF-8"
            ) from None
