from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.records import EpisodeSpec, Usage
from pytest_babyai.reporting.forecast import (
    EpisodeForecast,
    PlannedGroup,
    forecast_episode,
    plan_detectable,
    plan_groups,
    wall_time_s,
)
from pytest_babyai.reporting.numbers import ASCII
from pytest_babyai.reporting.plan import RunPlan, plan_lines
from tests.unit.reporting.reporting_samples import result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_babyai.records import EpisodeResult

LIMITS = {"goto": 64, "open": 128}


def specs(
    variants: Iterable[str] = ("baseline", "history"),
    tasks: Iterable[str] = ("goto", "open"),
    seeds: Iterable[int] = range(200, 220),
    repeats: int = 1,
) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(variant, task, seed)
        for variant in variants
        for task in tasks
        for seed in seeds
        for _ in range(repeats)
    ]


def past(variant: str, task: str = "goto", seed: int = 200, **changes: Any) -> EpisodeResult:
    return result(EpisodeSpec(variant, task, seed), **changes)


def plan(
    planned: list[EpisodeSpec], results: list[EpisodeResult] | None = None, **changes: Any
) -> RunPlan:
    fields: dict[str, Any] = {
        "groups": plan_groups(planned, results or [], LIMITS),
        "seeds": sorted({spec.seed for spec in planned}),
        "repeats": 1,
        "concurrency": 50,
        "detectable": plan_detectable(planned, results or []),
    }
    return RunPlan(**fields | changes)


def text(run_plan: RunPlan, width: int = 100, **options: Any) -> str:
    return "\n".join(line.text for line in plan_lines(run_plan, width=width, **options))


def joined(run_plan: RunPlan) -> str:
    """The lines as one, for sentences that wrap."""
    return " ".join(text(run_plan).split())


def test_a_forecast_is_the_mean_of_the_past() -> None:
    results = [
        past("a", num_steps=10, usage=Usage(100, 20, 0.5), duration_s=4.0),
        past("a", num_steps=30, usage=Usage(200, 40, 1.0), duration_s=8.0),
    ]

    assert forecast_episode(results, 64) == EpisodeForecast(20, 180, 0.75, 6.0, num_past=2)


def test_without_a_past_an_episode_is_assumed_to_play_to_its_limit() -> None:
    assert forecast_episode([], 64) == EpisodeForecast(64, 64 * 1_450, None, 64.0, num_past=0)


def test_what_the_past_does_not_know_stays_unknown() -> None:
    found = forecast_episode([past("a", usage=Usage())], 64)

    assert (found.num_tokens, found.cost) == (None, None)


def test_groups_are_counted_with_their_repeats() -> None:
    groups = plan_groups(specs(repeats=3), [], LIMITS)

    assert [(group.variant, group.task, group.num_episodes) for group in groups] == [
        ("baseline", "goto", 60),
        ("baseline", "open", 60),
        ("history", "goto", 60),
        ("history", "open", 60),
    ]


def group(num_episodes: int, duration_s: float) -> PlannedGroup:
    return PlannedGroup("a", "goto", num_episodes, EpisodeForecast(1, 1, None, duration_s))


def test_the_wall_time_is_all_durations_shared_out() -> None:
    assert wall_time_s([group(100, 2.0), group(50, 4.0)], 10) == 40.0


def test_the_wall_time_is_no_less_than_the_longest_episode() -> None:
    assert wall_time_s([group(2, 60.0)], 50) == 60.0


def test_no_episodes_take_no_time() -> None:
    assert wall_time_s([], 50) == 0.0


def scattered(variants: Iterable[str] = ("baseline", "history")) -> list[EpisodeResult]:
    """Every variant solves other seeds."""
    return [
        past(variant, seed=seed, progression=float((seed + number) % 3 == 0))
        for number, variant in enumerate(variants)
        for seed in range(200, 212)
    ]


def test_the_detectable_difference_rests_on_how_past_seeds_scattered() -> None:
    planned = specs(tasks=["goto"])

    found = plan_detectable(planned, scattered())

    # Differences of -1, 0, 1 in equal parts: sd sqrt(8/11); noncentral t with 19 degrees: 2.954.
    # The prior on what pairs have in common, felt with 12 seeds of one task, takes some 8 % off.
    assert found.from_past
    assert found.success == pytest.approx(2.954 * math.sqrt(8 / 11 / 20), rel=0.1)
    assert found.progression == found.success


def test_more_seeds_detect_smaller_differences() -> None:
    few, many = (
        plan_detectable(specs(seeds=range(number)), scattered()).success for number in (10, 100)
    )

    assert few is not None
    assert many is not None
    assert many < few / 3


