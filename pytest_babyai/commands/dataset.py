"""``dataset``: training data out of recorded episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.commands.learning import (
    STORE,
    Curation,
    add_curation_options,
    curation_of,
)
from pytest_babyai.commands.places import add_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "dataset", help="write the successful episodes of a run as training data"
    )
    parser.add_argument(
        "source",
        metavar="RUN|store",
        help=f"id of a run, any end of it, 'latest', or {STORE!r} for all that a store has",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("data.jsonl"),
        metavar="FILE",
        help="where to write (default: data.jsonl, with data.validation.jsonl and data.card.json)",
    )
    parser.add_argument(
        "--format",
        default="sft",
        metavar="sft|dpo",
        help="chats of the episodes (sft), or the step where a better and a worse episode of one "
        "seed part, as a preference (dpo); default: sft",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_curation_options(parser)
    add_root(parser)
    parser.set_defaults(
        lines=lambda chosen: make_dataset(
            curation_of(chosen), chosen.source, chosen.output, force=chosen.force
        )
    )


def make_dataset(
    curation: Curation, source: str, output: Path, *, force: bool = False
) -> Iterator[str]:
    """Writes training data, and yields what its card says.

    Args:
        curation: What is learned from.
        source: Id of a run, or `STORE`.
        output: Where the training data goes, ``….jsonl``.
        force: Whether files that are there are replaced.

    Raises:
        UsageError: An option is wrong, or nothing is left to learn from.
    """
    from pytest_babyai.finetuning.dataset import DatasetPaths, write_dataset

    fraction = curation.check()
    paths = DatasetPaths(output)
    paths.check_free(force=force)
    card = write_dataset(curation.curated(source), output, val_fraction=fraction, force=force)
    yield from card.lines()
    yield f"{', '.join(str(path) for path in paths.all() if path.exists())} written"
