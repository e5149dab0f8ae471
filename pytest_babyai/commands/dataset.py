"""``dataset``: training data out of recorded episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.learning import (
    STORE,
    Curation,
    curation_of,
    curation_options,
)
from pytest_babyai.commands.options import PATH, with_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace


_HELP = f"""Write the successful episodes of a run as training data.

The source is the id of a run, any end of it, 'latest', or {STORE!r} for all that a store has.
"""


@click.command("dataset", help=_HELP)
@click.argument("source", metavar="RUN|store")
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("data.jsonl"),
    metavar="FILE",
    help="where to write (default: data.jsonl, with data.validation.jsonl and data.card.json)",
)
@click.option(
    "--format",
    default="sft",
    metavar="sft|dpo",
    help="chats of the episodes (sft), or the step where a better and a worse episode of one "
    "seed part, as a preference (dpo); default: sft",
)
@curation_options
@click.option("--force", is_flag=True, help="replace files that are there")
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what the data is made of."""
    yield from make_dataset(curation_of(chosen), chosen.source, chosen.output, force=chosen.force)


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
