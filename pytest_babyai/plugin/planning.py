"""``--babyai-plan``: what a session would play."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_babyai.environment import STEP_LIMITS
from pytest_babyai.journal import open_run, past_results, reusable
from pytest_babyai.playing.controls import MAX_ADAPTIVE
from pytest_babyai.reporting.forecast import plan_detectable, plan_groups
from pytest_babyai.reporting.plan import RunPlan, plan_lines

if TYPE_CHECKING:
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.plugin.state import State
    from pytest_babyai.records import PlannedEpisode


def print_plan(state: State) -> None:
    """Prints what the session would play, what it would take, and what it can show."""
    reporter = state.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    reporter.ensure_newline()
    reporter.section("BabyAI plan", sep="=")
    width = state.config.get_terminal_writer().fullwidth
    for line in plan_lines(_plan(state.run), width=width):
        reporter.write_line(line.text, **line.style)


def _plan(run: RunSpec) -> RunPlan:
    settings, planned = run.settings, list(run.nodeids)
    reused = _reused(run, planned)
    left = [episode for episode in planned if episode not in reused]
    past = list(past_results(run.runs_dir, run.model_label))
    concurrency = settings.concurrency
    return RunPlan(
        groups=plan_groups((episode.spec for episode in left), past, STEP_LIMITS),
        seeds=sorted({episode.spec.seed for episode in planned}),
        repeats=settings.repeats,
        concurrency=concurrency if concurrency != "auto" else MAX_ADAPTIVE,
        detectable=plan_detectable((episode.spec for episode in planned), past),
        num_reused=len(planned) - len(left),
    )


def _reused(run: RunSpec, planned: list[PlannedEpisode]) -> set[PlannedEpisode]:
    resume = run.settings.resume
    if resume is None:
        return set()
    keys = {run.key_of(episode): episode for episode in planned}
    return {keys[key] for key in reusable(open_run(run.runs_dir, resume), keys)}
