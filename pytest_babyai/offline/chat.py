"""OpenAI's chat completions: what a request may say, what an answer looks like."""

from __future__ import annotations

import difflib
import json
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from pytest_babyai.offline.language import count_prompt_tokens, count_tokens, truncate
from pytest_babyai.offline.prompt import Message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

T = TypeVar("T")

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
SYSTEM_FINGERPRINT = "fp_babyai_offline"

_PLACE = re.compile(r" - at `\$\.?(.+)`$")
_MISSING = re.compile(r"missing required field `(\w+)`")


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


def decode(body: bytes, kind: type[T]) -> T:
    """Reads a request's JSON object; parameters that mean nothing here are ignored.

    Raises:
        ApiError: The body is no such object; ``param`` names the parameter at fault.
    """
    try:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # Python's own reader takes half of a surrogate pair, which texts may hold.
            return msgspec.convert(json.loads(body), kind)
    except msgspec.ValidationError as error:
        text = str(error)
        place, missing = _PLACE.search(text), _MISSING.search(text)
        param = place[1] if place else (missing[1] if missing else None)
        raise ApiError(text, param=param) from None
    except (ValueError, RecursionError) as error:
        raise ApiError(f"not valid JSON: {error}") from None


class TextPart(msgspec.Struct):
    """A part of a message's content; only text can be read here."""

    text: str


class ChatMessage(msgspec.Struct):
    """A message as requests and training files have it."""

    role: Role
    content: str | list[TextPart] | None = None

    def plain(self) -> Message:
        """Returns the message with its content as one text."""
        content = self.content
        if isinstance(content, list):
            content = "\n".join(part.text for part in content)
        return Message(self.role, content or "")


class _Format(msgspec.Struct):
    type: str | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    response_format: _Format | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


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
    """Reads a request for chat completions.

    Raises:
        ApiError: The body is no JSON object or a parameter is missing or wrong.
    """
    said = decode(body, _Body)
    format_type = said.response_format.type if said.response_format else None
    return ChatRequest(
        model=said.model,
        messages=tuple(message.plain() for message in said.messages),
        num_choices=said.n or 1,
        max_tokens=said.max_completion_tokens or said.max_tokens,
        seed=said.seed or 0,
        temperature=said.temperature or 0.0,
        is_json=format_type in ("json_object", "json_schema"),
        is_stream=bool(said.stream),
        include_usage=bool(said.stream_options and said.stream_options.include_usage),
    )


def unknown_model(name: str, known: Collection[str]) -> ApiError:
    """Returns the error for a name that no model has (404)."""
    close = difflib.get_close_matches(name, known, n=1)
    choices = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(known)}"
    message = f"The model {name!r} does not exist: {choices}"
    return ApiError(message, status=404, param="model", code="model_not_found")


class Question(NamedTuple):
    """A prompt and how to answer it.

    Attributes:
        messages: The prompt.
        temperature: 0 takes the likeliest token each time; above it, tokens are drawn.
        seed: Seed of the draws.
    """

    messages: tuple[Message, ...]
    temperature: float = 0.0
    seed: int = 0


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
