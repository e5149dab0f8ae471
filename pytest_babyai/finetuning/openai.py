"""OpenAI's fine-tuning interface over HTTP: upload, create, follow. Also the offline server's.

https://platform.openai.com/docs/api-reference/fine-tuning
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx

from pytest_babyai.errors import CredentialsError, did_you_mean
from pytest_babyai.finetuning.chats import SFT
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.gateway.failures import Scrubber

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from pytest_babyai.finetuning.dataset import DataCard

OPENAI: Final = "openai"
OFFLINE: Final = "offline"
OFFLINE_MODEL: Final = "babyai-offline"
OPENAI_API: Final = "https://api.openai.com/v1"
KEY_VARIABLE: Final = "OPENAI_API_KEY"
BASE_URL_VARIABLE: Final = "OPENAI_BASE_URL"
"""Another address of OpenAI's interface, as OpenAI's own client reads it."""
SUCCEEDED: Final = "succeeded"
FINAL: Final = frozenset({SUCCEEDED, "failed", "cancelled"})
GONE: Final = "gone"
"""Our own word for a job that its provider no longer knows."""
NOT_FOUND: Final = 404

_TIMEOUT_S: Final = 30.0
_UPLOAD_TIMEOUT_S: Final = 600.0
_MAX_EVENTS: Final = 100
_UNAUTHORIZED: Final = 401
_TRANSIENT: Final = frozenset({408, 409, 429})
_SERVER_ERROR: Final = 500
_METHODS: Final = {"sft": "supervised", "dpo": "dpo"}
_OF_THE_JOB: Final = ("seed", "suffix")
"""Parameters of the job itself; all others are hyperparameters of its method."""

DOLLARS_PER_MILLION_TOKENS: Final = {
    "gpt-4.1-nano": 1.5,
    "gpt-4.1-mini": 5.0,
    "gpt-4.1": 25.0,
    "gpt-4o-mini": 3.0,
    "gpt-4o": 25.0,
    "gpt-3.5-turbo": 8.0,
}
"""OpenAI's list prices of training; the longest name that a model begins with counts."""


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
        api_key: The key, None where none is asked for; in no ``repr``.
    """

    name: str
    api_url: str
    api_key: str | None = field(default=None, repr=False)


def provider_of(model: str) -> str:
    """Returns who fine-tunes a model: ``offline`` for the offline models, else ``openai``."""
    return OFFLINE if model.removeprefix("ft:").startswith(OFFLINE_MODEL) else OPENAI


def openai_provider(environ: Mapping[str, str]) -> Provider:
    """Returns OpenAI, or what the environment has in its place."""
    url = environ.get(BASE_URL_VARIABLE) or OPENAI_API
    return Provider(OPENAI, url.rstrip("/"), environ.get(KEY_VARIABLE) or None)


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the provider sees it.

    Attributes:
        status: ``validating_files``, ``queued``, ``running``, ``succeeded``, ``failed`` or
            ``cancelled``; providers may add more that are not final.
        fine_tuned_model: Name of the model, None until there is one.
        error: Why it failed, empty where that was not told.
        trained_tokens: Tokens that were trained on, None until known.
        hyperparameters: As far as the provider has settled them.
    """

    status: str
    fine_tuned_model: str | None = None
    error: str = ""
    trained_tokens: int | None = None
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that a job told.

    Attributes:
        event_id: Different for every event of a job.
        message: What was told.
        is_measurement: Whether it is one of many figures, such as a training loss.
    """

    event_id: str
    message: str
    is_measurement: bool


class FineTuningApi:
    """A provider's files, jobs and models. To be closed, or used as a context manager.

    Args:
        provider: Whom to ask.

    Raises:
        CredentialsError: The key is missing, where one is needed, or not valid.
        ProviderUnavailableError: There is no answer this time.
        ProviderRefusedError: The provider refuses.
    """

    def __init__(self, provider: Provider) -> None:
        if provider.name == OPENAI and provider.api_key is None:
            raise CredentialsError(
                f"the environment variable {KEY_VARIABLE} is not set; set it "
                f"(export {KEY_VARIABLE}=...) or fine-tune without a key: --model {OFFLINE_MODEL}"
            )
        self._provider = provider
        self._scrub = Scrubber([provider.api_key] if provider.api_key else [])
        key = provider.api_key
        self._client = httpx.Client(
            base_url=f"{provider.api_url}/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=_TIMEOUT_S,
            trust_env=provider.name == OPENAI,  # no proxy stands before this machine
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def check_model(self, model: str) -> None:
        """Makes sure that key and model are good, before anything is uploaded."""
        self._ask("GET", "fine_tuning/jobs", params={"limit": 1})
        try:
            listed = self._ask("GET", "models").get("data")
        except ProviderRefusedError:
            return  # a key that may fine-tune need not be allowed to list models
        names = [str(item.get("id")) for item in listed or [] if isinstance(item, Mapping)]
        if names and model not in names:
            close = did_you_mean(model, names)
            hint = close if close.startswith("did") else "see the provider's list of models"
            raise FineTuningError(f"--model: {self._provider.name} has no model {model!r}; {hint}")

    def upload(self, name: str, content: bytes) -> str:
        """Uploads a file, and returns its id."""
        files = {"file": (name, content, "application/jsonl")}
        try:
            uploaded = self._ask(
                *("POST", "files"),
                files=files,
                data={"purpose": "fine-tune"},
                timeout=_UPLOAD_TIMEOUT_S,
            )
        except ProviderRefusedError as error:
            raise FineTuningError(f"{error}; the training data was not taken") from None
        return str(uploaded["id"])

    def create(
        self,
        model: str,
        training_file: str,
        validation_file: str | None,
        parameters: Mapping[str, Any],
        kind: str = SFT,
    ) -> str:
        """Starts a job, and returns its id.

        Args:
            model: The model to start from.
            training_file: Id of the uploaded examples.
            validation_file: Id of the examples to measure with, if there are any.
            parameters: ``n_epochs``, ``batch_size``, ``learning_rate_multiplier``, ``beta``,
                ``seed`` and ``suffix``, as far as given.
            kind: ``sft`` or ``dpo``.
        """
        hyperparameters = {k: v for k, v in parameters.items() if k not in _OF_THE_JOB}
        method = _METHODS[kind]
        body = {
            "model": model,
            "training_file": training_file,
            "method": {"type": method, method: {"hyperparameters": hyperparameters}},
            **({"validation_file": validation_file} if validation_file else {}),
            **{name: parameters[name] for name in _OF_THE_JOB if name in parameters},
        }
        return str(self._ask("POST", "fine_tuning/jobs", json=body)["id"])

    def job(self, job_id: str) -> JobState:
        """Returns how a job stands."""
        job = self._ask("GET", f"fine_tuning/jobs/{quote(job_id, safe='')}")
        error = job.get("error")
        message = error.get("message") if isinstance(error, Mapping) else None
        model, trained = job.get("fine_tuned_model"), job.get("trained_tokens")
        return JobState(
            status=str(job.get("status")),
            fine_tuned_model=str(model) if model else None,
            error=self._scrub(str(message)) if message else "",
            trained_tokens=trained if isinstance(trained, int) else None,
            hyperparameters=_settled(job),
        )

    def events(self, job_id: str) -> list[JobEvent]:
        """Returns the last events of a job, oldest first; none where they cannot be had."""
        path = f"fine_tuning/jobs/{quote(job_id, safe='')}/events"
        try:
            listed = self._ask("GET", path, params={"limit": _MAX_EVENTS}).get("data")
        except (FineTuningError, CredentialsError):
            return []  # progress is told with them, and goes on without
        return [
            JobEvent(
                event_id=str(event.get("id")),
                message=self._scrub(str(event.get("message", ""))),
                is_measurement=event.get("type") == "metrics",
            )
            for event in reversed(listed or [])
            if isinstance(event, Mapping)
        ]

    def _ask(self, method: str, path: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            response = self._client.request(method, path, **arguments)
            if response.is_error:
                raise self._refusal(response)
            content = response.json()
        except httpx.InvalidURL as error:
            raise FineTuningError(f"{BASE_URL_VARIABLE}: {self._scrub(str(error))}") from None
        except (httpx.HTTPError, ValueError) as error:
            reason = self._scrub(str(error)) or type(error).__name__
            raise ProviderUnavailableError(
                f"{self._provider.api_url}/{path} gave no answer: {reason}"
            ) from None
        if not isinstance(content, Mapping):
            raise ProviderUnavailableError(
                f"{self._provider.api_url}/{path} gave no answer of OpenAI's interface"
            )
        return content

    def _refusal(self, response: httpx.Response) -> Exception:
        name, status = self._provider.name, response.status_code
        reason = self._scrub(_message_of(response) or response.reason_phrase)
        if status == _UNAUTHORIZED:
            return CredentialsError(f"{name} refused the key in {KEY_VARIABLE}: {reason}")
        if status in _TRANSIENT or status >= _SERVER_ERROR:
            return ProviderUnavailableError(f"{name} failed ({status}): {reason}")
        return ProviderRefusedError(f"{name} refused ({status}): {reason}", status)


def _message_of(response: httpx.Response) -> str | None:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return None


def _settled(job: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the provider chose or was told, without what is still ``auto``."""
    method = job.get("method")
    newer = method.get(method.get("type")) if isinstance(method, Mapping) else None
    newer = newer.get("hyperparameters") if isinstance(newer, Mapping) else None
    found = {**(job.get("hyperparameters") or {}), **(newer or {})}
    found |= {"seed": job["seed"]} if isinstance(job.get("seed"), int) else {}
    return {name: value for name, value in found.items() if value not in ("auto", None)}


