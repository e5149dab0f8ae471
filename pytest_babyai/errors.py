"""Every exception of the project.

```
BabyAIError
├── UsageError                      something the user can put right; its text is one line
│   ├── SettingsError               an option, ini value, YAML entry or marker argument
│   ├── ConfigurationError          a TensorZero file: TOML, template, schema, model definition
│   ├── CredentialsError            an API key is missing or refused
│   │   └── QuotaError              the provider's account has no credit left
│   ├── UnknownTaskError            no such BabyAI task
│   ├── EnvironmentUnavailableError the chosen environment is not installed
│   ├── ServerStartError            the offline model server, or the embedded store, did not start
│   ├── StatisticsError             numbers that no statistic can be made of
│   ├── JournalError                a run's journal cannot be written or read
│   ├── BaselineError               a baseline cannot be read, written or compared with
│   └── RuleError                   a gate's rule is no rule, or names what there is not
├── ContextOverflowError            the prompt no longer fits the model's context
├── NotStartedError                 an episode was not begun: the run starts nothing more
└── InfrastructureError             an episode could not be played; never a score
    ├── RateLimitError              the provider kept answering 429
    ├── RequestTimeoutError         no answer in time
    ├── EpisodeTimeoutError         the episode was not over in time
    ├── ProviderError               the provider failed: 5xx, refused, reset, not an API answer
    ├── GatewayError                the TensorZero gateway itself failed
    │   └── StoreError              the store could not be asked, or answered nonsense
    └── EnvironmentFailureError     the environment raised
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class BabyAIError(Exception):
    """Root of the project's exceptions."""


class UsageError(BabyAIError):
    """Something the user can put right, told in one line."""


class SettingsError(UsageError):
    """An option, ini value, YAML entry or marker argument is wrong."""


class ConfigurationError(UsageError):
    """A TensorZero configuration file, template, schema or model definition is wrong."""


class CredentialsError(UsageError):
    """An API key that the chosen model needs is not set, or the provider refuses it."""


class QuotaError(CredentialsError):
    """The provider's account has no credit left; asking again cannot help."""


class UnknownTaskError(UsageError, ValueError):
    """The task is none of the BabyAI tasks."""


class EnvironmentUnavailableError(UsageError):
    """The chosen environment is not installed."""


class ServerStartError(UsageError):
    """The offline model server, or the embedded store, could not start."""


class StatisticsError(UsageError):
    """Numbers that no statistic can be made of: NaN, a negative count, a level of 95."""


class JournalError(UsageError):
    """A run's journal cannot be written or read."""


class BaselineError(UsageError):
    """A baseline cannot be read, written or compared with."""


class RuleError(UsageError):
    """A gate's rule is no rule, or names a metric, variant or task that there is not."""


class ContextOverflowError(BabyAIError):
    """The prompt no longer fits the model's context: the episode ends there, and is scored."""


class NotStartedError(BabyAIError):
    """An episode was not begun, as the run starts nothing more; its text says why.

    Neither a failure nor a score: resuming the run plays it.
    """


class InfrastructureError(BabyAIError):
    """An episode could not be played for a reason that says nothing about the model.

    Attributes:
        kind: Short name under which such failures are counted.
        retryable: Whether the same request may succeed later.
        retry_after_s: How long the provider asks to wait, in seconds; None where it does not say.
        provider_status: HTTP status of the model provider; None where there was no readable one.
        num_attempts: How often the request was tried before it was given up.
    """

    kind: ClassVar[str] = "infrastructure"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        retry_after_s: float | None = None,
        provider_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.provider_status = provider_status
        self.num_attempts = 1


class RateLimitError(InfrastructureError):
    """The provider kept refusing requests with status 429."""

    kind = "rate limit"


class RequestTimeoutError(InfrastructureError):
    """No answer came within the request's time limit."""

    kind = "timeout"


class EpisodeTimeoutError(InfrastructureError):
    """The episode was not over within its time limit."""

    kind = "timeout"


class ProviderError(InfrastructureError):
    """The model provider failed or answered with something that is no API answer."""

    kind = "provider"


class GatewayError(InfrastructureError):
    """The TensorZero gateway could not be reached or failed by itself."""

    kind = "gateway"


class StoreError(GatewayError):
    """The store could not be asked, refused, or answered with something that is no answer."""

    kind = "store"


class EnvironmentFailureError(InfrastructureError):
    """The environment raised while an episode was being played."""

    kind = "environment"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Ends an error line: the closest choice where there is one, else all of them.

    Returns:
        ``"did you mean 'goto'?"`` or ``"choose from goto, pickup"``.
    """
    import difflib  # only a mistake pays for it

    known = list(choices)
    close = difflib.get_close_matches(word, known, n=1)
    if not close:
        lowered = {name.lower(): name for name in known}
        close = [lowered[match] for match in difflib.get_close_matches(word.lower(), lowered, n=1)]
    if close:
        return f"did you mean {close[0]!r}?"
    return f"choose from {', '.join(known)}" if known else "there is nothing to choose from"
