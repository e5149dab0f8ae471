"""The gate of the learning loop: a fine-tuned variant is not worse than the one it learned from.

It waits until such a variant is played; `python -m pytest_babyai learn` makes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai import judge

if TYPE_CHECKING:
    import pandas as pd

PARENT = "history_and_reasoning"
CHILD = f"{PARENT}_sft"


@pytest.mark.babyai_analysis
@pytest.mark.parametrize("rule", [f"{CHILD}:success<-0.05!", f"{CHILD}:return<-0.05!"])
def test_fine_tuned_variant_is_not_worse(babyai_results: pd.DataFrame, rule: str) -> None:
    """Fails unless the whole 95 % interval of the change lies above -0.05."""
    if not {PARENT, CHILD} <= set(babyai_results["variant"]):
        pytest.skip(f"{CHILD} and {PARENT} were not both played")
    (result,) = judge(babyai_results, rule, reference=PARENT)
    assert result.outcome == "passed", result.reason