@pytest.mark.parametrize(
    "results",
    [[], scattered(["baseline"]), scattered()[:4], [past("baseline"), past("history")]],
    ids=["none", "one variant", "no common seed", "one seed"],
)
def test_without_a_past_of_two_variants_their_spread_is_assumed(
    results: list[EpisodeResult],
) -> None:
    found = plan_detectable(specs(), results)

    # Two tasks correlated by 0.2, pairs of variance 0.5: sd sqrt(0.3).
    assert not found.from_past
    assert found.success == pytest.approx(2.954 * math.sqrt(0.3 / 20), abs=2e-3)


def test_variants_that_never_differed_promise_nothing() -> None:
    results = [past(variant, seed=seed) for variant in "ab" for seed in range(20)]

    assert not plan_detectable(specs("ab"), results).from_past


def test_one_seed_detects_nothing() -> None:
    assert plan_detectable(specs(seeds=[200]), []).success is None


def test_repeats_are_not_taken_for_seeds() -> None:
    once, thrice = (plan_detectable(specs(repeats=number), []) for number in (1, 3))

    assert once == thrice


def test_the_plan_of_a_first_run_names_its_assumptions() -> None:
    found = joined(plan(specs()))

    assert "plan: 80 episodes · seeds: 200–219" in found  # noqa: RUF001
    assert "about 7,680 requests · 11.1M tokens · cost – · 2 min 34 s" in found  # noqa: RUF001
    assert "every episode plays to its step limit, 1,300 + 150 tokens and 1 s a request" in found
    assert "success 50%, variants unrelated, tasks of one seed correlated by 0.2" in found
    assert "past episodes" not in found


def test_the_plan_with_a_past_says_what_it_rests_on() -> None:
    results = [
        past(variant, task, seed, num_steps=10, usage=Usage(900, 100, 0.01), duration_s=5.0)
        for variant in ("baseline", "history")
        for task in ("goto", "open")
        for seed in range(200, 203)
    ]

    found = joined(plan(specs(), results))

    assert "about 800 requests · 80.0k tokens · cost $0.8000 · 8.0 s" in found
    assert "rest on 12 past episodes" in found
    assert "step limit" not in found


def test_a_row_shows_a_variant_and_task() -> None:
    results = [past("baseline", num_steps=10, usage=Usage(900, 100, 0.5), duration_s=5.0)]

    rows = [line.split() for line in text(plan(specs(), results)).splitlines()]

    assert ["baseline", "goto", "20", "200", "20.0k", "$10.00"] in rows
    assert ["history", "goto", "20", "1,280", "1.9M", "–"] in rows  # noqa: RUF001


def test_groups_without_a_past_are_named() -> None:
    found = joined(plan(specs(), [past("baseline", "goto")]))

    assert (
        "Assumed for baseline on open, history on goto, history on open, not played before: every"
        in found
    )


def test_many_groups_without_a_past_are_counted() -> None:
    found = joined(plan(specs("abc"), [past("a", "goto")]))

    assert "Assumed for a on open, b on goto, b on open, 2 more, not played before" in found


def test_unknown_prices_are_said_once() -> None:
    assert joined(plan(specs())).count("No price is known for baseline, history") == 1


def test_prices_that_are_known_are_not_called_unknown() -> None:
    results = [past(each, task, usage=Usage(1, 1, 0.1)) for each in "ab" for task in LIMITS]

    assert "No price" not in joined(plan(specs("ab"), results))


def test_repeats_and_reused_episodes_are_told() -> None:
    found = joined(plan(specs(repeats=3), repeats=3, num_reused=17))

    assert "plan: 240 episodes · 17 more taken over from the resumed run" in found
    assert "each played 3 times" in found


def test_a_plan_without_episodes_has_no_table() -> None:
    assert text(plan([])).splitlines()[0].startswith("plan: 0 episodes")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    lines = text(plan(specs(["history_and_reasoning", "baseline"])), width).splitlines()

    assert max(map(len, lines)) <= width


def test_the_packaged_variants_and_tasks_fit_a_usual_terminal_as_rows() -> None:
    planned = specs(["history_and_reasoning"], ["pick_up_seq_go_to"])
    groups = plan_groups(planned, [], {"pick_up_seq_go_to": 128})

    lines = text(plan([], groups=groups), 80).splitlines()

    assert any(line.startswith("history_and_reasoning  pick_up_seq_go_to") for line in lines)


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert text(plan(specs()), symbols=ASCII).isascii()
