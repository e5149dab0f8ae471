"""The chain of thought behind a plan, in words."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from pytest_babyai.offline.grammar import DROP, PICK_UP, TOGGLE
from pytest_babyai.offline.world import offset_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.offline.goals import Goal
    from pytest_babyai.offline.planning import Plan
    from pytest_babyai.offline.prompt import Prompt
    from pytest_babyai.offline.world import Cell, World


def think_aloud(
    prompt: Prompt, world: World, goal: Goal | None, targets: Sequence[Cell], plan: Plan
) -> str:
    """Tells what comes next, where it is, and which actions lead there."""
    sentences = [_purpose(goal), _place(prompt, world, goal, targets), _steps(targets, goal, plan)]
    return " ".join(sentence for sentence in sentences if sentence)


def _purpose(goal: Goal | None) -> str:
    if goal is None:
        return "I do not understand the mission, so I look around."
    if goal.target is None:
        return "I hold the wrong object and have to put it down first."
    if goal.action == DROP:
        return f"I have to drop what I carry next to the {goal.target}."
    purpose = {PICK_UP: " and pick it up", TOGGLE: " and open it"}.get(goal.action or "", "")
    return f"I have to get to the {goal.target}{purpose}."


def _place(prompt: Prompt, world: World, goal: Goal | None, targets: Sequence[Cell]) -> str:
    if goal is None or goal.target is None or prompt.view is None:
        return ""
    if not targets:
        return "I have not seen it yet." if prompt.history else "I do not see it."
    offset = offset_of(targets[0], world.pose)
    sees = any(cell == offset and thing.fits(goal.target) for cell, thing in prompt.view.things)
    return f"I {'see' if sees else 'remember'} it {_offset_in_words(offset)}."


def _offset_in_words(offset: Cell) -> str:
    right, forward = offset
    parts = []
    if right:
        parts.append(f"{_count(abs(right), 'step')} {'right' if right > 0 else 'left'}")
    if forward:
        parts.append(f"{_count(abs(forward), 'step')} {'forward' if forward > 0 else 'behind me'}")
    return " and ".join(parts)


def _steps(targets: Sequence[Cell], goal: Goal | None, plan: Plan) -> str:
    words = ", then ".join(
        f"{action} {count} times" if (count := len(list(group))) > 1 else action
        for action, group in groupby(plan.actions)
    )
    if plan.finds:
        return f"There are {_count(plan.finds, 'cell')} I could look at: {words}."
    if targets or (goal and goal.target is None):
        return f"The way is: {words}."
    return f"I try another direction: {words}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
