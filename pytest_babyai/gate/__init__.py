"""Gates: pure functions from results, reference and rules to outcomes; baselines to refer to.

`parse_rules` reads rules, `check_rules` finds what would judge nothing, `evaluate_rules` judges.
`take_snapshot`, `save_baseline` and `load_baseline` keep a run; `check_comparable` refuses another
one whose levels differ; `compare` tells all differences. Statistics are those of
`pytest_babyai.statistics`.
"""

from pytest_babyai.gate.baseline import (
    BASELINES_DIRECTORY,
    baseline_path,
    find_baseline,
    load_baseline,
    save_baseline,
)
from pytest_babyai.gate.comparison import (
    Comparison,
    MetricComparison,
    VariantComparison,
    compare,
)
from pytest_babyai.gate.evaluation import (
    GateOutcome,
    GateResult,
    Reference,
    evaluate_rules,
    planned_gates,
)
from pytest_babyai.gate.grammar import parse_rule, parse_rules
from pytest_babyai.gate.metrics import METRICS, Metric
from pytest_babyai.gate.rules import Rule, check_rules
from pytest_babyai.gate.scores import RunScores, ScoredEpisode, UnscoredEpisode
from pytest_babyai.gate.snapshot import RunSnapshot, check_comparable, take_snapshot

__all__ = [
    "BASELINES_DIRECTORY",
    "METRICS",
    "Comparison",
    "GateOutcome",
    "GateResult",
    "Metric",
    "MetricComparison",
    "Reference",
    "Rule",
    "RunScores",
    "RunSnapshot",
    "ScoredEpisode",
    "UnscoredEpisode",
    "VariantComparison",
    "baseline_path",
    "check_comparable",
    "check_rules",
    "compare",
    "evaluate_rules",
    "find_baseline",
    "load_baseline",
    "parse_rule",
    "parse_rules",
    "planned_gates",
    "save_baseline",
    "take_snapshot",
]
