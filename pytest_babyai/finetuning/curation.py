"""Which episodes and steps are learned from, and why the others are not."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytest_babyai.environment import TASKS
from pytest_babyai.finetuning.chats import DPO, SFT, Chat
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
    from pytest_babyai.finetuning.conditions import Condition
    from pytest_babyai.finetuning.sources import (
        EpisodeSource,
        Origin,
        RecordedEpisode,
        RecordedStep,
    )

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
NO_COUNTERPART: Final = "no step where another episode of the seed did better or worse"


@dataclass(frozen=True, slots=True)
class Curated:
    """What is left to learn from.

    Attributes:
        origin: Where it was recorded.
        conditions: What episodes had to meet.
        kind: ``sft`` for chats, ``dpo`` for preference pairs.
        training: The episodes.
        actions: How often each action is the answer.
        dropped_episodes: Number by reason.
        dropped_steps: Number by reason, of the episodes that were kept.
        lacking: What the source should have of episodes and has not: ``goto-3: 2 steps``.
    """

    origin: Origin
    conditions: tuple[Condition, ...]
    kind: str
    training: TrainingSet
    actions: Mapping[str, int]
    dropped_episodes: Mapping[str, int]
    dropped_steps: Mapping[str, int]
    lacking: tuple[str, ...] = ()


def curate(
    source: EpisodeSource,
    conditions: Sequence[Condition],
    environments: Environments,
    *,
    kind: str = SFT,
) -> Curated:
    """Chooses what is learned from a source.

    Args:
        source: The recorded episodes.
        conditions: What an episode has to meet; of a preference pair, the better one.
        environments: Makes environments, of which layouts are asked.
        kind: ``sft`` for chats, ``dpo`` for preference pairs.

    Raises:
        DatasetError: Nothing is left.
    """
    selection = _Selection(source, tuple(conditions), environments)
    if kind == DPO:
        return selection.preferences()
    return selection.chats()


@dataclass
class _Selection:
    source: EpisodeSource
    conditions: tuple[Condition, ...]
    environments: Environments
    dropped_episodes: Counter[str] = field(default_factory=Counter)
    dropped_steps: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    lacking: list[str] = field(default_factory=list)
    held_out: dict[int, frozenset[str]] = field(default_factory=dict)

    def chats(self) -> Curated:
        """Keeps every valid step of the episodes that meet the conditions."""
        found = [
            (episode, layout) for episode, layout in self._admitted() if self._has_steps(episode)
        ]
        self._refuse_nothing(found)
        return self._curated(
            SFT, [self._learned(episode, layout, episode.steps) for episode, layout in found]
        )

    def preferences(self) -> Curated:
        """Keeps, for a solved and an unsolved episode of a seed, the step where they part."""
        worse: dict[tuple[str, int, int], list[RecordedEpisode]] = defaultdict(list)
        better: list[tuple[RecordedEpisode, Layout]] = []
        for episode, layout in self._admitted(with_worse=True):
            if episode.meets_conditions:
                better.append((episode, layout))
            else:
                worse[_cell(episode)].append(episode)
        self.dropped_episodes.pop(CONDITION, None)
        kept = []
        for episode, layout in better:
            pairs = [
                pair
                for other in worse[_cell(episode)]
                if (pair := self._parting(episode, other)) is not None
            ]
            if pairs:
                chats = tuple(dict.fromkeys(chat for chat, _ in pairs))
                self.actions.update(action for _, action in pairs[: len(chats)])
                kept.append(TrainingEpisode(layout, episode.episode_id, chats))
            else:
                self.dropped_episodes[NO_COUNTERPART] += 1
        self._refuse_nothing(kept)
        return self._curated(DPO, kept)

    def _admitted(self, *, with_worse: bool = False) -> Iterator[tuple[RecordedEpisode, Layout]]:
        """Yields the episodes that may be learned from, with their layouts."""
        self.dropped_episodes[NO_SCORE] = self.source.origin.num_failures
        for episode in sorted(self.source.episodes(self.conditions), key=_place):
            if episode.lacks:
                self.lacking.append(f"{episode.task}-{episode.seed}: {episode.lacks}")
            if episode.seed not in TRAIN_SEEDS:
                self.dropped_episodes[EVALUATION_SEED] += 1
            elif not episode.meets_conditions and not with_worse:
                self.dropped_episodes[CONDITION] += 1
            elif (layout := self._layout(episode)).fingerprint in self._held_out(episode):
                self.dropped_episodes[EVALUATION_LAYOUT] += 1
            else:
                yield episode, layout

    def _has_steps(self, episode: RecordedEpisode) -> bool:
        has_steps = any(step.status is AnswerStatus.VALID for step in episode.steps)
        self.dropped_episodes[NO_STEPS] += not has_steps
        return has_steps

    def _layout(self, episode: RecordedEpisode) -> Layout:
        if episode.fingerprint is not None:
            return Layout(episode.task, episode.seed, episode.fingerprint)
        make_environment = self.environments(episode.num_dists)
        return layouts_of([(episode.task, episode.seed)], make_environment)[0]

    def _held_out(self, episode: RecordedEpisode) -> frozenset[str]:
        num_dists = episode.num_dists
        if num_dists not in self.held_out:
            found = evaluation_fingerprints(TASKS, self.environments(num_dists))
            self.held_out[num_dists] = found
        return self.held_out[num_dists]

    def _learned(
        self, episode: RecordedEpisode, layout: Layout, steps: Sequence[RecordedStep]
    ) -> TrainingEpisode:
        valid = [step for step in steps if self._is_learned(step.status)]
        rendered = zip(valid, self.source.chats([step.prompt for step in valid]), strict=True)
        kept = [(step, chat) for step, chat in rendered if self._is_sound(chat)]
        self.actions.update(step.action.strip() for step, _ in kept)
        return TrainingEpisode(
            layout,
            episode.episode_id,
            tuple(chat for _, chat in kept),
            tuple(step.num_tokens for step, _ in kept),
        )

    def _parting(self, better: RecordedEpisode, worse: RecordedEpisode) -> tuple[Chat, str] | None:
        """Returns the first step at which two episodes answered one prompt differently."""
        for good, bad in zip(better.steps, worse.steps, strict=False):
            if good.action.strip() == bad.action.strip() and good.status is bad.status:
                continue
            if good.status is not AnswerStatus.VALID or bad.status is AnswerStatus.FALLBACK:
                return None
            chosen, rejected = self.source.chats([good.prompt, bad.prompt])
            if chosen.prompt != rejected.prompt:
                return None
            pair = Chat(*chosen.prompt, chosen.answer, rejected.answer)
            return (pair, good.action.strip()) if self._is_sound(pair) else None
        return None

    def _is_learned(self, status: AnswerStatus) -> bool:
        if status in DROPPED_STATUS:
            self.dropped_steps[DROPPED_STATUS[status]] += 1
        return status not in DROPPED_STATUS

    def _is_sound(self, chat: Chat) -> bool:
        fault = chat.fault()
        if fault:
            self.dropped_steps[fault] += 1
        return fault is None

    def _refuse_nothing(self, kept: Sequence[object]) -> None:
        if kept:
            return
        reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped_episodes.items() if n)
        origin = self.source.origin
        if not reasons:
            raise DatasetError(f"{origin} has no episode of {origin.variant!r}")
        wanted = " and ".join(map(str, self.conditions))
        hint = (
            f"collect seeds {seed_ranges(TRAIN_SEEDS)} with --babyai-collect"
            if set(self.dropped_episodes - Counter()) <= {EVALUATION_SEED, NO_SCORE}
            else "collect more, or weaken --where"
        )
        raise DatasetError(
            f"no episode of {origin} is left to learn from (--where {wanted}): {reasons}; {hint}"
        )

    def _curated(self, kind: str, episodes: Sequence[TrainingEpisode]) -> Curated:
        held_out = frozenset[str]().union(*self.held_out.values())
        return Curated(
            origin=self.source.origin,
            conditions=self.conditions,
            kind=kind,
            training=TrainingSet(tuple(episodes), held_out),
            actions=dict(self.actions.most_common()),
            dropped_episodes=dict(self.dropped_episodes - Counter()),
            dropped_steps=dict(self.dropped_steps - Counter()),
            lacking=tuple(self.lacking),
        )


def _place(episode: RecordedEpisode) -> tuple[int, str, int, str]:
    known = TASKS.index(episode.task) if episode.task in TASKS else len(TASKS)
    return known, episode.task, episode.seed, episode.episode_id


def _cell(episode: RecordedEpisode) -> tuple[str, int, int]:
    return episode.task, episode.seed, episode.num_dists
