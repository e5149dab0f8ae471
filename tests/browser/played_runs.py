"""Runs with real trajectories, played through the environment without any model."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from pytest_babyai.environment import make_env
from pytest_babyai.gate import RunScores, evaluate_rules, parse_rules
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeFailure,
    EpisodeResult,
    EpisodeSpec,
    Step,
    Usage,
)
from pytest_babyai.reporting.recorded import Provenance
from pytest_babyai.reporting.results import EpisodeReport, RunReport, RunSetup
from pytest_babyai.reporting.summary import Summary, build_summary, compare_variants

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.environment.babyai import BabyAIEnvironment
    from pytest_babyai.records import EpisodeOutcome

VARIANTS = ("plain", "history")
TASKS = ("putnext", "open")
SEEDS = (200, 201, 202)
NUM_EPISODES = len(VARIANTS) * len(TASKS) * len(SEEDS)
RULES = "success>=0.9, plain:steps<=1000, errors<=0"
DEFINITIONS = {
    "plain": {
        "template system": {"path": json.dumps({"": "Rules of the world"})},
        "template user": {"path": json.dumps({"": "{{ mission }}, seeing {{ observation }}"})},
    },
    "history": {
        "template system": {"path": json.dumps({"": "Rules of the world"})},
        "template user": {
            "path": json.dumps({"": "{{ history | length }} steps.\n{{ observation }}"})
        },
    },
}
MARKUP = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>`|$title"


def environment_of(report: EpisodeReport) -> BabyAIEnvironment:
    return make_env("babyai", report.spec.task)


def random_actions(spec: EpisodeSpec, num_steps: int) -> list[str]:
    """Wanders about, takes or opens whatever is in front, and drops it again now and then."""
    chance = random.Random(str(spec))
    environment = make_env("babyai", spec.task)
    seen, _ = environment.reset(seed=spec.seed)
    actions = []
    for _ in range(num_steps):
        actions.append(_action(seen["text"]["long_term_context"].split("\n"), chance))
        seen, *_ = environment.step(actions[-1])
    return actions


def _action(lines: Sequence[str], chance: random.Random) -> str:
    carries = lines[0].startswith("You carry")
    ahead = [line for line in lines if line.endswith(" 1 step forward") and "and" not in line]
    if any("door" in line for line in ahead):
        return "toggle"
    if any("wall" not in line for line in ahead) and not carries:
        return "pick up"
    if carries and chance.random() < 0.1:
        return "drop"
    return chance.choice(["turn left", "turn right", *["go forward"] * 3])


def play(spec: EpisodeSpec, actions: Sequence[str], text: str = "") -> EpisodeResult:
    """Plays the actions; ``text`` stands for what a model writes."""
    environment = make_env("babyai", spec.task)
    seen, _ = environment.reset(seed=spec.seed)
    steps: list[Step] = []
    terminated = False
    for number, action in enumerate(actions, start=1):
        observation = seen["text"]["long_term_context"]
        seen, reward, terminated, _, _ = environment.step(action)
        is_valid = number % 5 != 0 or action != environment.default_action
        steps.append(
            Step(
                observation=observation,
                output=f'{{"thinking": "thought {number} {text}", "action": "{action}"}}',
                thinking=f"thought {number} {text}",
                candidate=action if is_valid else f"fly {text}",
                action=action,
                reward=reward,
                status=AnswerStatus.VALID if is_valid else AnswerStatus.UNKNOWN_ACTION,
                latency_ms=12.0 + number,
                usage=Usage(100 + number, 20),
                finish_reason="stop",
                model="demo-1",
            )
        )
        if terminated:
            break
    return _result(spec, environment, steps, terminated=terminated)


def _result(
    spec: EpisodeSpec, environment: BabyAIEnvironment, steps: list[Step], *, terminated: bool
) -> EpisodeResult:
    stats = environment.get_stats()
    invalid = [step.candidate for step in steps if step.status is not AnswerStatus.VALID]
    return EpisodeResult(
        spec=spec,
        episode_id=f"id-{spec}",
        mission=stats["mission"],
        max_steps=environment.max_steps,
        progression=stats["progression"],
        episode_return=sum(step.reward for step in steps),
        num_steps=len(steps),
        terminated=terminated,
        truncated=not terminated,
        usage=sum((step.usage for step in steps), Usage(0, 0, None)),
        failed_candidates=tuple(invalid),
        num_fallbacks=0,
        num_retries=0,
        started_at_s=0.0,
        duration_s=len(steps) / 10,
        steps=tuple(steps),
    )


def failed(spec: EpisodeSpec, message: str) -> EpisodeFailure:
    return EpisodeFailure(spec, f"id-{spec}", "rate limit", message, 0, 4, Usage(), 0.0, 2.0)


def run_of(
    outcomes: Sequence[EpisodeOutcome], model: str = "demo", variants: Sequence[str] = VARIANTS
) -> RunReport:
    episodes = [
        EpisodeReport(
            f"test.py::test[{each.spec}]", each, 1.0, f"pytest 'test.py::test[{each.spec}]'"
        )
        for each in outcomes
    ]
    setup = RunSetup(model, False, "builtin", tuple(variants), TASKS)
    return RunReport(setup, tuple(episodes), len(episodes), 3.0)


def played_run() -> RunReport:
    """Returns a run of two variants, whose last episode is an error."""
    specs = [EpisodeSpec(v, task, seed) for v in VARIANTS for task in TASKS for seed in SEEDS]
    outcomes: list[EpisodeOutcome] = [play(spec, random_actions(spec, 40)) for spec in specs]
    outcomes[-1] = failed(specs[-1], "the provider kept answering 429")
    return run_of(outcomes)


def hostile_run() -> RunReport:
    """Returns a run in which everything that others write is markup."""
    spec = EpisodeSpec(f"plain{MARKUP}", "putnext", 200)
    played = play(spec, random_actions(spec, 12), MARKUP)
    lost = failed(EpisodeSpec(f"plain{MARKUP}", "putnext", 201), MARKUP)
    return run_of([played, lost], model=MARKUP, variants=[spec.variant])


def summary_of(run: RunReport) -> Summary:
    """Returns what there is to say of a run, with prompts, gates and notices."""
    comparison = compare_variants(run)
    scores = RunScores.of_outcomes([each.outcome for each in run.episodes])
    return build_summary(
        run,
        comparisons=[comparison] if comparison else [],
        gates=evaluate_rules(parse_rules(RULES), scores) if comparison else (),
        notices=["WARNING: something has to be said"],
        provenance=Provenance(
            run_id="20260131-1",
            definitions=DEFINITIONS,
            command_line=("pytest", "evals", "--a-long-option=" + "x" * 120),
            versions={"minigrid": "3.2"},
        ),
    )
