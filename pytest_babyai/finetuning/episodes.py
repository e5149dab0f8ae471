"""Recorded episodes, whether a journal or a store has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.records import AnswerStatus

Prompt = TypeVar("Prompt")
"""What a source needs to render a step."""


@dataclass(frozen=True, slots=True)
class RecordedStep(Generic[Prompt]):
    """A step as far as training needs it.

    Attributes:
        status: How the answer became an action.
        action: The answered action; empty where there was none.
        prompt: What its source renders.
        num_tokens: Tokens of prompt and answer as the provider counted them, None if unknown.
    """

    status: AnswerStatus
    action: str
    prompt: Prompt
    num_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedEpisode(Generic[Prompt]):
    """A scored episode.

    Attributes:
        task: Short name of the BabyAI task.
        seed: Seed of the level.
        episode_id: The gateway's id of the episode.
        meets_conditions: Whether it is one of those that were asked for.
        steps: What was played.
        num_dists: Distractor objects added to the level.
        fingerprint: Hash of the layout, None where it was not recorded.
    """

    task: str
    seed: int
    episode_id: str
    meets_conditions: bool
    steps: tuple[RecordedStep[Prompt], ...]
    num_dists: int = 0
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where episodes were recorded.

    Attributes:
        kind: ``journal`` or ``store``.
        name: The run's id, or the store without its password.
        runs: Ids of the runs, empty where unknown.
        variant: The variant that played.
        template_hashes: Hash by part of the variant: ``{"template user": "ab12..."}``.
        model: The model that played, as summaries name it; empty where unknown.
        num_failures: Episodes without a score.
    """

    kind: str
    name: str
    runs: tuple[str, ...]
    variant: str
    template_hashes: Mapping[str, str]
    model: str = ""
    num_failures: int = 0

    def __str__(self) -> str:
        """Names it in lines."""
        return f"run {self.name}" if self.kind == "journal" else self.name


class EpisodeSource(Protocol[Prompt]):
    """A journal or a store."""

    @property
    def origin(self) -> Origin:
        """Where the episodes were recorded."""
        ...

    def episodes(self, conditions: Sequence[Condition]) -> Iterable[RecordedEpisode[Prompt]]:
        """Returns the scored episodes, also those that do not meet the conditions.

        Raises:
            DatasetError: Their steps were not recorded.
        """
        ...

    def chats(self, prompts: Sequence[Prompt]) -> list[Chat]:
        """Renders steps.

        Raises:
            DatasetError: One of them cannot be rendered.
            ConfigurationError: Neither can any other.
        """
        ...
