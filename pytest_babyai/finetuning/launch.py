"""Starts a fine-tuning job through TensorZero."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import CredentialsError, did_you_mean
from pytest_babyai.finetuning.clients import embedded_client
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.provider_api import FineTuningApi, Provider, provider_message
from pytest_babyai.gateway.client import import_tensorzero
from pytest_babyai.gateway.configuration import ACT_FUNCTION, GatewayConfiguration
from pytest_babyai.gateway.failures import Scrubber
from pytest_babyai.gateway.inference import new_episode_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.clients import OpenClient
    from pytest_babyai.finetuning.dataset import Dataset

REDIRECT_VARIABLE: Final = "TENSORZERO_INTERNAL_MOCK_PROVIDER_API"
"""Sends TensorZero's fine-tuning requests elsewhere. Set for longer than that, it would send
inferences there as well."""

KEY_VARIABLE: Final = "OPENAI_API_KEY"

_AS_RECORDED: Final = "as_recorded"


def launch(
    dataset: Dataset, model: str, hyperparameters: Mapping[str, Any], provider: Provider
) -> dict[str, Any]:
    """Uploads training data and starts a job.

    The chats are handed over as they are: TensorZero renders them with a variant that has no
    templates. Its newer call, which lists and renders on its own, splits off validation data line
    by line and cannot leave out answers that did not parse.

    Args:
        dataset: What is learned.
        model: The model to start from.
        hyperparameters: As TensorZero's ``openai_sft`` takes them.
        provider: Where the job runs.

    Returns:
        TensorZero's handle: ``job_id``, ``job_url``, ``job_api_url``, ``type``.

    Raises:
        CredentialsError: The key is missing or refused.
        FineTuningError: The provider refused, or is out of reach.
    """
    check_model(model, provider)
    tensorzero = import_tensorzero()
    configuration = {"type": "openai_sft", "model": model, **hyperparameters}
    with embedded_client(_configuration(provider)) as opened:
        train = _rendered(opened, dataset.train)
        validation = _rendered(opened, dataset.validation) or None
        try:
            with _redirected(provider):
                handle = opened.call(
                    "experimental_launch_optimization",
                    train_samples=train,
                    val_samples=validation,
                    optimization_config=configuration,
                )
        except tensorzero.BaseTensorZeroError as error:
            raise _launch_failure(_told(error), model, provider) from None
        plain: dict[str, Any] = json.loads(str(handle))
        return plain


def check_model(model: str, provider: Provider) -> None:
    """Makes sure that key and model are good, before anything is uploaded.

    Raises:
        CredentialsError: The key is missing or refused.
        FineTuningError: The provider knows no such model, refuses, or is out of reach.
    """
    if provider.api_key is None and provider.redirect is None:
        raise CredentialsError(
            f"the environment variable {KEY_VARIABLE} is not set; set it "
            f"(export {KEY_VARIABLE}=...) or fine-tune without a key: --model babyai-offline"
        )
    api = FineTuningApi(provider)
    api.check_access()
    models = api.models()
    if models and model not in models:
        close = did_you_mean(model, models)
        hint = close if close.startswith("did") else "see the provider's list of models"
        raise FineTuningError(f"--model: {provider.name} has no model {model!r}; {hint}")


def _configuration(provider: Provider) -> GatewayConfiguration:
    location = f"env::{KEY_VARIABLE}" if provider.api_key else "none"
    variant = {"type": "chat_completion", "model": _AS_RECORDED, "json_mode": "off"}
    tree = {
        "gateway": {"disable_pseudonymous_usage_analytics": True},
        "provider_types": {"openai": {"defaults": {"api_key_location": location}}},
        "functions": {ACT_FUNCTION: {"type": "json", "variants": {_AS_RECORDED: variant}}},
    }
    return GatewayConfiguration(Path(), Path(), {}, (KEY_VARIABLE,), tree)


def _rendered(opened: OpenClient, chats: Sequence[Chat]) -> list[Any]:
    samples = [_sample(chat) for chat in chats]
    rendered: list[Any] = opened.call(
        "experimental_render_samples",
        stored_samples=samples,
        variants={ACT_FUNCTION: _AS_RECORDED},
    )
    if len(rendered) != len(samples):
        raise FineTuningError(
            f"TensorZero took {len(rendered):,} of {len(samples):,} examples; nothing was uploaded"
        )
    return rendered


def _sample(chat: Chat) -> Any:
    """Returns a chat as an inference that TensorZero could have stored."""
    from tensorzero.generated_types import (
        JsonInferenceOutput,
        StoredInferenceJson,
        StoredInput,
        StoredInputMessage,
        StoredInputMessageContentText,
    )

    text = StoredInputMessageContentText(text=chat.user)
    return StoredInferenceJson(
        episode_id=new_episode_id(),
        function_name=ACT_FUNCTION,
        inference_id=new_episode_id(),
        timestamp="2000-01-01T00:00:00Z",
        variant_name=_AS_RECORDED,
        input=StoredInput(
            system=chat.system, messages=[StoredInputMessage(role="user", content=[text])]
        ),
        output=JsonInferenceOutput(raw=chat.answer, parsed=None),
        output_schema={},
    )


@contextmanager
def _redirected(provider: Provider) -> Iterator[None]:
    before = os.environ.pop(REDIRECT_VARIABLE, None)
    if provider.redirect is not None:
        os.environ[REDIRECT_VARIABLE] = provider.redirect
    try:
        yield
    finally:
        os.environ.pop(REDIRECT_VARIABLE, None)
        if before is not None:
            os.environ[REDIRECT_VARIABLE] = before


def _told(error: Exception) -> str:
    """Returns what TensorZero said, without the JSON around it."""
    text = str(getattr(error, "text", None) or error)
    try:
        return str(json.loads(text)["error"])
    except (ValueError, LookupError, TypeError):
        return text


def _launch_failure(text: str, model: str, provider: Provider) -> FineTuningError:
    scrub = Scrubber([provider.api_key] if provider.api_key else [])
    reason = provider_message(text.partition("text: ")[2])
    if reason is not None:
        return FineTuningError(f"{provider.name} refused the training data: {scrub(reason)}")
    if "Error sending request" in text:
        return FineTuningError(f"{provider.api_url} gave no answer; nothing was started")
    if "Error parsing JSON response" in text:
        return FineTuningError(
            f"{provider.name} took the training data and refused the job, for a reason that "
            f"TensorZero does not tell; can {model!r} be fine-tuned, and may this key do it?"
        )
    return FineTuningError(f"TensorZero could not start the job: {scrub(text)}")
