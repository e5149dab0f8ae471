"""What is asked of a model and what it answers."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from pytest_babyai.records import NO_USAGE, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_babyai.records import EpisodeSpec

RUN_TAG: Final = "run"
VARIANT_TAG: Final = "variant"
TASK_TAG: Final = "task"
SEED_TAG: Final = "seed"
SPLIT_TAG: Final = "split"
NUM_DISTS_TAG: Final = "num_dists"
"""Tags of every inference and feedback, so that a store can be asked for any part of a run."""

TRAIN_SEEDS: Final = range(200)
"""Seeds whose episodes may be learned from; all others are for evaluation."""

CUT_OFF_REASON: Final = "length"
"""Why a model stopped that reached its limit of tokens."""

NO_ANSWER: Final = "none"
"""The last answer before the first step, and after a request that failed."""

CACHE_MODES: Final = ("on", "off", "read_only", "write_only")


def episode_tags(spec: EpisodeSpec) -> dict[str, str]:
    """Returns the tags that an episode itself determines."""
    return {
        VARIANT_TAG: spec.variant,
        TASK_TAG: spec.task,
        SEED_TAG: str(spec.seed),
        SPLIT_TAG: "train" if spec.seed in TRAIN_SEEDS else "evaluation",
    }


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """Whether answers may come from the store's cache, and go into it.

    Attributes:
        mode: One of `CACHE_MODES`.
        max_age_s: Oldest answer that may be used, in seconds; None for any.
    """

    mode: str = "off"
    max_age_s: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether the cache is read or written at all."""
        return self.mode != "off"

    @property
    def reads(self) -> bool:
        """Whether an answer may come from the cache."""
        return self.mode in {"on", "read_only"}


NO_CACHE: Final = CacheOptions()


class PastStep(NamedTuple):
    """One earlier step, as a model is told of it.

    Attributes:
        observation: What the agent saw.
        action: What was executed; only that explains what is seen next.
        thinking: The answer's reasoning, empty where it gave none.
    """

    observation: str
    action: str
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One question to the model: which action comes next.

    The function's schemas choose among what it tells.

    Attributes:
        variant: The variant that answers.
        episode_id: UUIDv7 that ties the episode's inferences together.
        mission: The episode's instruction.
        observation: What the agent sees now.
        history: The last steps, oldest first.
        tags: Stored with the inference.
        seed: Sampling seed for the provider, None for none.
        occasion: Which request of which episode this is. It is part of the cache's key: an agent
            that sees the same twice asks twice, also where a cache answers.
        step: Number of this step, from 1.
        max_steps: The episode's step limit.
        last_answer: What became of the answer before, see `arguments.LAST_ANSWERS`.
    """

    variant: str
    episode_id: str
    mission: str
    observation: str
    history: tuple[PastStep, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    occasion: str = ""
    step: int = 1
    max_steps: int = 0
    last_answer: str = NO_ANSWER


@dataclass(frozen=True, slots=True)
class Inference:
    """The model's answer.

    Attributes:
        inference_id: The gateway's id of this inference.
        raw: The answer's text, empty where there was none.
        parsed: The answer as the function's output schema wants it, None where it did not parse;
            of a chat function the JSON object that the whole text is, else the text as its action.
        usage: Tokens and cost; the tokens of a cached answer are known to the store alone.
        latency_ms: Time from the request to its answer.
        cached: Whether the answer came from the store's cache.
        finish_reason: Why the model stopped, such as ``"length"``; None where it was not told.
        model: The model that answered, as the provider names it; None where it was not told.
    """

    inference_id: str
    raw: str
    parsed: Mapping[str, Any] | None
    usage: Usage
    latency_ms: float
    cached: bool = False
    finish_reason: str | None = None
    model: str | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether the answer reached the limit of tokens."""
        return self.finish_reason == CUT_OFF_REASON

    @property
    def action(self) -> str | None:
        """The action that the answer names, None where it names none."""
        return self._text("action")

    @property
    def thinking(self) -> str | None:
        """The answer's reasoning, None where it gives none."""
        return self._text("thinking")

    def _text(self, name: str) -> str | None:
        value = self.parsed.get(name) if self.parsed is not None else None
        return value if isinstance(value, str) else None


NO_INFERENCE: Final = Inference("", "", None, NO_USAGE, 0.0)
"""Stands for an answer that did not come."""


class InferenceClient(Protocol):
    """What an episode asks for its actions; a `Gateway` for one."""

    async def infer(self, request: InferenceRequest, /) -> Inference:
        """Answers a request.

        Raises:
            InfrastructureError: No answer came.
            UsageError: None can come, to no request of the run.
        """
        ...


def new_episode_id() -> str:
    """Returns a new UUIDv7 (RFC 9562), the only kind of episode id that TensorZero takes."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))
