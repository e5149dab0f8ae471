"""What a request for a fine-tuning job may say."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pytest_babyai.offline.chat import ApiError

MAX_EPOCHS = 50
MAX_BATCH_SIZE = 256
MAX_LEARNING_RATE_MULTIPLIER = 100.0
MAX_SUFFIX_LENGTH = 64

_SUFFIX = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class JobRequest:
    """A request for a fine-tuning job, checked.

    Attributes:
        model: Name of the model to start from.
        training_file: Id of the uploaded chats.
        validation_file: Id of the chats to measure with; None keeps some of the training file's
            back.
        num_epochs: Passes over the chats; None leaves the choice to the trainer.
        batch_size: Chats a step; None as before.
        learning_rate_multiplier: Factor of the trainer's own learning rate; None as before.
        seed: Seed of all that is left to chance. The same job with the same seed learns the same.
        suffix: Part of the model's name.
        metadata: Texts by names, given back as they are.
    """

    model: str
    training_file: str
    validation_file: str | None = None
    num_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    seed: int = 0
    suffix: str | None = None
    metadata: dict[str, str] | None = None


def parse_job_request(body: bytes) -> JobRequest:
    """Reads a request.

    Raises:
        ApiError: The body is no JSON object or a parameter is missing or wrong.
    """
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise ApiError(f"The body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ApiError("The body has to be a JSON object.")
    hyperparameters = _hyperparameters(fields)
    return JobRequest(
        model=_required_text(fields, "model"),
        training_file=_required_text(fields, "training_file"),
        validation_file=_text(fields, "validation_file"),
        num_epochs=_whole_number(hyperparameters, "n_epochs", MAX_EPOCHS),
        batch_size=_whole_number(hyperparameters, "batch_size", MAX_BATCH_SIZE),
        learning_rate_multiplier=_positive(hyperparameters, "learning_rate_multiplier"),
        seed=_seed(fields),
        suffix=_suffix(fields),
        metadata=_object(fields, "metadata") or None,
    )


def _hyperparameters(fields: dict[str, Any]) -> dict[str, Any]:
    """Returns what both places say, the newer one of them, ``method``, first."""
    method = _object(fields, "method")
    kind = method.get("type", "supervised")
    if kind != "supervised":
        message = f"method.type has to be 'supervised', not {kind!r}: nothing else is offered here."
        raise ApiError(message, param="method.type")
    newer = _object(_object(method, "supervised"), "hyperparameters")
    return {**_object(fields, "hyperparameters"), **newer}


def _object(fields: dict[str, Any], name: str) -> dict[str, Any]:
    value = fields.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(f"{name} has to be an object, not {value!r}.", param=name)
    return value


def _text(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ApiError(f"{name} has to be a text, not {value!r}.", param=name)
    return value or None


def _required_text(fields: dict[str, Any], name: str) -> str:
    value = _text(fields, name)
    if value is None:
        raise ApiError(f"You must provide a {name} parameter.", param=name)
    return value


def _whole_number(fields: dict[str, Any], name: str, highest: int) -> int | None:
    value = fields.get(name)
    if value is None or value == "auto":
        return None
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 1 <= value <= highest:
        message = f"{name} has to be 'auto' or a whole number from 1 to {highest}, not {value!r}."
        raise ApiError(message, param=f"hyperparameters.{name}")
    number: int = value
    return number


def _positive(fields: dict[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None or value == "auto":
        return None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value <= MAX_LEARNING_RATE_MULTIPLIER:
        limits = f"above 0 and up to {MAX_LEARNING_RATE_MULTIPLIER:g}"
        message = f"{name} has to be 'auto' or a number {limits}, not {value!r}."
        raise ApiError(message, param=f"hyperparameters.{name}")
    return float(value)


def _seed(fields: dict[str, Any]) -> int:
    value = fields.get("seed")
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        message = f"seed has to be a whole number from 0 to {2**31 - 1}, not {value!r}."
        raise ApiError(message, param="seed")
    return value


def _suffix(fields: dict[str, Any]) -> str | None:
    suffix = _text(fields, "suffix")
    if suffix is not None and not (len(suffix) <= MAX_SUFFIX_LENGTH and _SUFFIX.fullmatch(suffix)):
        message = (
            f"suffix has to be of up to {MAX_SUFFIX_LENGTH} letters, digits, dots, hyphens and "
            f"underscores, not {suffix!r}."
        )
        raise ApiError(message, param="suffix")
    return suffix
