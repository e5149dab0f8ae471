"""Variants stop when they are known well enough, whatever order their episodes end in."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.playing.stopping import Precision, PrecisionStop, VariantPrecision, seed_by_seed
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.statistics.sequential import confidence_sequence
from tests.unit.reporting.reporting_samples import failure, result, solved

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_babyai.records import EpisodeOutcome

TASKS = ("goto", "open")
WIDE = Precision(half_width=0.2)


def specs(
    num_seeds: int, variant: str = "history", tasks: Sequence[str] = TASKS
) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(variant, task, seed)
        for task, seed in itertools.product(tasks, range(200, 200 + num_seeds))
    ]


def played(planned: Iterable[EpisodeSpec]) -> list[EpisodeOutcome]:
    """Solves three of four seeds."""
    return [solved(spec) if spec.seed % 4 else result(spec) for spec in planned]


def stop_of(
    planned: Sequence[EpisodeSpec],
    outcomes: Iterable[EpisodeOutcome],
    precision: Precision = WIDE,
) -> PrecisionStop:
    stop = PrecisionStop(precision, planned)
    for outcome in outcomes:
        stop.record(outcome)
    return stop


def result_of(
    planned: Sequence[EpisodeSpec],
    outcomes: Iterable[EpisodeOutcome],
    precision: Precision = WIDE,
) -> VariantPrecision:
    (found,) = stop_of(planned, outcomes, precision).results()
    return found


def test_a_seed_counts_when_all_its_tasks_are_over() -> None:
    planned = specs(3)
    first = [spec for spec in planned if spec.seed == 200]

    assert result_of(planned, played(first[:1])).num_seeds == 0
    assert result_of(planned, played(first)).num_seeds == 1


def test_a_seed_counts_after_all_before_it() -> None:
    planned = specs(3)
    last, rest = ([s for s in planned if (s.seed == 202) is is_last] for is_last in (True, False))

    assert result_of(planned, played(last)).num_seeds == 0
    assert result_of(planned, played([*last, *rest])).num_seeds == 3


def test_repeats_of_a_seed_belong_to_it() -> None:
    planned = [EpisodeSpec("history", "goto", 200)] * 3

    assert result_of(planned, played(planned[:2])).num_seeds == 0
    assert result_of(planned, played(planned)).num_seeds == 1


def test_seeds_count_in_the_order_of_the_plan() -> None:
    planned = [EpisodeSpec("history", "goto", seed) for seed in (300, 200)]

    assert result_of(planned, played(planned[:1])).num_seeds == 1
    assert result_of(planned, played(planned[1:])).num_seeds == 0


def test_mean_and_interval_are_those_of_whole_seeds() -> None:
    planned = specs(8)

    found = result_of(planned, played(planned))

    means = [float(seed % 4 > 0) for seed in range(200, 208)]
    assert found.mean == 0.75
    assert found.interval == confidence_sequence(means, half_width=0.2, horizon=8)
    assert found.interval.half_width == (found.interval.high - found.interval.low) / 2


def test_it_stops_at_the_first_look_that_is_narrow_enough() -> None:
    planned = specs(100)

    found = result_of(planned, played(planned))

    assert found.is_reached
    assert found.interval.half_width <= 0.2
    before = played(s for s in planned if s.seed < 200 + found.num_seeds - 1)
    assert not result_of(planned, before).is_reached


@pytest.mark.parametrize("seed", range(5))
def test_whatever_order_episodes_end_in_it_comes_to_the_same(seed: int) -> None:
    planned = specs(100)
    outcomes = played(planned)
    random.Random(seed).shuffle(outcomes)

    assert result_of(planned, outcomes) == result_of(planned, played(planned))


def test_quick_successes_do_not_make_it_optimistic() -> None:
    planned = specs(60)
    quick_first = sorted(played(planned), key=lambda outcome: outcome.num_steps)
    precision = Precision(half_width=0.1)

    found = result_of(planned, quick_first[:80], precision)

    # All that is over was solved; but the first seed, which takes long, is not.
    assert (found.is_reached, found.num_seeds) == (False, 0)


def test_what_ends_after_the_stop_changes_nothing() -> None:
    planned = specs(100)
    stop = stop_of(planned, played(planned))
    (before,) = stop.results()

    stop.record(result(planned[-1]))

    assert stop.results() == (before,)


def test_a_variant_that_is_known_needs_no_more_and_others_do() -> None:
    planned = [*specs(40), *specs(40, "terse")]
    stop = stop_of(planned, played(specs(40)))

    assert stop.reason("history") == (
        f"success of history is known well enough after {stop.results()[0].num_seeds} of 40 seeds "
        "(--babyai-until)"
    )
    assert stop.reason("terse") is None
    assert stop.reason("unplanned") is None


def test_nothing_is_stopped_before_its_time() -> None:
    assert stop_of(specs(40), played(specs(3))).reason("history") is None


def test_a_seed_with_an_error_is_left_out() -> None:
    planned = specs(4)
    outcomes = played(planned)
    outcomes[1] = failure(planned[1])

    found = result_of(planned, outcomes)

    assert (found.num_seeds, found.num_left_out) == (3, 1)
    assert found.mean == pytest.approx(2 / 3)


def test_episodes_that_were_not_planned_are_ignored() -> None:
    planned = specs(2)
    stop = stop_of(planned, played(planned))
    before = stop.results()

    for spec in (EpisodeSpec("other", "goto", 200), EpisodeSpec("history", "goto", 999)):
        stop.record(solved(spec))

    assert stop.results() == before


def test_progression_counts_what_was_half_done() -> None:
    planned = specs(4)
    outcomes = [result(spec, progression=0.5) for spec in planned]

    assert result_of(planned, outcomes, Precision("progression")).mean == 0.5
    assert result_of(planned, outcomes, Precision("success")).mean == 0.0


@pytest.mark.parametrize(("num_seeds", "num_looks"), [(1, 1), (99, 99), (104, 102), (156, 127)])
def test_looks_become_rarer(num_seeds: int, num_looks: int) -> None:
    planned = specs(num_seeds, tasks=["goto"])

    assert result_of(planned, played(planned), Precision(half_width=0.01)).num_looks == num_looks


def test_a_line_tells_of_a_variant_that_stopped() -> None:
    planned = specs(100)
    found = result_of(planned, played(planned))

    low, high = 100 * found.interval.low, 100 * found.interval.high
    assert found.line() == (
        f"history: stopped after {found.num_seeds} of 100 seeds, "
        f"success {100 * (found.mean or 0):.1f} % ±{100 * found.interval.half_width:.1f} "
        f"[{low:.1f}, {high:.1f}] (95 % confidence sequence over {found.num_looks} looks)"
    )


def test_a_line_tells_what_a_variant_that_did_not_stop_would_take() -> None:
    planned = specs(12)

    found = result_of(planned, played(planned))

    assert found.line().startswith("history: not stopped after 12 of 12 seeds, success 75.0 % ±")
    assert found.line().endswith(f"; ±20.0 would take about {found.num_seeds_needed} seeds")
    assert found.num_seeds_needed is not None
    assert found.num_seeds_needed > 12


def test_the_number_it_would_take_is_more_than_was_played() -> None:
    planned = specs(40, tasks=["goto"])
    for num_seeds in (1, 4, 15, 21):
        found = result_of(planned, played(planned[:num_seeds]))
        assert found.is_reached or (found.num_seeds_needed or 0) > found.num_seeds


def test_a_line_tells_of_errors() -> None:
    planned = specs(4)
    outcomes = played(planned)
    outcomes[1] = failure(planned[1])

    assert (
        result_of(planned, outcomes)
        .line()
        .endswith("; 1 seed left out, as an episode there has no score")
    )


def test_a_line_tells_of_a_variant_without_a_whole_seed() -> None:
    planned = specs(4)
    outcomes = [failure(spec) for spec in planned]

    assert result_of(planned, outcomes).line() == (
        "history: not stopped, none of 4 seeds has all its scores; "
        "4 seeds left out, as an episode there has no score"
    )


def test_one_look_is_one_look() -> None:
    planned = specs(4)

    assert "over 1 look)" in result_of(planned, played(planned[::4])).line()


def test_a_line_can_do_without_the_sign() -> None:
    planned = specs(4)

    assert result_of(planned, played(planned)).line("+/-").isascii()


def test_progression_is_no_percentage() -> None:
    planned = specs(4)

    line = result_of(planned, played(planned), Precision("progression", 0.2)).line()

    assert "progression 0.750 ±0." in line


def test_there_is_a_line_for_every_planned_variant() -> None:
    planned = [*specs(4, "terse"), *specs(4)]

    lines = list(stop_of(planned, played(specs(4))).lines())

    assert [line.partition(":")[0] for line in lines] == ["terse", "history"]


def test_keys_go_seed_by_seed_the_longest_first() -> None:
    keys = [("goto", 201), ("goto", 200), ("open", 201), ("open", 200)]

    ordered = seed_by_seed(keys, lambda key: key[1], lambda key: 9.0 if key[0] == "open" else 1.0)

    assert ordered == [("open", 201), ("goto", 201), ("open", 200), ("goto", 200)]
