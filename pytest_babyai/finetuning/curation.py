"""Which episodes and steps are learned from, and why the others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.environment import TASKS
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.leakage import (
    Layout,
    TrainingEpisode,
    TrainingSet,
    evaluation_fingerprints,
    layouts_of,
    seed_ranges,
)
from pytest_babyai.gateway.inference import TRAIN_SEEDS
from pytest_babyai.records import AnswerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.finetuning.episodes import EpisodeSource, Origin, RecordedEpisode

    Environments = Callable[[int], Callable[[str], Environment]]
    """Given the number of distractors, returns what makes the environment of a task."""

DROPPED_STATUS: Final = {
    AnswerStatus.UNPARSABLE: "answer did not parse",
    AnswerStatus.UNKNOWN_ACTION: "answer named no known action",
    AnswerStatus.CUT_OFF: "answer was cut off",
    AnswerStatus.FALLBACK: "random fallback action",
}
NO_SCORE: Final = "infrastructure failure"
EVALUATION_SEED: Final = "evaluation seed"
EVALUATION_LAYOUT: Final = "layout of an evaluation episode"
CONDITION: Final = "condition not met"
NO_STEPS: Final = "no step left"
NO_TEXT: Final = "text that is not UTF-8"


@dataclass(frozen=True, slots=True)
class Curated:
    """What is left to learn from.

    Attributes:
        origin: Where it was recorded.
        conditions: What episodes had to meet.
        training: The episodes.
        actions: How often each action is the answer.
        num_tokens: Tokens by episode id as the provider counted them; None where unknown.
        dropped_episodes: Number by reason.
        dropped_steps: Number by reason, of the episodes that were kept.
    """

    origin: Origin
    conditions: tuple[Condition, ...]
    training: TrainingSet
    actions: Mapping[str, int]
    num_tokens: Mapping[str, int | None]
    dropped_episodes: Mapping[str, int]
    dropped_steps: Mapping[str, int]


def curate(
    source: EpisodeSource[Any], conditions: Sequence[Condition], environments: Environments
) -> Curated:
    """Chooses what is learned from a source.

    Args:
        source: The recorded episodes.
        conditions: What an episode has to meet.
        environments: Makes environments, of which layouts are asked.

    Raises:
        DatasetError: Nothing is left.
    """
    selection = _Selection(source, tuple(conditions), environments)
    selection.choose()
    selection.refuse_nothing()
    return selection.curated()


@dataclass
class _Selection:
    source: EpisodeSource[Any]
    conditions: tuple[Condition, ...]
    environments: Environments
    dropped_episodes: Counter[str] = field(default_factory=Counter)
    dropped_steps: Counter[str] = field(default_factory=Counter)
    chosen: list[tuple[RecordedEpisode[Any], Layout]] = field(default_factory=list)
    held_out: dict[int, frozenset[str]] = field(default_factory=dict)

    def choose(self) -> None:
        self.dropped_episodes[NO_SCORE] = self.source.origin.num_failures
        for episode in sorted(self.source.episodes(self.conditions), key=_place):
            reason = self._reason_against(episode)
            if reason:
                self.dropped_episodes[reason] += 1
                continue
            layout = self._layout(episode)
            if layout.fingerprint in self._held_out(episode.num_dists):
                self.dropped_episodes[EVALUATION_LAYOUT] += 1
            else:
                self.chosen.append((episode, layout))

    def _reason_against(self, episode: RecordedEpisode[Any]) -> str | None:
        if episode.seed not in TRAIN_SEEDS:
            return EVALUATION_SEED
        if not episode.meets_conditions:
            return CONDITION
        if not any(step.status is AnswerStatus.VALID for step in episode.steps):
            return NO_STEPS
        return None

    def _layout(self, episode: RecordedEpisode[Any]) -> Layout:
        if episode.fingerprint is not None:
            return Layout(episode.task, episode.seed, episode.fingerprint)
        make_environment = self.environments(episode.num_dists)
        return layouts_of([(episode.task, episode.seed)], make_environment)[0]

    def _held_out(self, num_dists: int) -> frozenset[str]:
        if num_dists not in self.held_out:
            found = evaluation_fingerprints(TASKS, self.environments(num_dists))
            self.held_out[num_dists] = found
        return self.held_out[num_dists]

    def refuse_nothing(self) -> None:
        if self.chosen:
            return
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped_episodes.items() if n)
        if not reasons:
            raise DatasetError(f"{self.source.origin} has no episode of {self._variant!r}")
        wanted = " and ".join(map(str, self.conditions))
        hint = (
            f"collect seeds {seed_ranges(TRAIN_SEEDS)} with --babyai-collect"
            if set(self.dropped_episodes - Counter()) <= {EVALUATION_SEED, NO_SCORE}
            else "collect more, or weaken --where"
        )
        raise DatasetError(
            f"no episode of {self.source.origin} is left to learn from (--where {wanted}): "
            f"{reasons}; {hint}"
        )

    @property
    def _variant(self) -> str:
        return self.source.origin.variant

    def curated(self) -> Curated:
        steps = [
            [step for step in episode.steps if self._is_learned(step.status)]
            for episode, _ in self.chosen
        ]
        rendered = iter(self.source.chats([step.prompt for part in steps for step in part]))
        actions: Counter[str] = Counter()
        episodes, num_tokens = [], {}
        for (episode, layout), part in zip(self.chosen, steps, strict=True):
            pairs = [(step, next(rendered)) for step in part]
            kept = [(step, chat) for step, chat in pairs if self._is_text(chat)]
            actions.update(step.action.strip() for step, _ in kept)
            num_tokens[episode.episode_id] = _total([step.num_tokens for step, _ in kept])
            chats = tuple(chat for _, chat in kept)
            episodes.append(TrainingEpisode(layout, episode.episode_id, chats))
        held_out = frozenset[str]().union(*self.held_out.values())
        return Curated(
            origin=self.source.origin,
            conditions=self.conditions,
            training=TrainingSet(tuple(episodes), held_out),
            actions=dict(actions.most_common()),
            num_tokens=num_tokens,
            dropped_episodes=dict(self.dropped_episodes - Counter()),
            dropped_steps=dict(self.dropped_steps - Counter()),
        )

    def _is_learned(self, status: AnswerStatus) -> bool:
        if status in DROPPED_STATUS:
            self.dropped_steps[DROPPED_STATUS[status]] += 1
        return status not in DROPPED_STATUS

    def _is_text(self, chat: Chat) -> bool:
        try:
            chat.to_line().encode()
        except UnicodeEncodeError:
            self.dropped_steps[NO_TEXT] += 1
            return False
        return True


def _place(episode: RecordedEpisode[Any]) -> tuple[int, str, int, str]:
    known = TASKS.index(episode.task) if episode.task in TASKS else len(TASKS)
    return known, episode.task, episode.seed, episode.episode_id


def _total(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def tasks_of(training: TrainingSet) -> Iterator[tuple[str, list[TrainingEpisode]]]:
    """Yields each task with its episodes, in their order."""
    names = dict.fromkeys(episode.layout.task for episode in training.episodes)
    for name in names:
        yield name, [e for e in training.episodes if e.layout.task == name]
