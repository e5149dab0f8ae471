"""The expert's steps for every task and seed, and the two references that need no model.

The expert is an exact search (A*, Hart, Nilsson and Raphael 1968) on the engine's own rules. It
sees the whole grid, and no agent can be faster: its number of steps is the shortest path of SPL.
minigrid's BabyAIBot is no bound: it takes more steps than needed, and explores what it cannot see.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.environment.actions import ACTIONS, NUM_DIRECTIONS
from pytest_babyai.environment.contract import MAX_NUM_DISTS, fingerprint, resolve_task
from pytest_babyai.environment.world import (
    CLOSED,
    LOCKED,
    Event,
    GoTo,
    OpenDoor,
    PickUp,
    PutNext,
    World,
    item,
)
from pytest_babyai.errors import SettingsError, UnknownTaskError, did_you_mean
from pytest_babyai.records import NO_USAGE, EpisodeResult, EpisodeSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_babyai.environment.world import Goal, Item, Layout

REFERENCES: Final = ("expert", "random")
"""What can be played without a model."""

_MAX_STATES: Final = 300_000
"""Beyond it a level counts as too large to search; packaged ones take some hundreds."""


def expert_plan(task: str, seed: int, num_dists: int = 0) -> tuple[str, ...] | None:
    """Returns the fewest actions that solve a level; None where it is too large to search.

    Raises:
        UnknownTaskError: There is no such task.
    """
    return _plan(resolve_task(task), seed, num_dists)


def steps_of_expert(task: str, seed: int, layout_fingerprint: str | None = None) -> int | None:
    """Returns the fewest steps that solve a level, None where they are not known.

    Args:
        task: Short or long name.
        seed: The level's seed.
        layout_fingerprint: Tells levels of one seed apart that differ in distractors; None takes
            the one without any.
    """
    try:
        name = resolve_task(task)
    except UnknownTaskError:
        return None
    num_dists = 0
    if layout_fingerprint is not None:
        found = _num_dists(name, seed, layout_fingerprint)
        if found is None:
            return None
        num_dists = found
    plan = _plan(name, seed, num_dists)
    return None if plan is None else len(plan)


@functools.lru_cache(maxsize=8192)
def play_reference(name: str, task: str, seed: int, num_dists: int = 0) -> EpisodeResult | None:
    """Plays an episode without a model.

    Args:
        name: ``expert``, or ``random``: six actions with equal chances, drawn by task and seed.
        task: Short or long name.
        seed: The level's seed.
        num_dists: Distractors in the level.

    Returns:
        The result, with the reference as its variant; None where the expert knows no plan.
    """
    task = resolve_task(task)
    layout = _layout(task, seed, num_dists)
    plan = _plan(task, seed, num_dists) if name == "expert" else None
    if name == "expert" and plan is None:
        return None
    chance = random.Random(f"{task}:{seed}:{num_dists}")  # noqa: S311 -- no secret
    actions = plan or (chance.choice(tuple(ACTIONS)) for _ in itertools.count())
    num_steps, solved = _played(layout, actions)
    gained = 1 - 0.9 * (num_steps / layout.max_steps) if solved else 0.0
    return EpisodeResult(
        spec=EpisodeSpec(name, task, seed),
        episode_id="",
        mission=layout.mission,
        max_steps=layout.max_steps,
        progression=float(solved),
        episode_return=gained,
        num_steps=num_steps,
        terminated=solved,
        truncated=num_steps >= layout.max_steps,
        usage=NO_USAGE,
        failed_candidates=(),
        num_fallbacks=0,
        num_retries=0,
        started_at_s=0.0,
        duration_s=0.0,
        layout_fingerprint=_fingerprint(layout),
    )


def check_references(names: Iterable[str]) -> None:
    """Refuses what is no reference.

    Raises:
        SettingsError: One of the names is none.
    """
    for name in names:
        if name not in REFERENCES:
            hint = did_you_mean(name, REFERENCES)
            raise SettingsError(f"--babyai-references: unknown reference {name!r}; {hint}")


def reference_results(
    names: Iterable[str], levels: Iterable[tuple[str, int, int]]
) -> tuple[EpisodeResult, ...]:
    """Plays references on the levels of a run; what the expert has no plan for is left out.

    Args:
        names: Of `REFERENCES`.
        levels: Task, seed and number of distractors of each.
    """
    wanted = sorted(set(levels))
    played = (play_reference(name, *level) for name in names for level in wanted)
    return tuple(result for result in played if result is not None)


@functools.lru_cache(maxsize=4096)
def _plan(task: str, seed: int, num_dists: int) -> tuple[str, ...] | None:
    return search(_layout(task, seed, num_dists))


def _layout(task: str, seed: int, num_dists: int) -> Layout:
    from pytest_babyai.environment import levels  # imports minigrid

    return levels.level(task, num_dists).generate(levels.random_generator(seed))


@functools.lru_cache(maxsize=4096)
def _num_dists(task: str, seed: int, layout_fingerprint: str) -> int | None:
    for number in range(MAX_NUM_DISTS + 1):
        if _fingerprint(_layout(task, seed, number)) == layout_fingerprint:
            return number
    return None


def _fingerprint(layout: Layout) -> str:
    return fingerprint(World(layout).snapshot(), layout.mission)


def _played(layout: Layout, actions: Iterable[str]) -> tuple[int, bool]:
    state = _start(layout)
    for number, action in enumerate(itertools.islice(actions, layout.max_steps), start=1):
        state = _after(layout, state, action)
        if not state.pending:
            return number, True
    return layout.max_steps, False


class _State(NamedTuple):
    """A world on the way to its goals; hashable, so that none is searched twice."""

    position: int
    direction: int
    carrying: Item | None
    items: frozenset[tuple[int, Item]]
    known: frozenset[tuple[int, Item]]
    """Where items stood at the start or at the last attempt to drop one; see `Goal.reached`."""
    pending: tuple[Goal, ...]


def search(layout: Layout) -> tuple[str, ...] | None:
    """Returns the fewest actions that fulfil a layout's mission, None if that takes too long."""
    start = _start(layout)
    order = itertools.count()
    came_from: dict[_State, tuple[_State, str] | None] = {start: None}
    costs = {start: 0}
    queue = [(_least(layout, start), 0, next(order), start)]
    while queue and len(costs) < _MAX_STATES:
        _, negative, _, state = heapq.heappop(queue)
        if not state.pending:
            return tuple(_actions_to(state, came_from))[::-1]
        if -negative > costs[state]:
            continue
        cost = costs[state] + 1
        for action in ACTIONS:
            reached = _after(layout, state, action)
            if cost < costs.get(reached, cost + 1):
                costs[reached], came_from[reached] = cost, (state, action)
                estimate = cost + _least(layout, reached)
                heapq.heappush(queue, (estimate, -cost, next(order), reached))
    return None


