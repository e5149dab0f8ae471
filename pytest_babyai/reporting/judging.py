"""Rules of gates, held against a frame of episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import RuleError, did_you_mean
from pytest_babyai.gate import (
    GateResult,
    Reference,
    RunScores,
    ScoredEpisode,
    UnscoredEpisode,
    evaluate_rules,
    parse_rules,
)
from pytest_babyai.records import EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def judge(
    results: pd.DataFrame, rules: str | Sequence[str], *, reference: str | None = None
) -> tuple[GateResult, ...]:
    """Judges episodes by rules, as ``--babyai-fail`` does.

    Args:
        results: As the fixture ``babyai_results`` gives it, or a part of its rows.
        rules: One or several, such as ``history:success>=0.8``; `pytest_babyai.gate.rules` tells
            their form.
        reference: The variant that changes are measured against.

    Returns:
        One result per rule, variant and task, with outcome and reason.

    Raises:
        RuleError: One of them is no rule, or the reference has no episode.
    """
    scores = RunScores.of(_scored(row) for row in results.to_dict("records"))
    if reference is not None and reference not in scores.variants:
        hint = did_you_mean(reference, scores.variants)
        raise RuleError(f"reference {reference!r} has no episode in these results; {hint}")
    against = Reference(f"variant {reference}", scores, reference) if reference else None
    return evaluate_rules(parse_rules(rules), scores, against)


def _scored(row: dict[Any, Any]) -> ScoredEpisode | UnscoredEpisode:
    spec = EpisodeSpec(row["variant"], row["task"], int(row["seed"]))
    if row["outcome"] == "error":
        return UnscoredEpisode(spec, row["error_kind"])
    return ScoredEpisode(
        spec,
        progression=float(row["progression"]),
        episode_return=float(row["return"]),
        num_steps=int(row["num_steps"]),
        input_tokens=_known(row["input_tokens"]),
        output_tokens=_known(row["output_tokens"]),
        cost=_known(row["cost"]),
    )


def _known(value: Any) -> Any:
    import pandas as pd

    return None if pd.isna(value) else value
