"""Training data on disk: split by episode, checked, with a card that says what it is.

``data.jsonl`` and ``data.validation.jsonl`` hold a chat a line, ``data.card.json`` the card.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning.card import DataCard, card_of
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.leakage import TrainingSet
from pytest_babyai.finetuning.openai_format import MIN_EXAMPLES, read_chats
from pytest_babyai.journal.files import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.finetuning.chats import Chat
    from pytest_babyai.finetuning.curation import Curated

SUFFIX: Final = ".jsonl"


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
        train: What is learned.
        validation: What the learning is watched with; may be empty.
        card: What it is.
    """

    train: tuple[Chat, ...]
    validation: tuple[Chat, ...]
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
    return (
        TrainingSet(
            tuple(e for e in training.episodes if e.layout.seed not in chosen), training.held_out
        ),
        TrainingSet(
            tuple(e for e in training.episodes if e.layout.seed in chosen), training.held_out
        ),
    )


def _rank(seed: int) -> str:
    return hashlib.sha256(f"validation {seed}".encode()).hexdigest()


def write_dataset(
    curated: Curated, path: Path, *, val_fraction: float = 0.1, force: bool = False
) -> DataCard:
    """Writes training data, validation data and card.

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
    contents = {paths.train: _encoded(train), paths.validation: _encoded(validation)}
    read_chats(contents[paths.train], str(paths.train), min_examples=MIN_EXAMPLES)
    read_chats(contents[paths.validation], str(paths.validation), min_examples=0)
    digests = (digest_of(contents[paths.train]), digest_of(contents[paths.validation]))
    card = card_of(curated, train, validation, digests)
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
    return Dataset(
        read_chats(train, str(paths.train)),
        read_chats(validation, str(paths.validation), min_examples=0),
        card,
    )


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
