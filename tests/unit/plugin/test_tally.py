"""What a session compares is computed once for the episodes that there are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_babyai.errors import BaselineError
from pytest_babyai.playing.run_spec import RunSpec
from pytest_babyai.plugin.tally import Baseline, Tally
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.reporting.results import EpisodeReport
from pytest_babyai.settings.model import Settings
from tests.unit.reporting.reporting_samples import solved

if TYPE_CHECKING:
    from pytest_babyai.gate import RunSnapshot
    from pytest_babyai.gateway.configuration import GatewayConfiguration

SEEDS = range(200, 204)


def empty_tally() -> Tally:
    """A tally of a run that has settings, and no episode yet."""
    configuration = SimpleNamespace(
        variants=("baseline", "history"),
        model_label=lambda _: "fake",
        is_offline=lambda _: False,
    )
    run = RunSpec(
        settings=Settings(),
        configuration=cast("GatewayConfiguration", configuration),
        played=("baseline", "history"),
        variant_hashes={},
        root=Path(),
        nodeids={},
    )
    return Tally(run)


def play(tally: Tally, variant: str, layout: str = "") -> None:
    """Lets a variant solve an episode on each seed."""
    for seed in SEEDS:
        fingerprint = layout or f"level-{seed}"
        outcome = solved(EpisodeSpec(variant, "goto", seed), layout_fingerprint=fingerprint)
        nodeid = f"t.py::t[{outcome.spec}]"
        tally.add(str(outcome.spec), EpisodeReport(nodeid, outcome, 1.0, ""))


def blessed(layout: str = "") -> RunSnapshot:
    """The run of one variant, as a baseline keeps it."""
    tally = empty_tally()
    play(tally, "baseline", layout)
    return tally.compared.snapshot


def test_every_part_is_computed_once() -> None:
    tally = empty_tally()
    tally.baseline = Baseline("baseline main", blessed())
    play(tally, "baseline")
    play(tally, "history")

    first, second = tally.compared, tally.compared

    assert first.snapshot is second.snapshot
    assert first.against_baseline is second.against_baseline is not None
    assert first.between_variants is second.between_variants is not None


def test_an_episode_that_comes_later_is_compared_as_well() -> None:
    tally = empty_tally()
    play(tally, "baseline")
    before = tally.compared

    play(tally, "history")
    after = tally.compared

    assert before.snapshot.scores.variants == ("baseline",)
    assert after.snapshot.scores.variants == ("baseline", "history")
    assert before.between_variants is None
    assert after.between_variants is not None


def test_variants_are_compared_even_if_the_baseline_played_other_levels() -> None:
    tally = empty_tally()
    tally.baseline = Baseline("baseline main", blessed(layout="another"))
    play(tally, "baseline")
    play(tally, "history")
    compared = tally.compared

    with pytest.raises(BaselineError, match="baseline main"):
        _ = compared.against_baseline
    assert [each.label for each in compared.possible] == ["variant baseline"]


def test_without_a_baseline_nothing_is_noted() -> None:
    tally = empty_tally()
    play(tally, "baseline")

    compared = tally.compared

    assert (compared.reference, compared.notes, compared.possible) == (None, (), ())
