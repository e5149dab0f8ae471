"""What a session compares is computed once for the episodes that there are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_babyai.errors import BaselineError
from pytest_babyai.plugin.comparing import Baseline
from pytest_babyai.plugin.reports import ATTRIBUTE
from pytest_babyai.plugin.session import EpisodeSession
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.settings.model import Settings
from tests.unit.reporting.reporting_samples import solved

if TYPE_CHECKING:
    from pytest_babyai.gate import RunSnapshot

SEEDS = range(200, 204)


def episode_session() -> EpisodeSession:
    """A session that has settings, and no episode yet."""
    session = EpisodeSession(cast("pytest.Config", SimpleNamespace()))
    selection = SimpleNamespace(
        settings=Settings(),
        model_label="fake",
        is_offline=False,
        variant_hashes={},
        baselines=Path(),
        variants=lambda settings: settings.variants or ("baseline", "history"),
    )
    session._selection = cast("Any", selection)
    return session


def play(session: EpisodeSession, variant: str, layout: str = "") -> None:
    """Lets a variant solve an episode on each seed."""
    for seed in SEEDS:
        fingerprint = layout or f"level-{seed}"
        outcome = solved(EpisodeSpec(variant, "goto", seed), layout_fingerprint=fingerprint)
        carried = {"record": outcome.to_record(), "threshold": 1.0, "replay": ""}
        report = SimpleNamespace(nodeid=f"t.py::t[{outcome.spec}]", **{ATTRIBUTE: carried})
        session.collect(cast("pytest.TestReport", report))


def blessed(layout: str = "") -> RunSnapshot:
    """The run of one variant, as a baseline keeps it."""
    session = episode_session()
    play(session, "baseline", layout)
    return session.results.compared.snapshot


def test_every_part_is_computed_once() -> None:
    session = episode_session()
    session.results.baseline = Baseline("baseline main", blessed())
    play(session, "baseline")
    play(session, "history")

    first, second = session.results.compared, session.results.compared

    assert first.snapshot is second.snapshot
    assert first.against_baseline is second.against_baseline is not None
    assert first.between_variants is second.between_variants is not None


def test_an_episode_that_comes_later_is_compared_as_well() -> None:
    session = episode_session()
    play(session, "baseline")
    before = session.results.compared

    play(session, "history")
    after = session.results.compared

    assert before.snapshot.scores.variants == ("baseline",)
    assert after.snapshot.scores.variants == ("baseline", "history")
    assert before.between_variants is None
    assert after.between_variants is not None


def test_variants_are_compared_even_if_the_baseline_played_other_levels() -> None:
    session = episode_session()
    session.results.baseline = Baseline("baseline main", blessed(layout="another"))
    play(session, "baseline")
    play(session, "history")
    compared = session.results.compared

    with pytest.raises(BaselineError, match="baseline main"):
        _ = compared.against_baseline
    assert [each.label for each in compared.possible] == ["variant baseline"]


def test_without_a_baseline_nothing_is_noted() -> None:
    session = episode_session()
    play(session, "baseline")

    compared = session.results.compared

    assert (compared.reference, compared.notes, compared.possible) == (None, (), ())