def _actions_to(
    state: _State, came_from: Mapping[_State, tuple[_State, str] | None]
) -> Iterator[str]:
    while (step := came_from[state]) is not None:
        state, action = step
        yield action


def _start(layout: Layout) -> _State:
    items = frozenset(layout.items.items())
    return _State(*layout.agent, None, items, items, layout.goals)


def _after(layout: Layout, state: _State, action: str) -> _State:
    world = World.__new__(World)
    world.layout, world.opaque = layout, 0
    world.position, world.direction, world.carrying = state[:3]
    world.items = dict(state.items)
    moved = ACTIONS[action](world)
    turned = action in {"turn left", "turn right", "go forward"}
    items = state.items if turned else frozenset(world.items.items())
    known = items if action == "drop" else state.known
    pending, places = state.pending, dict(known)
    event = Event(action, moved)
    while pending and pending[0].reached(world, event, places):
        pending = pending[1:]
    return _State(world.position, world.direction, world.carrying, items, known, pending)


def _least(layout: Layout, state: _State) -> int:
    """Returns a number of steps that is never more than what is still needed."""
    if not state.pending:
        return 0
    goal, *later = state.pending
    return _least_for(layout, state, goal) + sum(isinstance(each, PickUp) for each in later)


def _least_for(layout: Layout, state: _State, goal: Goal) -> int:
    if isinstance(goal, OpenDoor):
        return _to_open(layout, state)
    assert isinstance(goal, (GoTo, PickUp, PutNext))
    if state.carrying is goal.target:
        if isinstance(goal, PutNext):
            near = _nearest(layout, state.position, _cells(state.items, goal.neighbor))
            return max(0, near - 2) + 1
        return 0 if isinstance(goal, GoTo) else 2  # dropping it is going to it; drop and take again
    if isinstance(goal, GoTo):
        return _to_face(layout, state, _cells(state.known, goal.target))
    reach = _to_face(layout, state, _cells(state.items, goal.target)) + (state.carrying is not None)
    return reach + (1 if isinstance(goal, PickUp) else 2)


def _to_open(layout: Layout, state: _State) -> int:
    doors = [(cell, thing) for cell, thing in state.items if thing.kind == "door"]
    if not doors:
        return 1
    cell, door = doors[0]
    reach = _to_face(layout, state, [cell])
    if door.state != LOCKED:
        return reach + (1 if door.state == CLOSED else 2)
    key = item("key", door.color)
    if state.carrying is key:
        return reach + 1
    keys = _cells(state.items, key)
    hands = state.carrying is not None
    if not keys:
        return reach + 1
    return _to_face(layout, state, keys) + 1 + hands + 1


def _cells(items: frozenset[tuple[int, Item]], wanted: Item) -> list[int]:
    return [cell for cell, thing in items if thing is wanted]


def _nearest(layout: Layout, position: int, cells: list[int]) -> int:
    width = layout.width
    row, column = divmod(position, width)
    return min((abs(row - cell // width) + abs(column - cell % width) for cell in cells), default=0)


def _to_face(layout: Layout, state: _State, cells: list[int]) -> int:
    """Returns the fewest moves and turns that face one of the cells, were nothing in the way."""
    width = layout.width
    row, column = divmod(state.position, width)
    best: int | None = None
    for cell in cells:
        right, down = cell % width - column, cell // width - row
        ahead, aside = ((right, down), (down, -right), (-right, -down), (-down, right))[
            state.direction % NUM_DIRECTIONS
        ]
        turns = 2 if ahead < 0 else int(aside != 0)
        least = max(0, abs(right) + abs(down) - 1) + turns
        best = least if best is None else min(best, least)
    return best or 0
