"""The run loop: runs whichever item's episode has finished next, so that results appear at once."""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING

from pytest_babyai.plugin.routing import routed_output
from pytest_babyai.plugin.selection import PARAMETERS, REPEAT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_babyai.plugin.selection import ItemPlan, PlannedEpisode
    from pytest_babyai.scheduler import Scheduler

POLL_S = 0.1
_OF_EPISODES = frozenset({*PARAMETERS, REPEAT})


def run_items(
    session: pytest.Session,
    plans: Mapping[pytest.Item, ItemPlan],
    scheduler: Scheduler[PlannedEpisode],
    while_waiting: Callable[[], None],
) -> None:
    """Runs a session's items, episodes of one block in the order of their ends.

    Args:
        session: The session after collection.
        plans: The items that have an episode.
        scheduler: Where these episodes have been submitted.
        while_waiting: Called between items, at least every 0.1 s.

    Raises:
        pytest.Session.Failed: As pytest's own loop, by ``-x`` or ``--maxfail``.
        pytest.Session.Interrupted: As pytest's own loop.
    """
    blocks = [list(block) for _, block in itertools.groupby(session.items, _block_key(plans))]
    for block, following in itertools.zip_longest(blocks, blocks[1:]):
        after = following[0] if following else None
        order: Iterable[pytest.Item] = block
        if block[0] in plans:
            order = _by_completion(block, plans, scheduler, while_waiting)
        run_block(session, block, order, after)


def _block_key(plans: Mapping[pytest.Item, ItemPlan]) -> Callable[[pytest.Item], Hashable]:
    # Items may change places only where no fixture of a wider scope notices.
    def key(item: pytest.Item) -> Hashable:
        if item not in plans:
            return id(item)
        indices = getattr(item, "callspec").indices  # noqa: B009 - only functions have one
        others = (pair for pair in indices.items() if pair[0] not in _OF_EPISODES)
        return id(item.parent), tuple(others)

    return key


def _by_completion(
    block: Sequence[pytest.Item],
    plans: Mapping[pytest.Item, ItemPlan],
    scheduler: Scheduler[PlannedEpisode],
    while_waiting: Callable[[], None],
) -> Iterator[pytest.Item]:
    waiting: dict[PlannedEpisode, list[pytest.Item]] = {}
    for item in block:
        waiting.setdefault(plans[item].episode, []).append(item)
    # What has not been submitted starts when its item asks for it: nothing to wait for.
    ready = deque(episode for episode in waiting if not scheduler.is_pending(episode))
    while waiting:
        while_waiting()
        with routed_output():
            episode = ready.popleft() if ready else scheduler.next_finished(POLL_S)
        if episode is not None:
            yield from waiting.pop(episode, ())


def run_block(
    session: pytest.Session,
    block: Sequence[pytest.Item],
    order: Iterable[pytest.Item],
    after: pytest.Item | None = None,
) -> None:
    """Runs items that may change places.

    Args:
        session: The session.
        block: The items.
        order: Gives each of them when its turn comes.
        after: The item that follows the block, None at the end of the session.

    Raises:
        pytest.Session.Failed: As pytest's own loop, by ``-x`` or ``--maxfail``.
        pytest.Session.Interrupted: As pytest's own loop.
    """
    remaining = dict.fromkeys(block)
    for item in order:
        del remaining[item]
        # Any other item of the block stands for the next one: they share every wider fixture.
        nextitem = next(iter(remaining), after)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
