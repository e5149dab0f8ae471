"""``--babyai-plan``: what a session would play."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_babyai.environment import STEP_LIMITS
from pytest_babyai.errors import JournalError
from pytest_babyai.journal import RUNS_DIRECTORY, newest_runs, open_run, reusable
from pytest_babyai.plugin.controls import MAX_ADAPTIVE
from pytest_babyai.plugin.recording import key_of
from pytest_babyai.records import EpisodeResult
from pytest_babyai.reporting.forecast import plan_detectable, plan_groups
from pytest_babyai.reporting.plan import RunPlan, plan_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.plugin.selection import PlannedEpisode
    from pytest_babyai.plugin.session import EpisodeSession

NUM_RUNS = 5
NUM_ENTRIES = 2_000


def print_plan(session: EpisodeSession) -> None:
    """Prints what the session would play, what it would take, and what it can show."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    reporter.ensure_newline()
    reporter.section("BabyAI plan", sep="=")
    width = session.config.get_terminal_writer().fullwidth
    for line in plan_lines(_plan(session), width=width):
        reporter.write_line(line.text, **line.style)


def _plan(session: EpisodeSession) -> RunPlan:
    settings = session.selection.settings
    planned = list(session.agenda.nodeids)
    left = [episode for episode in planned if episode not in _reused(session, planned)]
    past = list(_past(session.config.rootpath / RUNS_DIRECTORY, session.selection.model_label))
    concurrency = settings.concurrency
    return RunPlan(
        groups=plan_groups((episode.spec for episode in left), past, STEP_LIMITS),
        seeds=sorted({episode.spec.seed for episode in planned}),
        repeats=settings.repeats,
        concurrency=concurrency if concurrency != "auto" else MAX_ADAPTIVE,
        detectable=plan_detectable((episode.spec for episode in planned), past),
        num_reused=len(planned) - len(left),
    )


def _reused(session: EpisodeSession, planned: list[PlannedEpisode]) -> set[PlannedEpisode]:
    resume = session.selection.settings.resume
    if resume is None:
        return set()
    log = open_run(session.config.rootpath / RUNS_DIRECTORY, resume)
    keys = {key_of(episode, session.selection): episode for episode in planned}
    return {keys[key] for key in reusable(log, keys)}


def _past(root: Path, model_label: str) -> Iterator[EpisodeResult]:
    runs = (log for log in newest_runs(root) if log.manifest.model_label == model_label)
    for log in itertools.islice(runs, NUM_RUNS):
        with suppress(JournalError):  # a damaged run tells nothing
            for entry in itertools.islice(log.entries(with_steps=False), NUM_ENTRIES):
                if isinstance(entry.outcome, EpisodeResult):
                    yield entry.outcome
