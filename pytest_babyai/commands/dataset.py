"""``dataset``: training data out of recorded episodes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pytest_babyai.commands.learning import (
    STORE,
    environments_of,
    source_of,
    source_options,
)
from pytest_babyai.commands.options import PATH, root_option, with_options
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import SimpleNamespace


_Function = TypeVar("_Function", bound="Callable[..., Any]")


def curation_options(command: _Function) -> _Function:
    """Adds the options that say what is learned."""
    options = (
        click.option(
            "--where",
            multiple=True,
            metavar="CONDITION",
            help="episodes to learn from, such as 'episode_return>=0.7' (default: progression>=1; "
            "may be repeated)",
        ),
        click.option("--variant", metavar="NAME", help="whose episodes (default: the only one)"),
        click.option(
            "--val-fraction",
            default="0.1",
            metavar="P",
            help="share of the seeds that is kept for validation (default: 0.1)",
        ),
    )
    return functools.reduce(lambda decorated, option: option(decorated), options[::-1], command)


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
@curation_options
@source_options
@click.option("--force", is_flag=True, help="replace files that are there")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what the data is made of."""
    from pytest_babyai.finetuning.card import card_lines
    from pytest_babyai.finetuning.conditions import DEFAULT_CONDITION, parse_conditions
    from pytest_babyai.finetuning.curation import curate
    from pytest_babyai.finetuning.dataset import DatasetPaths, write_dataset

    conditions = parse_conditions(list(chosen.where) or [DEFAULT_CONDITION])
    fraction = val_fraction_of(chosen)
    paths = DatasetPaths(chosen.output)
    paths.check_free(force=chosen.force)
    with source_of(chosen) as source:
        curated = curate(source, conditions, environments_of())
    card = write_dataset(curated, chosen.output, val_fraction=fraction, force=chosen.force)
    yield from card_lines(card)
    yield f"{', '.join(str(path) for path in paths.all() if path.exists())} written"


def val_fraction_of(chosen: SimpleNamespace) -> float:
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
