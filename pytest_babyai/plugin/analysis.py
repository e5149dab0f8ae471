"""Tests that analyse a run: they come after its last episode, and follow it through ``-k``.

An analysis of variants would be deselected by ``-k goto``, which its name does not match, though it
is wanted for these episodes as well. So such a test is kept where the expression selects it
together with one of the selected episodes: ``-k goto`` and ``-k "history and not pickup"`` keep it,
``-k "not test_floor"`` leaves out a test of that name.
"""

from __future__ import annotations

import functools
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
    config: pytest.Config, analyses: Sequence[pytest.Item], selected: Sequence[pytest.Item]
) -> list[pytest.Item]:
    """Returns the analyses to run: those selected, and those that follow selected episodes.

    Args:
        config: Of the session.
        analyses: All that were collected.
        selected: The items, episodes and analyses, that other plugins have left.
    """
    left = set(selected)
    missing = [item for item in analyses if item not in left]
    if not missing:
        return list(analyses)
    episodes = [item for item in selected if item.get_closest_marker("babyai") is not None]
    asked = _Asked(config)
    follow = {item for item in missing if _follows(asked, item, episodes)}
    return [item for item in analyses if item in left or item in follow]


def _follows(asked: _Asked, item: pytest.Item, episodes: Sequence[pytest.Item]) -> bool:
    if asked.select(item):
        return False  # something else took it out, such as --deselect
    return any(asked.select(item, episode) for episode in episodes)


class _Asked:
    """What ``-k`` and ``-m`` ask for."""

    def __init__(self, config: pytest.Config) -> None:
        keywords, marks = config.option.keyword.strip(), config.option.markexpr.strip()
        self._by_keyword = Expression.compile(keywords) if keywords else None
        self._by_mark = Expression.compile(marks) if marks else None
        # Thousands of episodes are asked about once for every analysis.
        self._names = functools.cache(KeywordMatcher.from_item)
        self._marks = functools.cache(_mark_matcher)

    def select(self, *items: pytest.Item) -> bool:
        """Whether they select an item that has the names and marks of all the given ones."""
        names, marks = self._by_keyword, self._by_mark
        return (
            names is None or names.evaluate(_Either([self._names(each) for each in items]))
        ) and (marks is None or marks.evaluate(_Either([self._marks(each) for each in items])))


def _mark_matcher(item: pytest.Item) -> MarkMatcher:
    return MarkMatcher.from_markers(item.iter_markers())


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
    selected = set(items)
    deselected[:] = [item for item in deselected if item not in selected]
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
