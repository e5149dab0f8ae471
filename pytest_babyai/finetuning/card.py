"""The data card: what training data is made of, and what was left out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.finetuning.curation import tasks_of
from pytest_babyai.finetuning.leakage import (
    Layout,
    TrainingEpisode,
    TrainingRecord,
    TrainingSet,
    seed_ranges,
)
from pytest_babyai.journal import installed_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_babyai.finetuning.curation import Curated

SCHEMA: Final = 1
CHARACTERS_PER_TOKEN: Final = 4
"""Of English text, roughly; for prompts whose tokens no provider has counted."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of chats.

    Attributes:
        sha256: Of its content.
        num_episodes: Episodes in it.
        num_examples: Its lines.
        num_tokens: Tokens of its prompts and answers.
        is_estimate: Whether the tokens were estimated from the characters.
    """

    sha256: str
    num_episodes: int
    num_examples: int
    num_tokens: int
    is_estimate: bool


@dataclass(frozen=True, slots=True)
class DataCard:
    """What training data is made of.

    Attributes:
        source: Where it was recorded: kind, name, runs, variant, template_hashes, model.
        conditions: What its episodes had to meet.
        train: The training file.
        validation: The validation file, None where there is none.
        contents: ``tasks`` (episodes, examples and seeds of each), ``actions`` (how often each is
            the answer), ``dropped_episodes`` and ``dropped_steps`` (number by reason), all JSON
            types.
        layouts: Every episode of both files.
        versions: Of the packages that made it.
    """

    source: Mapping[str, Any]
    conditions: tuple[str, ...]
    train: DataFile
    validation: DataFile | None
    contents: Mapping[str, Mapping[str, Any]]
    layouts: tuple[Layout, ...]
    versions: Mapping[str, str | None]

    @property
    def variant(self) -> str:
        """The variant that played the episodes."""
        return str(self.source["variant"])

    def to_plain(self) -> dict[str, Any]:
        """Returns the card as JSON types."""
        return {
            "schema": SCHEMA,
            **{
                name: getattr(self, name)
                for name in ("source", "conditions", "contents", "versions")
            },
            "train": dataclasses.asdict(self.train),
            "validation": dataclasses.asdict(self.validation) if self.validation else None,
            "episodes": TrainingRecord(self.variant, self.layouts).to_plain(),
        }

    @classmethod
    def from_plain(cls, plain: Any) -> DataCard:
        """Rebuilds what `to_plain` gave.

        Raises:
            ValueError: It is no card.
            LeakageError: It names an episode that must not be learned from.
        """
        try:
            if plain["schema"] > SCHEMA:
                raise ValueError("a later version of pytest-babyai wrote it; upgrade")
            validation = plain["validation"]
            card = cls(
                source=plain["source"],
                conditions=tuple(plain["conditions"]),
                train=DataFile(**plain["train"]),
                validation=DataFile(**validation) if validation else None,
                contents=plain["contents"],
                layouts=TrainingRecord.from_plain("", plain["episodes"]).layouts,
                versions=plain["versions"],
            )
            name = card.variant
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
        if not name or not card.layouts:
            raise ValueError("it names no variant, or no episodes")
        # Whatever a file says: what enters a job has passed the same door as when it was made.
        TrainingSet(tuple(TrainingEpisode(layout, "", ()) for layout in card.layouts))
        return card


def card_of(
    curated: Curated, train: TrainingSet, validation: TrainingSet, digests: tuple[str, str]
) -> DataCard:
    """Returns the card of a split dataset.

    Args:
        curated: What was chosen, from where.
        train: The episodes of the training file.
        validation: The episodes of the validation file.
        digests: SHA-256 of the training file and of the validation file.
    """
    origin = {**dataclasses.asdict(curated.origin), "runs": list(curated.origin.runs)}
    del origin["num_failures"]
    return DataCard(
        source=origin,
        conditions=tuple(map(str, curated.conditions)),
        train=_data_file(curated, train, digests[0]),
        validation=_data_file(curated, validation, digests[1]) if validation.episodes else None,
        contents={
            "tasks": {
                task: {
                    "episodes": len(episodes),
                    "examples": sum(len(episode.chats) for episode in episodes),
                    "seeds": seed_ranges(episode.layout.seed for episode in episodes),
                }
                for task, episodes in tasks_of(curated.training)
            },
            "actions": dict(curated.actions),
            "dropped_episodes": dict(curated.dropped_episodes),
            "dropped_steps": dict(curated.dropped_steps),
        },
        layouts=tuple(dict.fromkeys(e.layout for e in curated.training.episodes)),
        versions=installed_versions(),
    )


def _data_file(curated: Curated, part: TrainingSet, sha256: str) -> DataFile:
    counts = [curated.num_tokens[episode.episode_id] for episode in part.episodes]
    known = [count for count in counts if count is not None]
    is_estimate = len(known) < len(counts)
    return DataFile(
        sha256=sha256,
        num_episodes=len(part.episodes),
        num_examples=len(part.chats),
        num_tokens=_estimate(part) if is_estimate else sum(known),
        is_estimate=is_estimate,
    )


def _estimate(part: TrainingSet) -> int:
    texts = (message["content"] for chat in part.chats for message in chat.messages())
    return round(sum(map(len, texts)) / CHARACTERS_PER_TOKEN)


def card_lines(card: DataCard) -> Iterator[str]:
    """Yields a summary of the card."""
    source = card.source
    name = f"run {source['name']}" if source["kind"] == "journal" else source["name"]
    yield f"{card.variant} in {name}, where {' and '.join(card.conditions) or 'anything'}"
    for label, part in (("training", card.train), ("validation", card.validation)):
        if part is not None:
            about = "about " if part.is_estimate else ""
            yield (
                f"{label}: {part.num_examples:,} examples of {part.num_episodes:,} episodes, "
                f"{about}{part.num_tokens:,} tokens"
            )
    for task, counts in card.contents["tasks"].items():
        yield (
            f"  {task}: {counts['episodes']:,} episodes on {_num_seeds(card, task):,} seeds, "
            f"{counts['examples']:,} examples"
        )
    yield f"actions: {_counted(card.contents['actions'].items())}"
    for what in ("episodes", "steps"):
        dropped = card.contents[f"dropped_{what}"]
        if dropped:
            yield f"dropped {what}: {_counted(dropped.items())}"


def _num_seeds(card: DataCard, task: str) -> int:
    return len({layout.seed for layout in card.layouts if layout.task == task})


def _counted(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in items)
