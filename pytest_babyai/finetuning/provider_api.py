"""OpenAI's fine-tuning jobs over HTTP: what TensorZero's client does not tell.

TensorZero starts a job, but can follow it only with the object that starting it returned, which no
other process can have; and it keeps a provider's reasons to itself. So jobs are followed here, the
same way whether this process started them or an earlier one.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pytest_babyai.errors import CredentialsError
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.gateway.failures import Scrubber

OPENAI_API: Final = "https://api.openai.com/v1"
SUCCEEDED: Final = "succeeded"
FINAL: Final = frozenset({SUCCEEDED, "failed", "cancelled"})
GONE: Final = "gone"
"""Our own word for a job that its provider no longer knows."""

_TIMEOUT_S: Final = 30.0
_MAX_EVENTS: Final = 100
NOT_FOUND: Final = 404

_UNAUTHORIZED: Final = 401
_TRANSIENT: Final = frozenset({408, 409, 429})
_SERVER_ERROR: Final = 500


class ProviderUnavailableError(FineTuningError):
    """The provider did not answer this time; the same question may be answered later."""


class ProviderRefusedError(FineTuningError):
    """The provider refused.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Provider:
    """Where fine-tuning jobs run.

    Attributes:
        name: ``openai`` or ``offline``.
        api_url: What precedes ``/fine_tuning/jobs``.
        models_url: Where the models are listed.
        api_key: The key, None where none is asked for; in no ``repr``.
        redirect: What TensorZero has to be told to reach ``api_url``; None for OpenAI itself.
    """

    name: str
    api_url: str
    models_url: str
    api_key: str | None = None
    redirect: str | None = None

    def __repr__(self) -> str:
        """Names the provider without its key."""
        return f"Provider({self.name!r}, {self.api_url!r})"


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the provider sees it.

    Attributes:
        status: ``validating_files``, ``queued``, ``running``, ``succeeded``, ``failed`` or
            ``cancelled``; providers may add more that are not final.
        fine_tuned_model: Name of the model, None until there is one.
        error: Why it failed, empty where that was not told.
        trained_tokens: Tokens that were trained on, None until known.
        finished_at: End in seconds since the epoch, None until then.
    """

    status: str
    fine_tuned_model: str | None = None
    error: str = ""
    trained_tokens: int | None = None
    finished_at: int | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that a job told.

    Attributes:
        event_id: Different for every event of a job.
        created_at: Seconds since the epoch.
        message: What was told.
        is_measurement: Whether it is one of many figures, such as a training loss.
    """

    event_id: str
    created_at: float
    message: str
    is_measurement: bool


class FineTuningApi:
    """Asks a provider about jobs and models.

    Args:
        provider: Whom to ask.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._scrub = Scrubber([provider.api_key] if provider.api_key else [])

    def job(self, job_id: str) -> JobState:
        """Returns how a job stands.

        Raises:
            ProviderUnavailableError: There is no answer this time.
            ProviderRefusedError: There is no such job, or the key may not see it.
            CredentialsError: The key is not valid.
        """
        job = self._get(f"{self._provider.api_url}/fine_tuning/jobs/{quote(job_id, safe='')}")
        error = job.get("error")
        message = error.get("message") if isinstance(error, Mapping) else None
        model = job.get("fine_tuned_model")
        return JobState(
            status=str(job.get("status")),
            fine_tuned_model=str(model) if model else None,
            error=self._scrub(str(message)) if message else "",
            trained_tokens=_whole(job.get("trained_tokens")),
            finished_at=_whole(job.get("finished_at")),
        )

    def events(self, job_id: str) -> list[JobEvent]:
        """Returns the last events of a job, oldest first; none where they cannot be had."""
        path = f"fine_tuning/jobs/{quote(job_id, safe='')}/events?limit={_MAX_EVENTS}"
        try:
            listed = self._get(f"{self._provider.api_url}/{path}").get("data")
        except (FineTuningError, CredentialsError):
            return []  # progress is told with them, and goes on without
        found = [event for event in listed or [] if isinstance(event, Mapping)]
        events = [
            JobEvent(
                event_id=str(event.get("id")),
                created_at=float(event.get("created_at") or 0),
                message=self._scrub(str(event.get("message", ""))),
                is_measurement=event.get("type") == "metrics",
            )
            for event in found
        ]
        return events[::-1]

    def check_access(self) -> None:
        """Makes sure that the key may see jobs, before anything is uploaded.

        Raises:
            CredentialsError: It is not valid.
            ProviderRefusedError: It may not.
            ProviderUnavailableError: There is no answer.
        """
        self._get(f"{self._provider.api_url}/fine_tuning/jobs?limit=1")

    def models(self) -> list[str]:
        """Returns the names of the models, none where the key may not list them.

        Raises:
            CredentialsError: The key is not valid.
            ProviderUnavailableError: There is no answer.
        """
        try:
            listed = self._get(self._provider.models_url).get("data")
        except ProviderRefusedError:
            return []
        return [str(model.get("id")) for model in listed or [] if isinstance(model, Mapping)]

    def _get(self, url: str) -> Mapping[str, Any]:
        request = urllib.request.Request(url, headers=self._headers())  # noqa: S310 - ours
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                content = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = self._scrub(str(getattr(error, "reason", None) or error))
            raise ProviderUnavailableError(f"{url} gave no answer: {reason}") from None
        if not isinstance(content, Mapping):
            raise ProviderUnavailableError(f"{url} gave no answer of OpenAI's interface")
        return content

    def _headers(self) -> dict[str, str]:
        key = self._provider.api_key
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        body = error.read().decode(errors="replace")
        reason = self._scrub(provider_message(body) or str(error.reason))
        if error.code == _UNAUTHORIZED:
            return CredentialsError(
                f"{self._provider.name} refused the key in OPENAI_API_KEY: {reason}"
            )
        if error.code in _TRANSIENT or error.code >= _SERVER_ERROR:
            return ProviderUnavailableError(
                f"{self._provider.name} failed ({error.code}): {reason}"
            )
        return ProviderRefusedError(
            f"{self._provider.name} refused ({error.code}): {reason}", error.code
        )


def provider_message(body: str) -> str | None:
    """Returns the message of an OpenAI-style error body, None where it is none."""
    try:
        content, _ = json.JSONDecoder().raw_decode(body.lstrip())
        message = content["error"]["message"]
    except (ValueError, LookupError, TypeError):
        return None
    return str(message)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
