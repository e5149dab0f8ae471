"""Requests as TensorZero takes them, answers as it gives them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gateway.configuration import ACT_FUNCTION
from pytest_babyai.gateway.inference import Inference
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import CacheOptions, InferenceRequest

OCCASION_HEADER: Final = "x-babyai-occasion"
"""Header of requests that may be cached; the cache's key is made of all that goes out."""


def inference_arguments(request: InferenceRequest, cache: CacheOptions) -> dict[str, Any]:
    """Returns the arguments of TensorZero's ``inference``."""
    content = {
        "type": "template",
        "name": "user",
        "arguments": {
            "mission": request.mission,
            "observation": request.observation,
            "history": [
                {"observation": observation, "action": action}
                for observation, action in request.history
            ],
        },
    }
    arguments: dict[str, Any] = {
        "function_name": ACT_FUNCTION,
        "variant_name": request.variant,
        "episode_id": request.episode_id,
        "input": {"messages": [{"role": "user", "content": [content]}]},
        "tags": dict(request.tags),
        # Nothing else has the provider's reasoning, and tells whether a cache answered.
        "include_raw_response": True,
    }
    if request.seed is not None:
        arguments["params"] = {"chat_completion": {"seed": request.seed}}
    if cache.is_on:
        arguments |= _cache_arguments(request, cache)
    return arguments


def _cache_arguments(request: InferenceRequest, cache: CacheOptions) -> dict[str, Any]:
    options: dict[str, Any] = {"enabled": cache.mode}
    if cache.max_age_s is not None:
        options["max_age_s"] = cache.max_age_s
    arguments: dict[str, Any] = {"cache_options": options}
    if request.occasion:
        # Hashed, as the name of a variant need not be fit for a header.
        occasion = hashlib.sha256(request.occasion.encode()).hexdigest()[:16]
        arguments["extra_headers"] = [{"name": OCCASION_HEADER, "value": occasion}]
    return arguments


def inference_of(response: Any, latency_ms: float, *, may_be_cached: bool) -> Inference:
    """Reads TensorZero's answer.

    Args:
        response: The answer.
        latency_ms: How long it took.
        may_be_cached: Whether a cache was read, whose answers lack their raw response.
    """
    output, usage = response.output, response.usage
    cached = may_be_cached and response.raw_response == []
    return Inference(
        inference_id=str(response.inference_id),
        raw=output.raw or "",
        parsed=output.parsed if isinstance(output.parsed, Mapping) else None,
        # Of a cached answer TensorZero tells 0 tokens, where it means that none were consumed.
        usage=CACHED_USAGE
        if cached
        else Usage(usage.input_tokens, usage.output_tokens, usage.cost),
        latency_ms=latency_ms,
        cached=cached,
        reasoning=_reasoning_of(response.raw_response),
    )


_REASONING_KEYS: Final = ("reasoning_content", "reasoning")
"""Names of the channel in OpenAI-compatible answers: DeepSeek and vLLM, OpenRouter and Ollama."""


def _reasoning_of(raw_response: Any) -> str | None:
    """Returns the reasoning of a provider's answer, which TensorZero's JSON functions drop."""
    data = str(getattr(raw_response[-1], "data", "")) if raw_response else ""
    if '"reasoning' not in data and '"thinking"' not in data:
        return None
    try:
        answer = json.loads(data)
        if "choices" not in answer:  # Anthropic's
            blocks = [block.get("thinking") for block in answer["content"]]
            return "\n\n".join(filter(None, blocks)) or None
        message = answer["choices"][0]["message"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    found = (message.get(key) for key in _REASONING_KEYS)
    return next((text for text in found if isinstance(text, str) and text), None)


CACHED_USAGE: Final = Usage(None, None, 0.0)
"""Usage of a cached answer until the store has told its tokens."""
