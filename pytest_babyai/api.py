"""Playing episodes from Python, without pytest: in a script or a notebook."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.environment import TASKS
from pytest_babyai.errors import NotStartedError, SettingsError, did_you_mean
from pytest_babyai.playing.player import open_player
from pytest_babyai.playing.setup import check_seeds, read_setup, tasks_of
from pytest_babyai.records import EpisodeSpec, PlannedEpisode
from pytest_babyai.reporting.results import EpisodeReport, RunReport, RunSetup
from pytest_babyai.settings.definitions import DEFINITIONS
from pytest_babyai.settings.sources import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from pytest_babyai.playing.player import Player
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.playing.setup import Setup

POLL_S: Final = 0.1

_OF_PYTEST: Final = {
    "charts", "compare", "csv", "details", "fail", "gate", "html", "md", "parquet", "plan", "save",
}  # fmt: skip
"""Settings that say what pytest makes of the episodes."""


def play(*, root: str | Path | None = None, progress: bool = True, **settings: Any) -> pd.DataFrame:
    """Plays episodes and returns them as a table.

    The journal is the one that pytest writes: ``resume="latest"`` goes on with a run, and
    ``python -m pytest_babyai show`` and ``report`` read it. Ctrl-C returns control at once, and
    what was finished can be resumed.

    Args:
        root: Directory that holds ``config`` and ``.babyai``; the working directory by default.
        progress: Whether to show on standard error how far the run is.
        **settings: As the options ``--babyai-…`` without the prefix, with ``_`` for ``-``:
            ``variants=["baseline"]``, ``tasks="goto"``, ``seeds=range(200, 210)``,
            ``model="openai"``, ``max_cost=5``; what is left out stands in ``config/babyai.yml``, or
            has its default.

    Returns:
        A row per episode, as the fixture ``babyai_results`` gives it; episodes that a budget kept
        from being played are missing.

    Raises:
        UsageError: A setting is wrong, or what is needed cannot be had.
    """
    setup, run = _prepare(root, settings)
    player = open_player(run)
    is_finished = False
    is_interrupted = True
    try:
        player.look_ahead(run.nodeids)
        _wait(player, len(run.nodeids), progress=progress)
        outcomes = list(_reports(player, run))
        is_finished = len(outcomes) + len(player.controls.left_out) == len(run.nodeids)
        is_interrupted = False
    finally:
        player.close(finished=is_finished, is_interrupted=is_interrupted)
    from pytest_babyai.reporting.tables_export import episodes_frame

    run_id = player.run_id if player.journal else None
    return episodes_frame(_report(setup, run, outcomes), run_id=run_id)


async def play_async(
    *, root: str | Path | None = None, progress: bool = True, **settings: Any
) -> pd.DataFrame:
    """Plays episodes as `play` does, without holding up the running event loop.

    Raises:
        UsageError: As `play`.
    """
    return await asyncio.to_thread(play, root=root, progress=progress, **settings)


def _prepare(root: str | Path | None, settings: dict[str, Any]) -> tuple[Setup, RunSpec]:
    known = [each.key for each in DEFINITIONS if each.name not in _OF_PYTEST]
    for name in settings:
        if name not in known:
            raise SettingsError(f"play(): unknown argument {name!r}; {did_you_mean(name, known)}")
    directory = Path.cwd() if root is None else Path(root).absolute()
    # pytest's own default fails a run by its episodes; here nothing fails.
    typed = Source(settings, lambda definition: f"play({definition.key}=…)")
    setup = read_setup(
        typed, [], places=[directory], path_of=lambda _, path: directory / Path(path).expanduser()
    )
    chosen = setup.settings
    setup.check_variants(chosen, "play(variants=…)")
    check_seeds(chosen)
    nodeids = {episode: _name(episode) for episode in _episodes(setup)}
    return setup, setup.run_spec(
        nodeids,
        root=directory,
        command_line=["pytest_babyai.play", *map(str, sorted(settings))],
    )


def _episodes(setup: Setup) -> Iterator[PlannedEpisode]:
    settings = setup.settings
    for variant in setup.variants(settings):
        for task in tasks_of(settings, "play(tasks=…)"):
            for seed in settings.played_seeds:
                for repeat in range(settings.repeats):
                    yield PlannedEpisode(
                        EpisodeSpec(variant, task, seed),
                        settings.history_length,
                        settings.num_dists,
                        repeat=repeat,
                        is_repeated=settings.repeats > 1,
                    )


def _name(episode: PlannedEpisode) -> str:
    repeat = f"-r{episode.repeat}" if episode.is_repeated else ""
    return f"play[{episode.spec}{repeat}]"


def _wait(player: Player, num_episodes: int, *, progress: bool) -> None:
    """Waits until every episode has ended, one way or another."""
    painted_s = 0.0
    while any(player.scheduler.is_pending(episode) for episode in player.run.nodeids):
        player.scheduler.next_finished(POLL_S)
        if progress and time.monotonic() - painted_s > 1.0:
            painted_s = time.monotonic()
            _paint(player, num_episodes)
    if progress:
        _paint(player, num_episodes)
        sys.stderr.write("\n")


def _paint(player: Player, num_episodes: int) -> None:
    num_finished = sum(not player.scheduler.is_pending(each) for each in player.run.nodeids)
    line = f"{num_finished:,} of {num_episodes:,} episodes, {player.controls.num_steps:,} steps"
    sys.stderr.write(f"\r{line}" if sys.stderr.isatty() else f"{line}\n")
    sys.stderr.flush()


def _reports(player: Player, run: RunSpec) -> Iterator[EpisodeReport]:
    for episode, name in run.nodeids.items():
        try:
            outcome = player.scheduler.future(episode).result()
        except NotStartedError:
            continue
        yield EpisodeReport(name, outcome.without_steps(), run.settings.threshold, "")


def _report(setup: Setup, run: RunSpec, episodes: list[EpisodeReport]) -> RunReport:
    return RunReport(
        setup=RunSetup(
            model_label=run.model_label,
            offline=run.is_offline,
            environment=run.settings.environment,
            variants=setup.variants(run.settings),
            tasks=TASKS,
        ),
        episodes=tuple(episodes),
        num_selected=len(run.nodeids),
        wall_time_s=0.0,
    )
