"""``merge``: one run of several journals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.commands.places import journal_of
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace

    from pytest_babyai.journal import MergedRun, RunLog

_HELP: Final = """Make one run of several, such as the shards of a CI matrix.

Each is a run of the project (its id or any end of it), or a directory with runs anywhere in it.
They stay as they are; the new run is in the journal of --root, where every other command finds it.
"""


@click.command("merge", help=_HELP)
@click.argument("runs", metavar="RUN|DIR...", nargs=-1, required=True)
@click.option(
    "--prefer",
    type=click.Choice(["first", "last"]),
    help="whose result counts where runs have different ones of an episode (default: refuse)",
)
@click.option("--partial", is_flag=True, help="merge although shards are missing")
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what the new run is made of."""
    from pytest_babyai.journal import merge_runs

    root = journal_of(chosen)
    logs = {log.directory.resolve(): log for name in chosen.runs for log in _runs(root, name)}
    merged = merge_runs(root, list(logs.values()), prefer=chosen.prefer, partial=chosen.partial)
    yield from _lines(merged, chosen.prefer)


def _runs(root: Path, name: str) -> Iterator[RunLog]:
    from pytest_babyai.journal import open_run, runs_below

    if not Path(name).is_dir():
        yield open_run(root, name)
        return
    found = runs_below(Path(name))
    if not found:
        raise SettingsError(f"there is no run in {name}")
    yield from found


def _lines(merged: MergedRun, prefer: str | None) -> Iterator[str]:
    from pytest_babyai.reporting.numbers import count_of

    yield from merged.damage
    if merged.num_equal:
        same = count_of(merged.num_equal, "episode")
        yield f"{same} in several runs with the same result: each counts once"
    if merged.num_replayed:
        replayed = count_of(merged.num_replayed, "error")
        yield f"{replayed} of one run played again in another: the score counts"
    if merged.num_chosen:
        different = count_of(merged.num_chosen, "episode")
        yield f"{different} with different results: the {prefer} run's count"
    if merged.missing_shards:
        yield f"missing: shard {', '.join(merged.missing_shards)}"
    episodes = count_of(merged.num_episodes, "episode")
    errors = count_of(merged.num_failures, "error")
    yield f"run {merged.run_id}: {episodes} of {count_of(merged.num_runs, 'run')}, {errors}"