@contextmanager
def opened(provider: Provider) -> Iterator[FineTuningApi]:
    """Opens a provider's interface, and closes it."""
    api = FineTuningApi(provider)
    try:
        yield api
    finally:
        api.close()


def cost_line(card: DataCard, model: str, parameters: Mapping[str, Any]) -> str:
    """Returns about what a job at OpenAI costs, in one line.

    The number of epochs, where it is left open, is OpenAI's documented default: three, fewer for
    more than 25,000 examples, more for less than 100.
    """
    num_examples = card.train.num_examples
    epochs = parameters.get("n_epochs") or max(
        1, min(25, round(max(min(3 * num_examples, 25_000), 100) / max(num_examples, 1)))
    )
    num_tokens = card.train.num_tokens * int(epochs)
    known = [name for name in DOLLARS_PER_MILLION_TOKENS if model.startswith(name)]
    if not known:
        price = "a price that is not known here"
    else:
        dollars = num_tokens / 1e6 * DOLLARS_PER_MILLION_TOKENS[max(known, key=len)]
        price = f"about ${dollars:,.2f} at list price"
    return (
        f"fine-tuning {model} on {card.train.num_tokens:,} tokens for about {epochs} "
        f"epoch{'' if epochs == 1 else 's'}: {price}"
    )


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a job is asked about.

    Attributes:
        poll_s: Seconds between two questions.
        patience_s: Seconds without an answer after which waiting ends; the job goes on.
        sleep: Waits so many seconds.
        monotonic_s: Seconds that never run backwards.
    """

    poll_s: float = 5.0
    patience_s: float = 600.0
    sleep: Callable[[float], object] = time.sleep
    monotonic_s: Callable[[], float] = time.monotonic


@dataclass
class _News:
    """What has been said of a job already."""

    events: set[str] = field(default_factory=set)
    status: str = ""

    def of(self, status: str, events: Iterable[JobEvent]) -> Iterator[str]:
        if status != self.status:
            self.status = status
            yield status.replace("_", " ")
        fresh = [event for event in events if event.event_id not in self.events]
        self.events.update(event.event_id for event in fresh)
        # Of many figures since the last look the last one is enough.
        skipped = [event for event in fresh if event.is_measurement][:-1]
        yield from (event.message for event in fresh if event not in skipped)


def follow(
    api: FineTuningApi, job_id: str, pace: Pace | None = None
) -> Generator[str, None, JobState]:
    """Yields a line for whatever happens to a job: its status, its events.

    Args:
        api: Whom to ask.
        job_id: The job.
        pace: How often.

    Returns:
        The job's final state.

    Raises:
        FineTuningError: The provider has no such job, refuses, or has not answered for long.
        CredentialsError: The key is not valid.
    """
    pace = pace or Pace()
    started_s = answered_s = pace.monotonic_s()
    news = _News()
    while True:
        try:
            state = api.job(job_id)
        except ProviderUnavailableError as error:
            if pace.monotonic_s() - answered_s >= pace.patience_s:
                raise FineTuningError(
                    f"{error}; job {job_id} goes on without us, and the same command picks it up"
                ) from None
            yield f"{_elapsed(pace.monotonic_s() - started_s)} no answer, asking again"
        else:
            answered_s = pace.monotonic_s()
            for line in news.of(state.status, api.events(job_id)):
                yield f"{_elapsed(answered_s - started_s)} {line}"
            if state.status in FINAL:
                return state
        pace.sleep(pace.poll_s)


def _elapsed(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:3d}:{rest:02d}"
