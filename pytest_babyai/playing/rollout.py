"""The loop of one episode: observe, ask, act."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from textwrap import shorten
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pytest_babyai.errors import (
    BabyAIError,
    EnvironmentFailureError,
    EpisodeTimeoutError,
    InfrastructureError,
)
from pytest_babyai.gateway.arguments import StepHistory
from pytest_babyai.gateway.inference import (
    NO_INFERENCE,
    InferenceRequest,
    episode_tags,
    new_episode_id,
)
from pytest_babyai.gateway.time_limit import TimeLimit
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeFailure,
    EpisodeResult,
    Step,
    total_usage,
)
from pytest_babyai.retries import Clock, RetryPolicy, with_retries

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from pytest_babyai.environment import Environment
    from pytest_babyai.gateway.inference import Inference, InferenceClient
    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec

Params = ParamSpec("Params")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """How episodes are played.

    Attributes:
        history_length: How many past steps every request carries.
        max_attempts: See `RetryPolicy`, also for the next two.
        on_error: What follows a request that failed for good: ``"raise"`` ends the episode as an
            `EpisodeFailure`; ``"fallback"`` executes a random known action, drawn from the episode
            and the step number alone, and counts it.
        tags: Stored with every inference, next to `episode_tags`.
        model_seed: Sampling seed sent to the provider, None for none.
        episode_timeout_s: Time limit of the whole episode, waits included; None for none. An
            episode that is not over by then is an `EpisodeFailure` of kind ``"timeout"``.
    """

    history_length: int = 8
    max_attempts: int = 5
    initial_backoff_s: float = 1.0
    max_backoff_s: float = 30.0
    on_error: str = "raise"
    tags: Mapping[str, str] = field(default_factory=dict)
    model_seed: int | None = None
    episode_timeout_s: float | None = None


async def run_episode(  # noqa: PLR0913 - the episode's whole world, each part replaceable
    spec: EpisodeSpec,
    *,
    client: InferenceClient,
    make_environment: Callable[[str], Environment],
    options: RolloutOptions | None = None,
    clock: Clock | None = None,
    on_step: Callable[[Step], None] | None = None,
    episode_id: str | None = None,
) -> EpisodeOutcome:
    """Plays one episode.

    Args:
        spec: Variant, task and seed.
        client: Answers the requests.
        make_environment: Makes the environment of a task.
        options: How to play.
        clock: Time and chance.
        on_step: Called after each step.
        episode_id: UUIDv7 of the episode; None draws one.

    Returns:
        An `EpisodeResult`, or an `EpisodeFailure` with the trajectory so far where the
        infrastructure kept the episode from its end.

    Raises:
        UsageError: What concerns the whole run: no such task, variant, credentials.
    """
    clock = clock or Clock()
    record = _Record(spec, clock, episode_id or new_episode_id())
    agent = _Agent(client, options or RolloutOptions(), clock, record)
    try:
        stage = _Stage(make_environment, spec)
        try:
            await _in_time(_play(agent, stage, record, on_step), agent.timeout_s)
            return record.result(stage)
        finally:
            stage.close()
    except InfrastructureError as error:
        return record.failure(error)


async def _play(
    agent: _Agent, stage: _Stage, record: _Record, on_step: Callable[[Step], None] | None
) -> None:
    history = StepHistory(agent.history_length)
    while not stage.is_over:
        step = await agent.act(stage, history)
        record.steps.append(step)
        history.add(step)
        if on_step is not None:
            on_step(step)


async def _in_time(playing: Coroutine[Any, Any, None], limit_s: float | None) -> None:
    if limit_s is None:
        await playing
        return
    task = asyncio.ensure_future(playing)
    try:
        await TimeLimit(limit_s).wait_for(task)
    except TimeoutError:
        if not task.cancelled():  # raised by what was called, not by the limit
            raise
        raise EpisodeTimeoutError(f"the episode was not over within {limit_s:g} s") from None


class _Agent:
    """Asks the model, again where that may help, and does what it answers."""

    def __init__(
        self, client: InferenceClient, options: RolloutOptions, clock: Clock, record: _Record
    ) -> None:
        self.history_length = options.history_length
        self.timeout_s = options.episode_timeout_s
        self._client = client
        self._options = options
        self._clock = clock
        self._record = record
        self._retry_policy = RetryPolicy(
            options.max_attempts, options.initial_backoff_s, options.max_backoff_s
        )
        self._tags = {**options.tags, **episode_tags(record.spec)}

    async def act(self, stage: _Stage, history: StepHistory) -> Step:
        observation = stage.observation
        started_s = self._clock.monotonic_s()
        inference = await self._ask(self._request(stage, history))
        latency_ms = (self._clock.monotonic_s() - started_s) * 1e3
        if inference is NO_INFERENCE:
            candidate = action = stage.random_action(str(self._record.spec))
            status = AnswerStatus.FALLBACK
        else:
            candidate, action, status = stage.decide(inference)
        return Step(
            observation=observation,
            output=inference.raw,
            thinking=inference.thinking,
            candidate=candidate,
            action=action,
            reward=stage.step(action),
            status=status,
            latency_ms=latency_ms,
            usage=inference.usage,
            inference_id=inference.inference_id or None,
            cached=inference.cached,
            finish_reason=inference.finish_reason,
            model=inference.model,
        )

    def _request(self, stage: _Stage, history: StepHistory) -> InferenceRequest:
        return InferenceRequest(
            variant=self._record.spec.variant,
            episode_id=self._record.episode_id,
            mission=stage.mission,
            observation=stage.observation,
            history=history.steps(),
            step=history.num_steps + 1,
            max_steps=stage.max_steps,
            last_answer=history.last_answer,
            tags=self._tags,
            seed=self._options.model_seed,
            occasion=f"{self._record.spec}#{len(self._record.steps)}",
        )

    async def _ask(self, request: InferenceRequest) -> Inference:
        try:
            return await with_retries(
                lambda: self._client.infer(request),
                self._retry_policy,
                self._clock,
                on_retry=self._record.count_retry,
            )
        except InfrastructureError:
            if self._options.on_error != "fallback":
                raise
            return NO_INFERENCE


def _environment_failures(call: Callable[Params, Value]) -> Callable[Params, Value]:
    """Makes what an environment raises an `EnvironmentFailureError`; usage errors stay."""

    @wraps(call)
    def guarded(*args: Params.args, **kwargs: Params.kwargs) -> Value:
        try:
            return call(*args, **kwargs)
        except BabyAIError:
            raise
        except Exception as error:
            line = shorten(f"{type(error).__name__}: {error}", 200, placeholder="…")
            raise EnvironmentFailureError(line, retryable=False) from error

    return guarded


class _Stage:
    """An environment in play: where the episode stands."""

    @_environment_failures
    def __init__(self, make_environment: Callable[[str], Environment], spec: EpisodeSpec) -> None:
        self._environment = make_environment(spec.task)
        seen, _ = self._environment.reset(seed=spec.seed)
        self.mission = str(seen["mission"])
        self.observation = seen["text"]["long_term_context"]
        self.max_steps = int(self._environment.max_steps)
        self.layout_fingerprint = self._environment.layout_fingerprint()
        self.terminated = False
        self.truncated = self.max_steps <= 0
        self._num_steps = 0

    @property
    def is_over(self) -> bool:
        return self.terminated or self.truncated

    @_environment_failures
    def decide(self, inference: Inference) -> tuple[str, str, AnswerStatus]:
        """Returns candidate, action to execute, and status of an answer.

        As in BALROG a candidate has to be a known action word for word, white space included.
        Text that does not parse names no action, even where it reads like one: the answer's form
        is part of what is asked for.
        """
        candidate, status = inference.action, AnswerStatus.UNKNOWN_ACTION
        if candidate is None:
            candidate, status = inference.raw, AnswerStatus.UNPARSABLE
            self._environment.check_action_validity(candidate)
            action = self._environment.default_action
        else:
            action = self._environment.check_action_validity(candidate)
            if action == candidate:
                return candidate, action, AnswerStatus.VALID
        return candidate, action, AnswerStatus.CUT_OFF if inference.is_cut_off else status

    @_environment_failures
    def random_action(self, seed: str) -> str:
        # Seeding with a text is the same in every process, unlike anything built on hash().
        generator = random.Random(f"{seed}#{self._num_steps}")  # noqa: S311 - no cryptography
        return generator.choice(self._environment.language_action_space)

    @_environment_failures
    def step(self, action: str) -> float:
        """Executes an action and returns its reward."""
        seen, reward, terminated, truncated, _ = self._environment.step(action)
        self._num_steps += 1
        self.observation = seen["text"]["long_term_context"]
        self.terminated = bool(terminated)
        self.truncated = bool(truncated)
        if not self.is_over:  # an environment that forgets its limit must not go on for ever
            self.truncated = self._num_steps >= self.max_steps
        return float(reward)

    @_environment_failures
    def progression(self) -> float:
        return float(self._environment.get_stats()["progression"])

    def close(self) -> None:
        # What goes wrong after the last step takes nothing from the episode.
        with suppress(Exception):
            self._environment.close()


class _Record:
    """What is known of an episode so far."""

    def __init__(self, spec: EpisodeSpec, clock: Clock, episode_id: str) -> None:
        self.spec = spec
        self.episode_id = episode_id
        self.steps: list[Step] = []
        self._clock = clock
        self._num_retries = 0
        self._started_at_s = clock.now_s()
        self._started_s = clock.monotonic_s()

    def count_retry(self) -> None:
        self._num_retries += 1

    def result(self, stage: _Stage) -> EpisodeResult:
        steps = self.steps
        invalid = {AnswerStatus.UNKNOWN_ACTION, AnswerStatus.UNPARSABLE, AnswerStatus.CUT_OFF}
        return EpisodeResult(
            **self._common(),
            mission=stage.mission,
            max_steps=stage.max_steps,
            progression=stage.progression(),
            episode_return=math.fsum(step.reward for step in steps),
            terminated=stage.terminated,
            truncated=stage.truncated,
            failed_candidates=tuple(step.candidate for step in steps if step.status in invalid),
            num_fallbacks=sum(step.status is AnswerStatus.FALLBACK for step in steps),
            layout_fingerprint=stage.layout_fingerprint,
            models=tuple(dict.fromkeys(step.model for step in steps if step.model)),
        )

    def failure(self, error: InfrastructureError) -> EpisodeFailure:
        tries = f" (after {error.num_attempts} attempts)" if error.num_attempts > 1 else ""
        return EpisodeFailure(**self._common(), kind=error.kind, message=f"{error}{tries}")

    def _common(self) -> dict[str, Any]:
        return {
            "spec": self.spec,
            "episode_id": self.episode_id,
            "num_steps": len(self.steps),
            "num_retries": self._num_retries,
            "usage": total_usage(step.usage for step in self.steps),
            "started_at_s": self._started_at_s,
            "duration_s": self._clock.monotonic_s() - self._started_s,
            "steps": tuple(self.steps),
            "num_cached": sum(step.cached for step in self.steps),
        }
