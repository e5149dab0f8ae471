"""Training data on disk: split by seed, checked, with a card that says what it is.

``data.jsonl`` and ``data.validation.jsonl`` hold an example a line, ``data.card.json`` the card.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning.chats import MIN_EXAMPLES, SFT, read_chats
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.leakage import (
    Layout,
    TrainingEpisode,
    TrainingRecord,
    TrainingSet,
    seed_ranges,
)
from pytest_babyai.journal import installed_versions
from pytest_babyai.journal.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pytest_babyai.finetuning.curation import Curated

SUFFIX: Final = ".jsonl"
SCHEMA: Final = 1
CHARACTERS_PER_TOKEN: Final = 4
"""Of English text, roughly; for prompts whose tokens no provider has counted."""
SHARED_PROMPT: Final = "validation prompt that training has too"
_NUM_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of examples.

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
            the answer), ``dropped_episodes`` and ``dropped_steps`` (number by reason) and
            ``lacking`` (what the source should have had), all JSON types.
        layouts: Every episode of both files.
        versions: Of the packages that made it.
        kind: ``sft`` for chats, ``dpo`` for preference pairs.
    """

    source: Mapping[str, Any]
    conditions: tuple[str, ...]
    train: DataFile
    validation: DataFile | None
    contents: Mapping[str, Any]
    layouts: tuple[Layout, ...]
    versions: Mapping[str, str | None] = field(default_factory=installed_versions)
    kind: str = SFT

    @property
    def variant(self) -> str:
        """The variant that played the episodes."""
        return str(self.source["variant"])

    def to_plain(self) -> dict[str, Any]:
        """Returns the card as JSON types."""
        plain = dataclasses.asdict(dataclasses.replace(self, layouts=()))
        del plain["layouts"]
        episodes = TrainingRecord(self.variant, self.layouts).to_plain()
        return {"schema": SCHEMA, **plain, "episodes": episodes}

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
                kind=plain.get("kind", SFT),
            )
            name = card.variant
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None
        if not name or not card.layouts:
            raise ValueError("it names no variant, or no episodes")
        # Whatever a file says: what enters a job has passed the same door as when it was made.
        TrainingSet(tuple(TrainingEpisode(layout, "", ()) for layout in card.layouts))
        return card

    def lines(self) -> Iterator[str]:
        """Yields a summary of the card."""
        name = self.source["name"]
        name = f"run {name}" if self.source["kind"] == "journal" else name
        yield f"{self.variant} in {name}, where {' and '.join(self.conditions) or 'anything'}"
        for label, part in (("training", self.train), ("validation", self.validation)):
            if part is not None:
                about = "about " if part.is_estimate else ""
                what = "examples" if self.kind == SFT else "preference pairs"
                yield (
                    f"{label}: {part.num_examples:,} {what} of {part.num_episodes:,} episodes, "
                    f"{about}{part.num_tokens:,} tokens"
                )
        for task, counts in self.contents["tasks"].items():
            num_seeds = len({layout.seed for layout in self.layouts if layout.task == task})
            yield (
                f"  {task}: {counts['episodes']:,} episodes on {num_seeds:,} seeds, "
                f"{counts['examples']:,} examples"
            )
        yield f"actions: {_counted(self.contents['actions'].items())}"
        for what in ("episodes", "steps"):
            if dropped := self.contents[f"dropped_{what}"]:
                yield f"dropped {what}: {_counted(dropped.items())}"
        if lacking := self.contents.get("lacking"):
            more = len(lacking) - _NUM_NAMED
            rest = f" and {more:,} more" if more > 0 else ""
            yield f"not recorded: {', '.join(lacking[:_NUM_NAMED])}{rest}"


def _counted(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in items)


