"""What an episode is and what it left behind: frozen records with a plain-dict form."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable


@dataclass(frozen=True, slots=True, order=True)
class EpisodeSpec:
    """Names one episode: a variant plays a task on a seed."""

    variant: str
    task: str
    seed: int

    def __str__(self) -> str:
        """Reads as in a node id: ``baseline-goto-200``."""
        return f"{self.variant}-{self.task}-{self.seed}"


@dataclass(frozen=True, slots=True)
class PlannedEpisode:
    """An episode with all that decides how it is played; equal ones are played once.

    Attributes:
        spec: Variant, task and seed.
        history_length: Past steps that variants with history see.
        num_dists: Distractor objects added to the level.
        repeat: Which of several plays of the episode this is, from 0.
        is_repeated: Whether there are several, so that each sends a sampling seed of its own.
    """

    spec: EpisodeSpec
    history_length: int = 8
    num_dists: int = 0
    repeat: int = 0
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What inferences consumed; sums with ``+``.

    Attributes:
        input_tokens: Tokens of the prompts, as the provider counted them; None if it did not.
        output_tokens: Tokens of the answers; None if the provider did not count them.
        cost: US dollars, None where no price is known.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None

    def __add__(self, other: Usage) -> Usage:
        """Adds field by field; an unknown part makes the sum unknown."""
        return Usage(
            _add(self.input_tokens, other.input_tokens),
            _add(self.output_tokens, other.output_tokens),
            _add(self.cost, other.cost),
        )


def _add(left: Any, right: Any) -> Any:
    return None if left is None or right is None else left + right


NO_USAGE = Usage(0, 0, 0.0)
"""The usage of no inference at all; the start of a sum."""


def total_usage(usages: Iterable[Usage]) -> Usage:
    """Sums usages as ``+`` does, without an object for every part."""
    parts = tuple(usages)
    return Usage(
        _total([part.input_tokens for part in parts]),
        _total([part.output_tokens for part in parts]),
        _total([part.cost for part in parts]),
    )


def _total(values: list[Any]) -> Any:
    return None if None in values else sum(values)


class AnswerStatus(str, enum.Enum):
    """How a model's answer became an action."""

    VALID = "valid"
    """The answer named a known action."""
    UNKNOWN_ACTION = "unknown_action"
    """It parsed, yet named no known action; "go forward" was executed."""
    UNPARSABLE = "unparsable"
    """It did not parse; "go forward" was executed."""
    CUT_OFF = "cut_off"
    """It reached the limit of tokens before it named an action; "go forward" was executed."""
    FALLBACK = "fallback"
    """No answer came, and the user asked for a random legal action instead."""


@dataclass(frozen=True, slots=True)
class Step:
    """One observation, what the model answered, and what came of it.

    Attributes:
        observation: Text that the model saw.
        output: Raw text of the answer, empty for a fallback.
        thinking: The answer's reasoning, None where it gave none.
        candidate: Action as answered; the raw text where the answer did not parse.
        action: Action that the environment executed.
        reward: Reward of this step.
        status: How the answer became the action.
        latency_ms: Time from the request to its answer, retries and waits included.
        usage: Tokens and cost of this inference; a cached one costs nothing.
        inference_id: The gateway's id of the inference, None for a fallback.
        cached: Whether the answer came from a cache, and nothing was asked of the model.
        finish_reason: Why the model stopped, such as ``"length"`` where it was cut off; None where
            it was not told.
        reasoning: What the provider's reasoning channel said, beside the answer; None for nothing.
        model: The model that answered, as the provider names it; None where it was not told.
    """

    observation: str
    output: str
    thinking: str | None
    candidate: str
    action: str
    reward: float
    status: AnswerStatus
    latency_ms: float
    usage: Usage
    inference_id: str | None = None
    cached: bool = False
    finish_reason: str | None = None
    reasoning: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """A finished episode.

    Attributes:
        spec: Which episode this is.
        episode_id: The gateway's id of the episode, a UUIDv7.
        mission: The instruction that the environment gave.
        max_steps: The environment's step limit.
        progression: 1.0 once the task was solved, else 0.0.
        episode_return: Sum of the rewards.
        num_steps: Steps played; ``steps`` may be dropped to save memory, this stays.
        terminated: The task ended by itself.
        truncated: The step limit was reached.
        usage: Sum over all steps.
        failed_candidates: Answers that named no known action or did not parse, in order.
        num_fallbacks: Steps on which a random action stood in for a failed request.
        num_retries: Requests that were repeated.
        started_at_s: Start, in seconds since the epoch.
        duration_s: Wall time from start to end.
        steps: The trajectory.
        layout_fingerprint: Hash of the level and its mission, None if the environment gave none.
        num_cached: Steps whose answer came from a cache.
        models: The models that answered, as their providers name them, the first one first.
    """

    spec: EpisodeSpec
    episode_id: str
    mission: str
    max_steps: int
    progression: float
    episode_return: float
    num_steps: int
    terminated: bool
    truncated: bool
    usage: Usage
    failed_candidates: tuple[str, ...]
    num_fallbacks: int
    num_retries: int
    started_at_s: float
    duration_s: float
    steps: tuple[Step, ...] = ()
    layout_fingerprint: str | None = None
    num_cached: int = 0
    models: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.progression >= 1.0

    def without_steps(self) -> EpisodeResult:
        """Returns the same result without its trajectory."""
        return dataclasses.replace(self, steps=())

    def to_record(self) -> dict[str, Any]:
        """Returns plain types only, as JSON and execnet carry them."""
        return {"type": "result", **_plain(self)}


