"""Requests as TensorZero takes them, answers as it gives them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.gateway.arguments import ActFunction
from pytest_babyai.gateway.inference import Inference
from pytest_babyai.records import Usage

if TYPE_CHECKING:
    from pytest_babyai.gateway.inference import CacheOptions, InferenceRequest

DEFAULT_FUNCTION: Final = ActFunction()

OCCASION_HEADER: Final = "x-babyai-occasion"
"""Header of requests that may be cached; the cache's key is made of all that goes out."""

MODEL_HEADER: Final = "x-babyai-model"
"""Header with a hash of the models that may answer; TensorZero's key has their names alone."""


def inference_arguments(
    request: InferenceRequest, cache: CacheOptions, function: ActFunction = DEFAULT_FUNCTION
) -> dict[str, Any]:
    """Returns the arguments of TensorZero's ``inference``."""
    arguments: dict[str, Any] = {
        "function_name": function.name,
        "variant_name": request.variant,
        "episode_id": request.episode_id,
        "input": function.input_of(request),
        "tags": dict(request.tags),
        # Nothing else tells which model answered, and whether a cache did.
        "include_raw_response": True,
    }
    if request.seed is not None:
        arguments["params"] = {"chat_completion": {"seed": request.seed}}
    if cache.is_on:
        arguments |= _cache_arguments(request, cache, function.model_hashes.get(request.variant))
    return arguments


def _cache_arguments(
    request: InferenceRequest, cache: CacheOptions, model_hash: str | None
) -> dict[str, Any]:
    options: dict[str, Any] = {"enabled": cache.mode}
    if cache.max_age_s is not None:
        options["max_age_s"] = cache.max_age_s
    headers = {}
    if request.occasion:
        # Hashed, as the name of a variant need not be fit for a header.
        headers[OCCASION_HEADER] = hashlib.sha256(request.occasion.encode()).hexdigest()[:16]
    if model_hash is not None:
        headers[MODEL_HEADER] = model_hash
    told = [{"name": name, "value": value} for name, value in headers.items()]
    return {"cache_options": options, **({"extra_headers": told} if told else {})}


def inference_of(response: Any, latency_ms: float, *, may_be_cached: bool) -> Inference:
    """Reads TensorZero's answer.

    Args:
        response: The answer of a JSON or a chat function.
        latency_ms: How long it took.
        may_be_cached: Whether a cache was read, whose answers lack their raw response.
    """
    usage = response.usage
    raw, parsed = _answer_of(response)
    cached = may_be_cached and response.raw_response == []
    reason = getattr(response, "finish_reason", None)
    return Inference(
        inference_id=str(response.inference_id),
        raw=raw,
        parsed=parsed,
        # Of a cached answer TensorZero tells 0 tokens, where it means that none were consumed.
        usage=CACHED_USAGE
        if cached
        else Usage(usage.input_tokens, usage.output_tokens, usage.cost),
        latency_ms=latency_ms,
        cached=cached,
        finish_reason=None if reason is None else str(getattr(reason, "value", reason)),
        model=_reported_model(response.raw_response),
    )


def _answer_of(response: Any) -> tuple[str, Mapping[str, Any] | None]:
    output = getattr(response, "output", None)
    if output is not None:
        parsed = output.parsed if isinstance(output.parsed, Mapping) else None
        return output.raw or "", parsed
    texts = [block.text for block in response.content if getattr(block, "type", None) == "text"]
    text = "".join(part for part in texts if part)
    if not text:
        return "", None
    return text, _object_of(text) or {"action": text}


def _object_of(text: str) -> Mapping[str, Any] | None:
    """Returns the JSON object with an action that a whole text is; None for any other text."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("action"), str) else None


def _reported_model(raw_response: Any) -> str | None:
    """Returns the model that the last provider's answer names."""
    if not raw_response:
        return None
    try:
        model = json.loads(raw_response[-1].data)["model"]
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    return model if isinstance(model, str) and model else None


CACHED_USAGE: Final = Usage(None, None, 0.0)
"""Usage of a cached answer until the store has told its tokens."""
