"""Rules of gates, held against a frame of episodes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import RuleError, did_you_mean
from pytest_babyai.gate import (
    GateResult,
    Reference,
    RunScores,
    check_rules,
    evaluate_rules,
    parse_rules,
    scored,
    unscored,
)
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from pytest_babyai.gate import Rule
    from pytest_babyai.records import EpisodeOutcome

_NEEDED: Final = ("variant", "task", "seed", "outcome", "progression", "return", "num_steps")
_OPTIONAL: Final = ("input_tokens", "output_tokens", "cost")


def judge(
    results: pd.DataFrame, rules: str | Sequence[str], *, reference: str | None = None
) -> tuple[GateResult, ...]:
    """Judges episodes by rules, as ``--babyai-fail`` does.

    Args:
        results: As the fixture ``babyai_results`` gives it, or a part of its rows.
        rules: One or several, such as ``history:success>=0.8``; `pytest_babyai.gate.rules` tells
            their form.
        reference: The variant that changes are measured against; None takes the first one.

    Returns:
        One result per rule, variant and task, with outcome and reason.

    Raises:
        RuleError: One of them is no rule, or names a variant or task that the frame has not; the
            reference has no episode, or no seed in common; a column is missing, or a score is.
    """
    scores = RunScores.of_outcomes(_outcomes(results), variants=_in_order(results, "variant"))
    if not scores.episodes:
        raise RuleError("judge: the frame has no row, so there is nothing to judge")
    if reference is not None and reference not in scores.variants:
        hint = did_you_mean(reference, scores.variants)
        raise RuleError(f"reference {reference!r} has no episode in these results; {hint}")
    parsed = parse_rules(rules)
    has_reference = reference is not None or len(scores.variants) > 1
    check_rules(parsed, variants=scores.variants, tasks=scores.tasks, has_reference=has_reference)
    name = reference or scores.variants[0]
    against = Reference(f"variant {name}", scores, name) if has_reference else None
    _check_common(parsed, scores, against)
    return evaluate_rules(parsed, scores, against)


def _outcomes(results: pd.DataFrame) -> list[EpisodeOutcome]:
    missing = [name for name in _NEEDED if name not in results.columns]
    if missing:
        raise RuleError(
            f"judge: the frame lacks the column {missing[0]!r}; "
            f"it needs {', '.join(_NEEDED)}, as `babyai_results` has them"
        )
    rows: list[dict[Any, Any]] = results.to_dict("records")
    return [_outcome(row) for row in rows]


def _outcome(row: dict[Any, Any]) -> EpisodeOutcome:
    for name in ("variant", "task", "seed", "outcome"):
        if _known(row[name]) is None:
            raise RuleError(f"judge: a row has no {name}; every episode needs one")
    spec = EpisodeSpec(str(row["variant"]), str(row["task"]), int(row["seed"]))
    if row["outcome"] == "error":
        return unscored(spec, str(_known(row.get("error_kind")) or "unknown"))
    progression = _score(row, "progression", spec, 1.0)
    episode_return = _score(row, "return", spec, 1.0)
    num_steps = int(_score(row, "num_steps", spec, math.inf))
    usage = {name: _known(row.get(name)) for name in _OPTIONAL}
    return scored(spec, progression, episode_return, num_steps, **usage)


def _score(row: dict[Any, Any], name: str, spec: EpisodeSpec, high: float) -> float:
    value = _known(row[name])
    if value is None or math.isnan(value):
        raise RuleError(
            f"judge: the {name} of {spec} is missing, though its outcome is {row['outcome']!r}; "
            "an episode without a score has the outcome 'error'"
        )
    if not 0 <= value <= high:
        span = "lies between 0 and 1" if high == 1 else "is never negative"
        raise RuleError(f"judge: the {name} of {spec} is {value:g}, and it {span}")
    return float(value)


def _known(value: Any) -> Any:
    import pandas as pd

    return None if value is None or pd.isna(value) else value


def _in_order(results: pd.DataFrame, name: str) -> list[str]:
    return [str(value) for value in results[name].unique()]


def _check_common(rules: Sequence[Rule], scores: RunScores, reference: Reference | None) -> None:
    if reference is None or not any(rule.relative for rule in rules):
        return
    pairs = {
        variant: {(each.spec.task, each.spec.seed) for each in scores.of_cell(variant)}
        for variant in scores.variants
    }
    for variant, played in pairs.items():
        if not played & pairs[reference.partner(variant)]:
            raise RuleError(
                f"judge: {variant} and {reference.variant} have no task and seed in common; "
                "play both on the same seeds"
            )
