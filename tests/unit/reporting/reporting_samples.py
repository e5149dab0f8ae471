"""Episodes and runs that the tests of reporting share."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from pytest_babyai.records import (
    AnswerStatus,
    EpisodeFailure,
    EpisodeOutcome,
    EpisodeResult,
    EpisodeSpec,
    Step,
    Usage,
)
from pytest_babyai.reporting.results import EpisodeReport, RunReport, RunSetup
from pytest_babyai.reporting.summary import Summary, build_summary, compare_variants

VARIANTS = ("baseline", "reasoning", "history", "history_and_reasoning")
TASKS = ("goto", "pick_up_seq_go_to")
SPEC = EpisodeSpec("baseline", "goto", 200)
SETUP = RunSetup("offline", True, "builtin", VARIANTS, TASKS)


def step(**changes: Any) -> Step:
    fields: dict[str, Any] = {
        "observation": "a wall 2 steps forward\na red ball 1 step right",
        "output": '{"action": "turn right"}',
        "thinking": None,
        "candidate": "turn right",
        "action": "turn right",
        "reward": 0.0,
        "status": AnswerStatus.VALID,
        "latency_ms": 5.0,
        "usage": Usage(100, 10),
    }
    return Step(**fields | changes)


def result(spec: EpisodeSpec = SPEC, **changes: Any) -> EpisodeResult:
    fields: dict[str, Any] = {
        "spec": spec,
        "episode_id": f"id-{spec}",
        "mission": "go to the red ball",
        "max_steps": 64,
        "progression": 0.0,
        "episode_return": 0.0,
        "num_steps": 64,
        "terminated": False,
        "truncated": True,
        "usage": Usage(6400, 640),
        "failed_candidates": (),
        "num_fallbacks": 0,
        "num_retries": 0,
        "started_at_s": 0.0,
        "duration_s": 1.0,
    }
    return EpisodeResult(**fields | changes)


def solved(spec: EpisodeSpec = SPEC, **changes: Any) -> EpisodeResult:
    fields: dict[str, Any] = {
        "progression": 1.0,
        "episode_return": 0.9,
        "num_steps": 8,
        "terminated": True,
        "truncated": False,
        "usage": Usage(800, 80),
    }
    return result(spec, **fields | changes)


def failure(spec: EpisodeSpec = SPEC, **changes: Any) -> EpisodeFailure:
    fields: dict[str, Any] = {
        "spec": spec,
        "episode_id": f"id-{spec}",
        "kind": "rate limit",
        "message": "the provider kept answering 429",
        "num_steps": 3,
        "num_retries": 4,
        "usage": Usage(300, 30),
        "started_at_s": 0.0,
        "duration_s": 1.0,
    }
    return EpisodeFailure(**fields | changes)


def report_of(outcome: EpisodeOutcome, threshold: float = 1.0) -> EpisodeReport:
    nodeid = f"evals/test_babyai.py::test_episode[{outcome.spec}]"
    return EpisodeReport(nodeid, outcome, threshold, f"pytest '{nodeid}'")


def run_of(*outcomes: EpisodeOutcome, **changes: Any) -> RunReport:
    fields: dict[str, Any] = {
        "setup": SETUP,
        "episodes": tuple(report_of(outcome) for outcome in outcomes),
        "num_selected": len(outcomes),
        "wall_time_s": 2.0,
    }
    return RunReport(**fields | changes)


def sample_outcomes() -> list[EpisodeOutcome]:
    """Four variants on two tasks and three seeds; each variant solves one more than the last."""
    outcomes: list[EpisodeOutcome] = []
    for number, variant in enumerate(VARIANTS):
        for position, (task, seed) in enumerate(itertools.product(TASKS, range(200, 203))):
            spec = EpisodeSpec(variant, task, seed)
            outcomes.append(solved(spec) if position <= number else result(spec))
    return outcomes


def sample_run(**changes: Any) -> RunReport:
    """Returns the run of `sample_outcomes`."""
    return run_of(*sample_outcomes(), **changes)


def troubled_run() -> RunReport:
    """Returns the same, with an error, random actions, invalid answers and an interruption."""
    outcomes = sample_outcomes()
    outcomes[0] = failure(outcomes[0].spec)
    outcomes[1] = result(outcomes[1].spec, num_fallbacks=2, failed_candidates=("fly", "hop"))
    setup = dataclasses.replace(SETUP, on_error="fallback")
    return run_of(*outcomes, setup=setup, num_selected=400, interrupted=True)


def summary_of(run: RunReport, **changes: Any) -> Summary:
    """Returns what there is to say of a run, its variants compared with the first."""
    found = compare_variants(run)
    return build_summary(run, **{"comparisons": [found] if found else [], **changes})
