"""Tests that analyse a run: they come after its last episode, and follow it through ``-k``.

An analysis of variants would be deselected by ``-k goto``, which its name does not match, though it
is wanted for these episodes as well. So such a test is kept where the expression selects it
together with one of the selected episodes: ``-k goto`` and ``-k "history and not pickup"`` keep it,
``-k "not test_floor"`` leaves out a test of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from _pytest.mark import KeywordMatcher, MarkMatcher
from _pytest.mark.expression import Expression

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from pytest_babyai.plugin.session import EpisodeSession

MARK = "babyai_analysis"
NOT_MARKED = f"babyai_results needs a test with @pytest.mark.{MARK}"


def is_analysis(item: pytest.Item) -> bool:
    """Whether an item waits for the last episode."""
    return item.get_closest_marker(MARK) is not None


def kept_analyses(
    config: pytest.Config, before: Iterable[pytest.Item], after: Sequence[pytest.Item]
) -> list[pytest.Item]:
    """Returns the analyses to run: those selected, and those that follow selected episodes.

    Args:
        config: Of the session.
        before: All items that were collected.
        after: What other plugins have left of them.
    """
    left = set(after)
    episodes = [item for item in after if item.get_closest_marker("babyai") is not None]
    return [
        item
        for item in before
        if is_analysis(item) and (item in left or _follows(config, item, episodes))
    ]


def _follows(config: pytest.Config, item: pytest.Item, episodes: Sequence[pytest.Item]) -> bool:
    keywords, marks = config.option.keyword.strip(), config.option.markexpr.strip()
    by_keyword = Expression.compile(keywords) if keywords else None
    by_mark = Expression.compile(marks) if marks else None
    if _selected(by_keyword, by_mark, [item]):
        return False  # something else took it out, such as --deselect
    return any(_selected(by_keyword, by_mark, [item, episode]) for episode in episodes)


def _selected(
    by_keyword: Expression | None, by_mark: Expression | None, items: Sequence[pytest.Item]
) -> bool:
    names = _Either([KeywordMatcher.from_item(item) for item in items])
    marks = _Either([MarkMatcher.from_markers(item.iter_markers()) for item in items])
    return (by_keyword is None or by_keyword.evaluate(names)) and (
        by_mark is None or by_mark.evaluate(marks)
    )


class _Either:
    """Matches what one of several matchers does."""

    def __init__(self, matchers: Sequence[Any]) -> None:
        self._matchers = matchers

    def __call__(self, name: str, /, **arguments: str | int | bool | None) -> bool:
        return any(matcher(name, **arguments) for matcher in self._matchers)


def count_as_selected(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Takes items out of those that the terminal counts as deselected."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    deselected = reporter.stats.get("deselected", []) if reporter else []
    deselected[:] = [item for item in deselected if item not in set(items)]
    if reporter and not deselected:
        reporter.stats.pop("deselected", None)


def results_frame(session: EpisodeSession, item: pytest.Item) -> pd.DataFrame:
    """Returns the episodes of a session as a frame; the fixture's work."""
    if not is_analysis(item):
        pytest.fail(NOT_MARKED, pytrace=False)
    if not session.episodes:
        pytest.skip("no episode was played; select the tests that play them as well")
    from pytest_babyai.reporting.tables_export import episodes_frame

    run_id = session.journal.log.run_id if session.journal else None
    return episodes_frame(session.results.report(), run_id=run_id)
