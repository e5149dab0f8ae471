"""What gates and comparisons need of a run: every episode's scores, and those without any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_babyai.records import EpisodeResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.records import EpisodeOutcome, EpisodeSpec


@dataclass(frozen=True, slots=True)
class ScoredEpisode:
    """The scores of a finished episode.

    Attributes:
        spec: Which episode this is.
        progression: 1.0 once the task was solved, in [0, 1].
        episode_return: Sum of the rewards.
        num_steps: Steps played.
        input_tokens: Tokens of its prompts, None if unknown.
        output_tokens: Tokens of its answers, None if unknown.
        cost: US dollars, None if unknown.
    """

    spec: EpisodeSpec
    progression: float
    episode_return: float
    num_steps: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class UnscoredEpisode:
    """An episode that the infrastructure kept from being played.

    Attributes:
        spec: Which episode this is.
        kind: The `InfrastructureError.kind` that ended it.
    """

    spec: EpisodeSpec
    kind: str


@dataclass(frozen=True, slots=True)
class RunScores:
    """The episodes of a run, ordered by spec; one that was played repeatedly is there repeatedly.

    Attributes:
        episodes: By spec.
        variants: Those with an episode, in the order of tables.
        tasks: Those with an episode, in the order of tables.
    """

    episodes: tuple[ScoredEpisode | UnscoredEpisode, ...]
    variants: tuple[str, ...]
    tasks: tuple[str, ...]

    @classmethod
    def of(
        cls,
        episodes: Iterable[ScoredEpisode | UnscoredEpisode],
        *,
        variants: Sequence[str] = (),
        tasks: Sequence[str] = (),
    ) -> RunScores:
        """Gathers episodes in any order.

        Args:
            episodes: The episodes.
            variants: Names to begin with in tables; others follow by name.
            tasks: The same for tasks.
        """
        ordered = tuple(sorted(episodes, key=lambda episode: episode.spec))
        return cls(
            ordered,
            _ordered({episode.spec.variant for episode in ordered}, variants),
            _ordered({episode.spec.task for episode in ordered}, tasks),
        )

    @classmethod
    def of_outcomes(
        cls,
        outcomes: Iterable[EpisodeOutcome],
        *,
        variants: Sequence[str] = (),
        tasks: Sequence[str] = (),
    ) -> RunScores:
        """Gathers what came of episodes; as `of`."""
        return cls.of(map(scored, outcomes), variants=variants, tasks=tasks)

    def of_cell(
        self, variant: str, task: str | None = None
    ) -> tuple[ScoredEpisode | UnscoredEpisode, ...]:
        """Returns the episodes of a variant, on one task or on all of them."""
        return tuple(
            episode
            for episode in self.episodes
            if episode.spec.variant == variant and task in {None, episode.spec.task}
        )


def scored(outcome: EpisodeOutcome) -> ScoredEpisode | UnscoredEpisode:
    """Returns what of an outcome is compared."""
    if not isinstance(outcome, EpisodeResult):
        return UnscoredEpisode(outcome.spec, outcome.kind)
    usage = outcome.usage
    return ScoredEpisode(
        outcome.spec,
        outcome.progression,
        outcome.episode_return,
        outcome.num_steps,
        usage.input_tokens,
        usage.output_tokens,
        usage.cost,
    )


def _ordered(found: set[str], first: Sequence[str]) -> tuple[str, ...]:
    leading = tuple(dict.fromkeys(name for name in first if name in found))
    return (*leading, *sorted(found.difference(leading)))
