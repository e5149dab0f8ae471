"""Training and evaluation share no seed and no layout.

A `TrainingEpisode` cannot be made of an evaluation seed, a `TrainingSet` holds nothing but training
episodes, and nothing but a training set is written as training data. What a variant was trained on
is kept in a `TrainingRecord`, and `check_unseen` holds it against what a run is about to evaluate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_babyai.finetuning.failures import LeakageError
from pytest_babyai.gateway.inference import TRAIN_SEEDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.chats import Chat

EVALUATION_SEEDS: Final = range(200, 220)
"""Seeds that are evaluated by default; curation leaves out every layout that one of them has."""

_NUM_NAMED: Final = 3


class Layout(NamedTuple):
    """An episode's start.

    Attributes:
        task: Short name of the BabyAI task.
        seed: Seed of the level.
        fingerprint: `Environment.layout_fingerprint`: hash of the layout and its mission.
    """

    task: str
    seed: int
    fingerprint: str

    def __str__(self) -> str:
        """Reads as in a node id: ``goto-200``."""
        return f"{self.task}-{self.seed}"


@dataclass(frozen=True, slots=True)
class TrainingEpisode:
    """An episode that may be learned from, and the chats taken from it.

    Attributes:
        layout: Task, seed and fingerprint.
        episode_id: The gateway's id of the episode.
        chats: What is learned, in the order it was played.
        num_tokens: Tokens of each of them as the provider counted them, None where unknown.

    Raises:
        LeakageError: The seed is none of `TRAIN_SEEDS`.
    """

    layout: Layout
    episode_id: str
    chats: tuple[Chat, ...]
    num_tokens: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        if self.layout.seed not in TRAIN_SEEDS:
            raise LeakageError(
                f"{self.layout} is an episode for evaluation, and must not be learned from: "
                f"training seeds are {TRAIN_SEEDS[0]}-{TRAIN_SEEDS[-1]}"
            )


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Episodes to learn from; the only thing that is ever written as training data.

    Attributes:
        episodes: In the order of their lines.
        held_out: Fingerprints of layouts that are kept for evaluation.

    Raises:
        LeakageError: An episode has one of these layouts.
    """

    episodes: tuple[TrainingEpisode, ...]
    held_out: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for episode in self.episodes:
            if episode.layout.fingerprint in self.held_out:
                raise LeakageError(
                    f"{episode.layout} has the layout {episode.layout.fingerprint} of an episode "
                    "that is kept for evaluation, and must not be learned from"
                )

    @property
    def chats(self) -> tuple[Chat, ...]:
        """The chats of all episodes."""
        return tuple(chat for episode in self.episodes for chat in episode.chats)


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a variant was trained on.

    Attributes:
        variant: Name of the variant.
        layouts: Every episode of its training and validation data, without repeats.
    """

    variant: str
    layouts: tuple[Layout, ...]

    def to_plain(self) -> dict[str, list[list[Any]]]:
        """Returns seed and fingerprint of each episode by task, as JSON types."""
        tasks: dict[str, list[list[Any]]] = defaultdict(list)
        for layout in sorted(set(self.layouts)):
            tasks[layout.task].append([layout.seed, layout.fingerprint])
        return dict(tasks)

    @classmethod
    def from_plain(cls, variant: str, plain: Mapping[str, Any]) -> TrainingRecord:
        """Rebuilds what `to_plain` gave.

        Raises:
            ValueError: It is no such record.
        """
        try:
            layouts = tuple(
                Layout(str(task), int(seed), str(fingerprint))
                for task, entries in plain.items()
                for seed, fingerprint in entries
            )
        except (TypeError, AttributeError):
            raise ValueError("no record of training seeds by task") from None
        return cls(variant, layouts)


def layouts_of(
    episodes: Iterable[tuple[str, int]], make_environment: Callable[[str], Environment]
) -> list[Layout]:
    """Computes the layouts of tasks and seeds, at some 0.7 ms each.

    Args:
        episodes: Short name of the task, and seed.
        make_environment: Makes the environment of a task.
    """
    environments: dict[str, Environment] = {}
    layouts = []
    for task, seed in episodes:
        if task not in environments:
            environments[task] = make_environment(task)
        environments[task].reset(seed=seed)
        layouts.append(Layout(task, seed, environments[task].layout_fingerprint()))
    return layouts


def evaluation_fingerprints(
    tasks: Iterable[str], make_environment: Callable[[str], Environment]
) -> frozenset[str]:
    """Returns the fingerprints of tasks on all `EVALUATION_SEEDS`."""
    wanted = [(task, seed) for task in tasks for seed in EVALUATION_SEEDS]
    return frozenset(layout.fingerprint for layout in layouts_of(wanted, make_environment))


def check_unseen(record: TrainingRecord, episodes: Iterable[Layout]) -> None:
    """Makes sure that a variant is evaluated on nothing that it was trained on.

    A seed counts for all tasks, since tasks share the grid of a seed.

    Args:
        record: What the variant was trained on.
        episodes: What it is about to play.

    Raises:
        LeakageError: They overlap in a seed, or in a layout under different seeds.
    """
    trained_seeds = {layout.seed for layout in record.layouts}
    trained = {layout.fingerprint: layout for layout in record.layouts}
    planned = list(dict.fromkeys(episodes))
    same_seed = [layout for layout in planned if layout.seed in trained_seeds]
    if same_seed:
        seeds = seed_ranges({layout.seed for layout in same_seed})
        raise LeakageError(
            f"{record.variant} was trained on seeds {seeds}, and is to be evaluated on them "
            f"({_named(list(map(str, same_seed)))}); choose others, such as --babyai-seeds="
            f"{_other_seeds(trained_seeds)}"
        )
    same_layout = [
        f"{layout} is {trained[layout.fingerprint]}"
        for layout in planned
        if layout.fingerprint in trained
    ]
    if same_layout:
        raise LeakageError(
            f"{record.variant} was trained on layouts that it is to be evaluated on "
            f"({_named(same_layout)}); choose other seeds, or leave these out of the training data"
        )


def seed_ranges(seeds: Iterable[int]) -> str:
    """Writes seeds as an option takes them: ``0-4,7``."""
    spans: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if spans and seed == spans[-1][1] + 1:
            spans[-1][1] = seed
        else:
            spans.append([seed, seed])
    return ",".join(f"{low}-{high}" if low < high else str(low) for low, high in spans)


def _other_seeds(trained: set[int]) -> str:
    start = max(EVALUATION_SEEDS[0], max(trained) + 1)
    return f"{start}-{start + len(EVALUATION_SEEDS) - 1}"


def _named(items: Sequence[str]) -> str:
    more = f" and {len(items) - _NUM_NAMED} more" if len(items) > _NUM_NAMED else ""
    return ", ".join(items[:_NUM_NAMED]) + more
