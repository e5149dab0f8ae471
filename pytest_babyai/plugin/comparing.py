"""How the episodes so far compare: with a baseline, and variants with one another."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from pytest_babyai.environment import TASKS
from pytest_babyai.errors import BaselineError
from pytest_babyai.gate import Reference, check_comparable, compare, take_snapshot
from pytest_babyai.journal import installed_versions
from pytest_babyai.reporting.summary import compare_variants, margins

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_babyai.gate import Comparison, RunSnapshot
    from pytest_babyai.plugin.selection import Selection
    from pytest_babyai.reporting.results import RunReport


class Baseline(NamedTuple):
    """A run to compare with.

    Attributes:
        label: Names it in lines.
        snapshot: The run.
    """

    label: str
    snapshot: RunSnapshot


class RunComparisons:
    """What a session's episodes come to beside others, each part made once, when it is asked for.

    Args:
        report: The episodes. More of them are compared anew.
        selection: Settings of the session.
        baseline: Gives the baseline, None without one; may raise `BaselineError`.
    """

    def __init__(
        self, report: RunReport, selection: Selection, baseline: Callable[[], Baseline | None]
    ) -> None:
        self._report = report
        self._selection = selection
        self._baseline = baseline

    @functools.cached_property
    def snapshot(self) -> RunSnapshot:
        """The run as baselines keep it.

        Raises:
            BaselineError: A task and seed was played on several layouts.
        """
        selection = self._selection
        return take_snapshot(
            [episode.outcome for episode in self._report.episodes],
            model_label=selection.model_label,
            offline=selection.is_offline,
            settings=selection.settings.as_plain(),
            versions=installed_versions(),
            variant_hashes=selection.variant_hashes,
            variants=selection.variants(selection.settings),
            tasks=TASKS,
        )

    @property
    def reference(self) -> Reference | None:
        """The baseline, as what changes refer to; None without one.

        Raises:
            BaselineError: It cannot be read, or not be compared with.
        """
        return self._checked_baseline[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """How the baseline's run differs from this one without harm.

        Raises:
            BaselineError: As `reference`.
        """
        return self._checked_baseline[1]

    @functools.cached_property
    def against_baseline(self) -> Comparison | None:
        """Every variant beside its namesake in the baseline; None without a baseline.

        Raises:
            BaselineError: As `reference`.
        """
        if self.reference is None:
            return None
        margin = self._selection.settings.margin
        return compare(self.snapshot.scores, self.reference, margins=margins(margin))

    @functools.cached_property
    def between_variants(self) -> Comparison | None:
        """All variants beside the one of reference; None where there is only one."""
        settings = self._selection.settings
        return compare_variants(self._report, settings.reference, margin=settings.margin)

    @functools.cached_property
    def possible(self) -> tuple[Comparison, ...]:
        """Both comparisons, as far as there are any; an impossible one is left out."""
        try:
            found = [self.against_baseline, self.between_variants]
        except BaselineError:
            found = [self.between_variants]
        return tuple(comparison for comparison in found if comparison is not None)

    @functools.cached_property
    def _checked_baseline(self) -> tuple[Reference | None, tuple[str, ...]]:
        baseline = self._baseline()
        if baseline is None:
            return None, ()
        notes = check_comparable(self.snapshot, baseline.snapshot, label=baseline.label)
        return Reference(baseline.label, baseline.snapshot.scores), notes