@dataclass(frozen=True, slots=True)
class EpisodeFailure:
    """An episode that the infrastructure kept from being played; never a score.

    Attributes:
        spec: Which episode this is.
        episode_id: The gateway's id of the episode, a UUIDv7.
        kind: The `InfrastructureError.kind` that ended it.
        message: One line, free of secrets.
        num_steps: Steps played before the failure.
        num_retries: Requests that were repeated.
        usage: What was consumed before the failure.
        started_at_s: Start, in seconds since the epoch.
        duration_s: Wall time from start to failure.
        steps: The trajectory up to the failure.
        num_cached: Steps whose answer came from a cache.
    """

    spec: EpisodeSpec
    episode_id: str
    kind: str
    message: str
    num_steps: int
    num_retries: int
    usage: Usage
    started_at_s: float
    duration_s: float
    steps: tuple[Step, ...] = ()
    num_cached: int = 0

    def without_steps(self) -> EpisodeFailure:
        """Returns the same failure without its trajectory."""
        return dataclasses.replace(self, steps=())

    def to_record(self) -> dict[str, Any]:
        """Returns plain types only, as JSON and execnet carry them."""
        return {"type": "failure", **_plain(self)}


@dataclass(frozen=True, slots=True)
class Episode:
    """What a test gets as ``babyai_episode``: a finished episode, to be awaited or read.

    Attributes:
        result: What came of it.
        threshold: Progression that it has to reach.
    """

    result: EpisodeResult
    threshold: float

    @property
    def passed(self) -> bool:
        """Whether the progression reached the threshold."""
        return self.result.progression >= self.threshold

    def __await__(self) -> Generator[None, None, EpisodeResult]:
        """Gives the result, so that asynchronous tests read naturally."""
        yield from ()
        return self.result


EpisodeOutcome = EpisodeResult | EpisodeFailure
"""What came of an episode: a score, or the reason there is none."""


def outcome_from_record(record: dict[str, Any]) -> EpisodeOutcome:
    """Rebuilds what `EpisodeResult.to_record` or `EpisodeFailure.to_record` wrote.

    Raises:
        KeyError: A field without default is missing; earlier versions lack some that have one.
        TypeError: A field is unknown.
    """
    fields = dict(record)
    kind = fields.pop("type")
    fields["spec"] = EpisodeSpec(**fields["spec"])
    fields["usage"] = Usage(**fields["usage"])
    fields["steps"] = tuple(_step_from_record(step) for step in fields.get("steps", ()))
    if kind == "failure":
        return EpisodeFailure(**fields)
    fields["failed_candidates"] = tuple(fields["failed_candidates"])
    fields["models"] = tuple(fields.get("models", ()))
    return EpisodeResult(**fields)


def _step_from_record(record: dict[str, Any]) -> Step:
    fields = dict(record)
    fields["usage"] = Usage(**fields["usage"])
    fields["status"] = AnswerStatus(fields["status"])
    return Step(**fields)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value.value if isinstance(value, enum.Enum) else value


class OutcomeKind(str, enum.Enum):
    """What became of an episode, in the words of reports."""

    PASSED = "passed"
    """Its progression reached the threshold."""
    INVALID_ANSWERS = "invalid answers"
    """It stayed below, and most of its answers named no known action."""
    LIMIT_REACHED = "limit reached"
    """It stayed below until its step limit."""
    BELOW_THRESHOLD = "below threshold"
    """It ended by itself, below the threshold."""
    INFRASTRUCTURE_FAILURE = "infrastructure failure"
    """It has no score."""


def outcome_kind(outcome: EpisodeOutcome, threshold: float) -> OutcomeKind:
    """Classifies an outcome; the first kind that fits, in the order of `OutcomeKind`.

    Args:
        outcome: What came of the episode.
        threshold: Progression that it had to reach.
    """
    if isinstance(outcome, EpisodeFailure):
        return OutcomeKind.INFRASTRUCTURE_FAILURE
    if outcome.progression >= threshold:
        return OutcomeKind.PASSED
    if 2 * len(outcome.failed_candidates) > outcome.num_steps:
        return OutcomeKind.INVALID_ANSWERS
    return OutcomeKind.LIMIT_REACHED if outcome.truncated else OutcomeKind.BELOW_THRESHOLD
