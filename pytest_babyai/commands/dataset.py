"""``dataset``: training data out of recorded episodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.commands.learning import (
    STORE,
    add_source_options,
    environments_of,
    source_of,
)
from pytest_babyai.commands.places import add_root
from pytest_babyai.errors import SettingsError

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
    add_curation_options(parser)
    add_source_options(parser)
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    add_root(parser)
    parser.set_defaults(lines=_lines)


def add_curation_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say what is learned."""
    parser.add_argument(
        "--where",
        action="append",
        metavar="CONDITION",
        help="episodes to learn from, such as 'episode_return>=0.7' (default: progression>=1; "
        "may be repeated)",
    )
    parser.add_argument("--variant", metavar="NAME", help="whose episodes (default: the only one)")
    parser.add_argument(
        "--val-fraction",
        default="0.1",
        metavar="P",
        help="share of the seeds that is kept for validation (default: 0.1)",
    )


def _lines(chosen: argparse.Namespace) -> Iterator[str]:
    from pytest_babyai.finetuning.card import card_lines
    from pytest_babyai.finetuning.conditions import DEFAULT_CONDITION, parse_conditions
    from pytest_babyai.finetuning.curation import curate
    from pytest_babyai.finetuning.dataset import DatasetPaths, write_dataset

    conditions = parse_conditions(chosen.where or [DEFAULT_CONDITION])
    fraction = val_fraction_of(chosen)
    paths = DatasetPaths(chosen.output)
    paths.check_free(force=chosen.force)
    with source_of(chosen) as source:
        curated = curate(source, conditions, environments_of())
    card = write_dataset(curated, chosen.output, val_fraction=fraction, force=chosen.force)
    yield from card_lines(card)
    yield f"{', '.join(str(path) for path in paths.all() if path.exists())} written"


def val_fraction_of(chosen: argparse.Namespace) -> float:
    """Returns the share of the seeds that goes to validation.

    Raises:
        SettingsError: It is no such share.
    """
    from pytest_babyai.settings.values import number

    try:
        fraction = number(0, 1)(chosen.val_fraction)
    except ValueError:
        fraction = 1.0
    if fraction == 1:
        raise SettingsError(
            f"--val-fraction: expected a number from 0 to below 1, found {chosen.val_fraction!r}"
        )
    return fraction