@dataclass(frozen=True, slots=True)
class DatasetPaths:
    """The files of a dataset, named after the first.

    Attributes:
        train: ``data.jsonl``.
    """

    train: Path

    @property
    def validation(self) -> Path:
        """``data.validation.jsonl``."""
        return self.train.with_name(f"{self.train.stem}.validation{SUFFIX}")

    @property
    def card(self) -> Path:
        """``data.card.json``."""
        return self.train.with_name(f"{self.train.stem}.card.json")

    def all(self) -> tuple[Path, ...]:
        """All three."""
        return self.train, self.validation, self.card

    def check_free(self, *, force: bool) -> None:
        """Makes sure that the files may be written.

        Raises:
            SettingsError: The first does not end in ``.jsonl``, or one is there already.
        """
        if self.train.suffix != SUFFIX:
            raise SettingsError(
                f"--output: {self.train} does not end in {SUFFIX}, which OpenAI asks for"
            )
        present = [path for path in self.all() if path.exists()]
        if present and not force:
            raise SettingsError(f"{present[0]} exists already; --force replaces it")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Training data as it is handed to a fine-tuning job.

    Attributes:
        train: Content of the training file.
        validation: Content of the validation file; may be empty.
        card: What it is.
    """

    train: bytes
    validation: bytes
    card: DataCard


def split_by_seed(training: TrainingSet, val_fraction: float) -> tuple[TrainingSet, TrainingSet]:
    """Splits episodes into training and validation; the same episodes always split alike.

    All episodes of a seed go to one side, since tasks share the grid of a seed.

    Args:
        training: The episodes.
        val_fraction: Share of the seeds that go to validation, from 0 to below 1. Above 0, both
            sides get at least one seed if there are two.
    """
    ranked = sorted({episode.layout.seed for episode in training.episodes}, key=_rank)
    num_validation = round(val_fraction * len(ranked))
    if val_fraction > 0:
        num_validation = min(max(1, num_validation), len(ranked) - 1)
    chosen = set(ranked[:num_validation])
    train, validation = (
        TrainingSet(
            tuple(e for e in training.episodes if (e.layout.seed in chosen) is is_validation),
            training.held_out,
        )
        for is_validation in (False, True)
    )
    return train, validation


def _rank(seed: int) -> str:
    return hashlib.sha256(f"validation {seed}".encode()).hexdigest()


def _without_prompts_of(part: TrainingSet, other: TrainingSet) -> tuple[TrainingSet, int]:
    """Leaves out the examples whose prompt the other part has; returns how many they were."""
    known = {chat.prompt for chat in other.chats}
    episodes = []
    for episode in part.episodes:
        is_new = [chat.prompt not in known for chat in episode.chats]
        counts = episode.num_tokens or (None,) * len(is_new)
        chats = tuple(c for c, new in zip(episode.chats, is_new, strict=True) if new)
        tokens = tuple(n for n, new in zip(counts, is_new, strict=True) if new)
        episodes.append(dataclasses.replace(episode, chats=chats, num_tokens=tokens))
    left = TrainingSet(tuple(episodes), part.held_out)
    return left, len(part.chats) - len(left.chats)


def write_dataset(
    curated: Curated, path: Path, *, val_fraction: float = 0.1, force: bool = False
) -> DataCard:
    """Writes training data, validation data and card.

    No prompt is in both files: those of the validation file that training has too are left out.

    Args:
        curated: What is learned.
        path: Where the training data goes, ``….jsonl``.
        val_fraction: See `split_by_seed`.
        force: Whether to replace files that are there.

    Returns:
        The card.

    Raises:
        SettingsError: The path does not end in ``.jsonl``, or a file is there already.
        DatasetError: The data breaks OpenAI's format, or cannot be written.
    """
    paths = DatasetPaths(path)
    paths.check_free(force=force)
    train, validation = split_by_seed(curated.training, val_fraction)
    validation, num_shared = _without_prompts_of(validation, train)
    contents = {paths.train: _encoded(train), paths.validation: _encoded(validation)}
    read_chats(contents[paths.train], str(paths.train), min_examples=MIN_EXAMPLES)
    read_chats(contents[paths.validation], str(paths.validation), min_examples=0)
    card = _card_of(curated, train, validation, num_shared)
    encoded_card = json.dumps(card.to_plain(), indent=2, ensure_ascii=False) + "\n"
    try:
        paths.card.unlink(missing_ok=True)  # a card never stands beside data that it is not of
        for file, content in contents.items():
            _write_or_remove(file, content)
        replace_file(paths.card, encoded_card.encode())
    except OSError as error:
        raise DatasetError(
            f"{error.filename or path}: {error.strerror or error}; the training data needs a "
            "directory that can be written, with space left"
        ) from None
    return card


def _card_of(
    curated: Curated, train: TrainingSet, validation: TrainingSet, num_shared: int
) -> DataCard:
    origin = {**dataclasses.asdict(curated.origin), "runs": list(curated.origin.runs)}
    del origin["num_failures"]
    dropped_steps = Counter(curated.dropped_steps) + Counter({SHARED_PROMPT: num_shared})
    return DataCard(
        source=origin,
        conditions=tuple(map(str, curated.conditions)),
        train=_data_file(train),
        validation=_data_file(validation) if validation.chats else None,
        contents={
            "tasks": _by_task([*train.episodes, *validation.episodes]),
            "actions": dict(curated.actions),
            "dropped_episodes": dict(curated.dropped_episodes),
            "dropped_steps": dict(dropped_steps),
            "lacking": list(curated.lacking),
        },
        layouts=tuple(dict.fromkeys(e.layout for e in curated.training.episodes)),
        kind=curated.kind,
    )


def _by_task(episodes: list[TrainingEpisode]) -> dict[str, dict[str, Any]]:
    return {
        task: {
            "episodes": len(found),
            "examples": sum(len(episode.chats) for episode in found),
            "seeds": seed_ranges(episode.layout.seed for episode in found),
        }
        for task in dict.fromkeys(episode.layout.task for episode in episodes)
        if (found := [e for e in episodes if e.layout.task == task])
    }


def _data_file(part: TrainingSet) -> DataFile:
    counts = [n for e in part.episodes for n in e.num_tokens or (None,) * len(e.chats)]
    known = [count for count in counts if count is not None]
    is_estimate = len(known) < len(counts)
    num_characters = sum(len(m["content"]) for chat in part.chats for m in chat.messages())
    return DataFile(
        sha256=digest_of(_encoded(part)),
        num_episodes=len(part.episodes),
        num_examples=len(part.chats),
        num_tokens=round(num_characters / CHARACTERS_PER_TOKEN) if is_estimate else sum(known),
        is_estimate=is_estimate,
    )


def _encoded(training: TrainingSet) -> bytes:
    return "".join(chat.to_line() for chat in training.chats).encode()


def _write_or_remove(path: Path, content: bytes) -> None:
    if content:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    else:
        path.unlink(missing_ok=True)


def digest_of(content: bytes) -> str:
    """Returns the SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read_dataset(path: Path) -> Dataset:
    """Reads what `write_dataset` wrote, and makes sure that it is still that.

    Raises:
        DatasetError: A file is missing, or breaks OpenAI's format, or is not what its card says.
        LeakageError: The card names an episode that must not be learned from.
    """
    paths = DatasetPaths(path)
    train = _read(paths.train)
    card = _read_card(paths)
    validation = _read(paths.validation) if card.validation else b""
    for file, content, part in (
        (paths.train, train, card.train),
        (paths.validation, validation, card.validation),
    ):
        if part is not None and digest_of(content) != part.sha256:
            raise DatasetError(
                f"{file}: changed since {paths.card} was written, so that nothing says which "
                "episodes it holds; make it anew with: python -m pytest_babyai dataset"
            )
    read_chats(train, str(paths.train))
    read_chats(validation, str(paths.validation), min_examples=0)
    return Dataset(train, validation, card)


def _read_card(paths: DatasetPaths) -> DataCard:
    if not paths.card.exists():
        raise DatasetError(
            f"{paths.train}: there is no {paths.card.name} beside it, and nothing else says which "
            "episodes it holds; make both with: python -m pytest_babyai dataset"
        )
    try:
        return DataCard.from_plain(json.loads(_read(paths.card)))
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{paths.card}: no data card: {error}") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from None
