from __future__ import annotations

import pytest

from pytest_babyai.playing.budgets import Budget, BudgetLimits, ErrorAllowance
from pytest_babyai.records import EpisodeFailure, EpisodeOutcome, EpisodeResult, EpisodeSpec, Usage
from pytest_babyai.settings.amounts import ErrorLimit

SPEC = EpisodeSpec("baseline", "goto", 200)
SOLVED = EpisodeResult(
    SPEC, "id", "go", 64, 1.0, 0.9, 3, True, False, Usage(1, 1, 0.0), (), 0, 0, 0.0, 1.0
)


def failure(kind: str = "provider") -> EpisodeFailure:
    return EpisodeFailure(SPEC, "id", kind, "boom", 0, 0, Usage(0, 0, 0.0), 0.0, 1.0)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def budget_after(*usages: Usage, limits: BudgetLimits) -> Budget:
    budget = Budget(limits, monotonic_s=Clock())
    for usage in usages:
        budget.record(usage)
    return budget


def test_without_limits_nothing_is_ever_used_up() -> None:
    budget = budget_after(Usage(10**12, 10**12, 1e9), limits=BudgetLimits())

    assert budget.exhausted() is None


def test_input_and_output_tokens_count_together() -> None:
    limits = BudgetLimits(max_tokens=1_000)

    assert budget_after(Usage(900, 99), limits=limits).exhausted() is None
    assert (
        budget_after(Usage(900, 50), Usage(40, 10), limits=limits).exhausted()
        == "token budget used up: 1,000 of 1,000 tokens (--babyai-max-tokens)"
    )


def test_cost_adds_up() -> None:
    limits = BudgetLimits(max_cost=2.5)

    assert budget_after(Usage(1, 1, 2.49), limits=limits).exhausted() is None
    assert (
        budget_after(Usage(1, 1, 1.5), Usage(1, 1, 1.0), limits=limits).exhausted()
        == "cost budget used up: $2.50 of $2.50 (--babyai-max-cost)"
    )


def test_time_passes_without_any_usage() -> None:
    clock = Clock()
    budget = Budget(BudgetLimits(max_time_s=600.0), monotonic_s=clock)
    clock.now_s += 599
    before = budget.exhausted()
    clock.now_s += 2

    assert before is None
    assert budget.exhausted() == "time budget used up: 601 of 600 s (--babyai-max-time)"


def test_an_unknown_price_is_told_and_not_taken_for_zero() -> None:
    budget = budget_after(Usage(1, 1), Usage(1, 1), limits=BudgetLimits(max_cost=1.0))

    assert budget.exhausted() is None
    assert [line.split(",")[0] for line in budget.gaps()] == [
        "no price is known for some or all requests"
    ]


def test_tokens_that_are_not_counted_are_told() -> None:
    budget = budget_after(Usage(None, 7, 0.0), limits=BudgetLimits(max_tokens=10))

    assert len(budget.gaps()) == 1
    assert "--babyai-max-tokens does not cover" in budget.gaps()[0]


def test_a_gap_that_no_budget_asks_for_is_not_told() -> None:
    assert budget_after(Usage(), limits=BudgetLimits(max_time_s=1.0)).gaps() == []


def allowance_after(
    limit: ErrorLimit, outcomes: list[EpisodeOutcome], num_planned: int = 400
) -> ErrorAllowance:
    allowance = ErrorAllowance(limit, num_planned)
    for outcome in outcomes:
        allowance.record(outcome)
    return allowance


def test_a_number_of_errors_is_exceeded_by_one_more() -> None:
    limit = ErrorLimit(num_errors=2)

    assert allowance_after(limit, [failure()] * 2).exhausted() is None
    assert (
        allowance_after(limit, [SOLVED, failure(), failure("rate limit"), failure()]).exhausted()
        == "too many errors: 3 of 4 finished episodes (provider 2, rate limit 1); "
        "2 allowed (--babyai-max-errors)"
    )


def test_no_errors_allowed_is_exceeded_by_the_first() -> None:
    assert allowance_after(ErrorLimit(num_errors=0), [failure()]).exhausted() is not None


FIVE_PERCENT = ErrorLimit(share=0.05)


def test_a_share_is_not_judged_from_a_few_episodes() -> None:
    assert allowance_after(FIVE_PERCENT, [failure()] * 19).exhausted() is None
    assert allowance_after(FIVE_PERCENT, [failure()] * 20).exhausted() is not None


@pytest.mark.parametrize(("num_errors", "stops"), [(1, False), (3, False), (4, True)])
def test_a_share_is_exceeded_when_chance_can_no_longer_explain_it(
    num_errors: int, *, stops: bool
) -> None:
    outcomes = [SOLVED] * (20 - num_errors) + [failure()] * num_errors

    assert (allowance_after(FIVE_PERCENT, outcomes).exhausted() is not None) == stops


def test_a_share_of_a_small_plan_is_exceeded_when_it_cannot_be_kept() -> None:
    assert allowance_after(FIVE_PERCENT, [failure()], num_planned=20).exhausted() is None
    assert allowance_after(FIVE_PERCENT, [failure()] * 2, num_planned=20).exhausted() is not None


def test_a_share_of_zero_is_exceeded_by_the_first_error() -> None:
    assert allowance_after(ErrorLimit(share=0.0), [failure()]).exhausted() is not None


def test_scores_are_no_errors() -> None:
    assert allowance_after(ErrorLimit(num_errors=0), [SOLVED] * 100).exhausted() is None
