"""Gates: pure functions from results, reference and rules to outcomes; baselines to refer to.

`parse_rules` reads rules, `check_rules` finds what would judge nothing, `evaluate_rules` judges
and `compare` tells all differences, both on one path. `take_snapshot`, `save_baseline` and
`load_baseline` keep a run; `check_comparable` refuses another one whose levels differ. Statistics
are those of `pytest_babyai.statistics`.
"""

from pytest_babyai.gate.baseline import (
    BASELINES_DIRECTORY,
    RunSnapshot,
    baseline_names,
    baseline_path,
    check_comparable,
    find_baseline,
    is_baseline_path,
    load_baseline,
    save_baseline,
    take_snapshot,
)
from pytest_babyai.gate.judge import (
    Comparison,
    Difference,
    GateOutcome,
    GateResult,
    MetricComparison,
    Reference,
    VariantComparison,
    Verdict,
    compare,
    evaluate_rules,
    interval_of,
    planned_gates,
    settled,
    unjudged,
    verdict,
)
from pytest_babyai.gate.rules import DEFAULT_LEVEL, Rule, check_rules, parse_rule, parse_rules
from pytest_babyai.gate.scores import RunScores, metric_values, scored, unscored
from pytest_babyai.metrics import METRICS, Metric

__all__ = [
    "BASELINES_DIRECTORY",
    "DEFAULT_LEVEL",
    "METRICS",
    "Comparison",
    "Difference",
    "GateOutcome",
    "GateResult",
    "Metric",
    "MetricComparison",
    "Reference",
    "Rule",
    "RunScores",
    "RunSnapshot",
    "VariantComparison",
    "Verdict",
    "baseline_names",
    "baseline_path",
    "check_comparable",
    "check_rules",
    "compare",
    "evaluate_rules",
    "find_baseline",
    "interval_of",
    "is_baseline_path",
    "load_baseline",
    "metric_values",
    "parse_rule",
    "parse_rules",
    "planned_gates",
    "save_baseline",
    "scored",
    "settled",
    "take_snapshot",
    "unjudged",
    "unscored",
    "verdict",
]
