"""OpenAI's chat completions: what a request may say, what an answer looks like."""

from __future__ import annotations

import difflib
import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_babyai.offline.prompt import Message
from pytest_babyai.offline.tokens import count_prompt_tokens, count_tokens, truncate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MAX_CHOICES = 128
SYSTEM_FINGERPRINT = "fp_babyai_offline"

_KIND_OF_TYPE: dict[type, str] = {bool: "boolean", int: "integer", dict: "object", list: "array"}


class ApiError(Exception):
    """A request that cannot be answered; its text is what the client is told.

    Attributes:
        status: HTTP status.
        param: The parameter at fault, if it is one.
        code: OpenAI's name of the error, if it has one.
    """

    def __init__(
        self, message: str, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> dict[str, Any]:
        """Returns OpenAI's error object."""
        error = {
            "message": str(self),
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


@dataclass(frozen=True)
class ChatRequest:
    """A request for chat completions, checked.

    Attributes:
        model: Name of the model.
        messages: The prompt.
        num_choices: How many answers are wanted.
        max_tokens: Longest answer; None for no limit.
        seed: The request's seed, 0 if it has none.
        temperature: How freely a fine-tuned model draws its tokens; 0, the default here, takes the
            likeliest ones.
        is_json: Whether ``response_format`` asks for JSON.
        is_stream: Whether to answer as server-sent events.
        include_usage: Whether a stream ends with the usage.
    """

    model: str
    messages: tuple[Message, ...]
    num_choices: int = 1
    max_tokens: int | None = None
    seed: int = 0
    temperature: float = 0.0
    is_json: bool = False
    is_stream: bool = False
    include_usage: bool = False


def parse_request(body: bytes) -> ChatRequest:
    """Reads a request; parameters that mean nothing here, such as penalties, are ignored.

    Raises:
        ApiError: The body is no JSON object or a parameter is missing or wrong.
    """
    try:
        fields = json.loads(body)
    except ValueError as error:
        message = f"The body is not valid JSON: {error}"
        raise ApiError(message) from None
    if not isinstance(fields, dict):
        message = "The body has to be a JSON object."
        raise ApiError(message)
    model = fields.get("model")
    if not isinstance(model, str) or not model:
        message = "You must provide a model parameter."
        raise ApiError(message, param="model")
    format_type = _optional(fields, "response_format", dict, {}).get("type")
    return ChatRequest(
        model=model,
        messages=_messages(fields.get("messages")),
        num_choices=_in_range(_optional(fields, "n", int, 1), "n", 1, MAX_CHOICES),
        max_tokens=_max_tokens(fields),
        seed=_optional(fields, "seed", int, 0),
        temperature=_temperature(fields),
        is_json=format_type in ("json_object", "json_schema"),
        is_stream=_optional(fields, "stream", bool, False),
        include_usage=bool(_optional(fields, "stream_options", dict, {}).get("include_usage")),
    )


def _optional(fields: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        message = f"{name} has to be of type {_KIND_OF_TYPE[kind]}, not {value!r}."
        raise ApiError(message, param=name)
    return value


def _in_range(value: int, name: str, low: int, high: int | None) -> int:
    if value < low or (high is not None and value > high):
        limits = f"from {low} to {high}" if high is not None else f"at least {low}"
        message = f"{name} has to be {limits}, not {value}."
        raise ApiError(message, param=name)
    return value


def _max_tokens(fields: dict[str, Any]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        limit = _optional(fields, name, int, None)
        if limit is not None:
            return _in_range(limit, name, 1, None)
    return None


def _temperature(fields: dict[str, Any]) -> float:
    value = fields.get("temperature")
    if value is None:
        return 0.0
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 2:  # noqa: PLR2004
        message = f"temperature has to be a number from 0 to 2, not {value!r}."
        raise ApiError(message, param="temperature")
    return float(value)


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        message = "messages has to be an array of at least one message."
        raise ApiError(message, param="messages")
    return tuple(_message(item, f"messages[{index}]") for index, item in enumerate(value))


def _message(item: Any, where: str) -> Message:
    role = item.get("role") if isinstance(item, dict) else None
    if role not in ROLES:
        message = f"{where} has to be an object with a role: {', '.join(ROLES)}."
        raise ApiError(message, param=where)
    return Message(role, _text(item.get("content"), where))


def _text(content: Any, where: str) -> str:
    text = content_text(content)
    if text is None:
        message = f"{where}.content has to be a text or an array of text parts."
        raise ApiError(message, param=f"{where}.content")
    return text


def content_text(content: Any) -> str | None:
    """Joins a content's parts, however it is given: a text, a list of parts, nothing.

    Returns:
        The text; None if there is anything but text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [None]
    texts = [part["text"] for part in parts if isinstance(part, dict) and _is_text(part)]
    return "\n".join(texts) if len(texts) == len(parts) else None


def _is_text(part: dict[str, Any]) -> bool:
    return isinstance(part.get("text"), str)


def unknown_model(name: str, known: Collection[str]) -> ApiError:
    """Returns the error for a name that no model has (404)."""
    close = difflib.get_close_matches(name, known, n=1)
    choices = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"
    message = f"The model {name!r} does not exist: {choices}"
    return ApiError(message, status=404, param="model", code="model_not_found")


class Answer(NamedTuple):
    """What a model wrote.

    Attributes:
        text: The answer.
        is_whole: Whether the model came to an end by itself.
    """

    text: str
    is_whole: bool = True


@dataclass(frozen=True)
class Choice:
    """One answer, cut to the request's limit."""

    text: str
    finish_reason: str
    num_tokens: int


def choose(request: ChatRequest, answers: Iterable[Answer]) -> list[Choice]:
    """Cuts the answers to the request's limit."""
    return [_cut(answer, request.max_tokens) for answer in answers]


def _cut(answer: Answer, max_tokens: int | None) -> Choice:
    num_tokens = count_tokens(answer.text)
    if max_tokens is None or num_tokens <= max_tokens:
        return Choice(answer.text, "stop" if answer.is_whole else "length", num_tokens)
    return Choice(truncate(answer.text, max_tokens), "length", max_tokens)


def completion(request: ChatRequest, choices: list[Choice]) -> dict[str, Any]:
    """Returns the answer as one object."""
    return {
        **_head(request, "chat.completion"),
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ],
        "usage": _usage(request, choices),
    }


def chunks(request: ChatRequest, choices: list[Choice]) -> Iterator[dict[str, Any]]:
    """Yields the answer as the objects of a stream."""
    head = _head(request, "chat.completion.chunk")
    for index, choice in enumerate(choices):
        delta = {"role": "assistant", "content": choice.text}
        yield {**head, "choices": [{"index": index, "delta": delta, "finish_reason": None}]}
        end = {"index": index, "delta": {}, "finish_reason": choice.finish_reason}
        yield {**head, "choices": [end]}
    if request.include_usage:
        yield {**head, "choices": [], "usage": _usage(request, choices)}


def _head(request: ChatRequest, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-offline-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
        "system_fingerprint": SYSTEM_FINGERPRINT,
    }


def _usage(request: ChatRequest, choices: list[Choice]) -> dict[str, int]:
    num_prompt = count_prompt_tokens(request.messages)
    num_completion = sum(choice.num_tokens for choice in choices)
    return {
        "prompt_tokens": num_prompt,
        "completion_tokens": num_completion,
        "total_tokens": num_prompt + num_completion,
    }
