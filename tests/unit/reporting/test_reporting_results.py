"""Aggregates: what is in the means, and what is told beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.records import EpisodeOutcome, EpisodeSpec, Usage
from pytest_babyai.statistics import Estimate
from tests.unit.reporting.reporting_samples import (
    SPEC,
    VARIANTS,
    failure,
    report_of,
    result,
    run_of,
    sample_run,
    solved,
)

if TYPE_CHECKING:
    from pytest_babyai.reporting.results import VariantSummary


def summary_of(*outcomes: EpisodeOutcome) -> VariantSummary:
    (summary,) = run_of(*outcomes).by_variant()
    return summary


def on_seed(seed: int) -> EpisodeSpec:
    return EpisodeSpec("baseline", "goto", seed)


def test_success_is_the_share_of_solved_episodes() -> None:
    assert summary_of(solved(), result(on_seed(201))).success == Estimate(0.5, 0.5, 2)


def test_partial_progression_is_no_success() -> None:
    assert summary_of(result(progression=0.99)).success.mean == 0.0


@pytest.mark.parametrize(
    ("name", "expected"),
    [("progression", 0.5), ("episode_return", 0.45), ("steps", 36.0)],
)
def test_means_over_episodes(name: str, expected: float) -> None:
    summary = summary_of(solved(), result(on_seed(201)))
    assert getattr(summary, name).mean == pytest.approx(expected)


@pytest.mark.parametrize(("name", "expected"), [("input_tokens", 3600), ("output_tokens", 360)])
def test_token_means(name: str, expected: float) -> None:
    assert getattr(summary_of(solved(), result(on_seed(201))), name).mean == expected


@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_token_means_are_undefined_where_any_is_unknown(name: str) -> None:
    summary = summary_of(solved(), result(on_seed(201), usage=Usage()))
    assert getattr(summary, name) == Estimate(None, None, 2)


def test_failures_are_in_no_mean() -> None:
    assert summary_of(solved(), failure(on_seed(201))).steps == Estimate(8.0, None, 1)


def test_failures_are_counted_by_kind() -> None:
    kinds = ["timeout", "rate limit", "timeout"]
    failures = [failure(on_seed(seed), kind=kind) for seed, kind in enumerate(kinds)]
    assert summary_of(*failures).num_errors_by_kind == {"timeout": 2, "rate limit": 1}


def test_a_variant_of_failures_has_no_mean() -> None:
    assert summary_of(failure()).success == Estimate(None, None, 0)


def test_success_if_errors_failed_counts_them_as_failures() -> None:
    summary = summary_of(solved(), failure(on_seed(201)))
    assert summary.success_if_errors_failed == 0.5


def test_fallbacks_are_counted() -> None:
    assert summary_of(result(num_fallbacks=3), solved(on_seed(201))).num_fallbacks == 3


def test_episodes_with_fallbacks_are_counted() -> None:
    assert summary_of(result(num_fallbacks=3), solved(on_seed(201))).num_fallback_episodes == 1


def test_invalid_answers_are_counted() -> None:
    summary = summary_of(result(failed_candidates=("fly", "fly")), solved(on_seed(201)))
    assert summary.num_invalid == 2


def test_cost_includes_failed_episodes() -> None:
    priced = Usage(1, 1, 0.25)
    assert summary_of(solved(usage=priced), failure(on_seed(201), usage=priced)).cost == 0.5


def test_cost_is_unknown_where_any_price_is() -> None:
    assert summary_of(solved(usage=Usage(1, 1, 0.25)), failure(on_seed(201))).cost is None


def test_variants_come_in_the_order_of_the_setup() -> None:
    outcomes = [solved(EpisodeSpec(variant, "goto", 200)) for variant in reversed(VARIANTS)]
    assert run_of(*outcomes).variants == VARIANTS


def test_variants_that_the_setup_lacks_follow() -> None:
    outcomes = [solved(EpisodeSpec(variant, "goto", 200)) for variant in ("zeta", "baseline")]
    assert run_of(*outcomes).variants == ("baseline", "zeta")


def test_variants_without_episodes_are_left_out() -> None:
    assert run_of(solved()).variants == ("baseline",)


def test_a_task_has_its_own_summaries() -> None:
    (summary, *_) = sample_run().by_variant("goto")
    assert (summary.task, summary.num_episodes) == ("goto", 3)


def test_a_variant_that_did_not_play_a_task_has_no_summary_of_it() -> None:
    outcomes = (solved(), solved(EpisodeSpec("history", "open", 200)))
    assert [summary.variant for summary in run_of(*outcomes).by_variant("open")] == ["history"]


def test_means_do_not_depend_on_the_order_of_completion() -> None:
    run = sample_run()
    turned = sample_run(episodes=run.episodes[::-1])
    assert turned.by_variant() == run.by_variant()


def test_seeds_are_those_played() -> None:
    assert run_of(solved(on_seed(7)), solved(on_seed(3))).seeds == (3, 7)


def test_a_step_and_a_retry_are_a_request_each() -> None:
    assert run_of(result(num_steps=10, num_retries=2)).num_requests == 12


def test_the_request_that_ended_an_episode_counts() -> None:
    assert run_of(failure(num_steps=3, num_retries=4)).num_requests == 8


def test_an_environment_that_fails_asked_nothing() -> None:
    outcome = failure(kind="environment", num_steps=3, num_retries=0)
    assert run_of(outcome).num_requests == 3


@pytest.mark.parametrize(("progression", "expected"), [(0.49, True), (0.5, False), (1.0, False)])
def test_below_threshold(progression: float, expected: bool) -> None:  # noqa: FBT001
    assert report_of(result(progression=progression), 0.5).below_threshold is expected


def test_a_failure_is_not_below_its_threshold() -> None:
    assert not report_of(failure()).below_threshold


def test_episodes_below_their_threshold_come_by_spec() -> None:
    run = run_of(result(on_seed(9)), solved(on_seed(5)), result(on_seed(2)))
    assert [report.spec.seed for report in run.below_threshold()] == [2, 9]


def test_a_report_knows_its_spec() -> None:
    assert report_of(solved()).spec == SPEC


def test_cached_answers_are_no_requests() -> None:
    assert run_of(result(num_steps=10, num_cached=4)).num_requests == 6
