"""The offline model: plays BabyAI-Text from the text of a prompt.

It knows the rules of the world, yet of an episode only what the prompt says. So a prompt that
leaves something out costs success, in the way it does with a language model:

* Without a history it cannot know where it looked before. When the target is out of view it picks
  a direction by how the prompt happens to read, and runs into loops.
* With a history it knows by dead reckoning where it is and what it saw, and avoids moves that led
  nowhere.
* Asked to think, it works out a route around obstacles and, with a history, where it has not
  looked yet. Asked to answer at once, it heads straight for what it sees, and slips more often.

Slips are systematic: a model that misjudges a situation misjudges it again. The same mission and
observation bring the same slip, whatever else the prompt says. Everything is a function of the
prompt and the seeds, so that the same prompt gets the same answer.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pytest_babyai.offline.language import DROP, GO_FORWARD, PICK_UP, TOGGLE, TURN_LEFT, TURN_RIGHT
from pytest_babyai.offline.planning import (
    Goal,
    Plan,
    explore,
    glance,
    is_there,
    next_goal,
    work_out,
)
from pytest_babyai.offline.prompt import Message, Prompt, digest_of, read_prompt
from pytest_babyai.offline.world import World, ahead_of, offset_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_babyai.offline.language import Mission, View
    from pytest_babyai.offline.world import Cell


T = TypeVar("T")

_MASK = (1 << 64) - 1


class Chance:
    """A short stream of pseudo-random numbers (SplitMix64: Steele, Lea, Flood 2014).

    Python's own generator takes several times as long to be seeded as a whole answer takes.
    """

    def __init__(self, digest: int, seed: int = 0) -> None:
        self._state = (digest ^ (seed * 0xD1342543DE82EF95)) & _MASK

    def uniform(self) -> float:
        """Returns the next number from 0 up to but without 1."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((mixed ^ (mixed >> 31)) >> 11) / (1 << 53)

    def choose(self, choices: Sequence[T]) -> T:
        """Returns one of the choices, each as likely as any other."""
        return choices[int(self.uniform() * len(choices))]


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


DEFAULT_SLIP_RATE = 0.025
"""Share of the situations that are misjudged after thinking."""
HASTE = 4
"""How many times as many are misjudged by an answer given at once."""
CARELESS_SLIP_RATE = 0.1
"""Share of the situations that the careless model misjudges after thinking."""
CARELESS_HASTE = 1.5
"""How many times as many it misjudges at once: it is careless in either case."""
WRONG_MOVE_SHARE = 0.8
"""Share of the slips that are legal yet wrong moves."""
UNKNOWN_ACTION_SHARE = 0.12
"""Share of the slips that name no known action; the rest break the answer's format."""

INVENTED_ACTIONS = ("move forward", "turn around", "look around", "pickup", "open the door", "stop")
_OPPOSITES = {TURN_LEFT: TURN_RIGHT, TURN_RIGHT: TURN_LEFT}


class Reply(NamedTuple):
    """An answer, and what the prompt lacked.

    Attributes:
        text: The answer.
        has_mission: Whether a mission was found in the prompt.
        has_view: Whether a current observation was found in it.
    """

    text: str
    has_mission: bool = True
    has_view: bool = True


class Decision(NamedTuple):
    """An action and the reasoning that led to it, empty where none was asked for."""

    action: str
    thinking: str = ""


@dataclass(frozen=True)
class Policy:
    """Answers prompts.

    Attributes:
        slip_rate: Share of the situations that are misjudged after thinking, from 0 to 1.
        seed: Changes every pseudo-random choice.
        haste: How many times as often an answer slips that is given at once.
    """

    slip_rate: float = DEFAULT_SLIP_RATE
    seed: int = 0
    haste: float = HASTE

    def answer(self, messages: Sequence[Message], *, seed: int = 0, as_json: bool = False) -> str:
        """Returns the answer to a prompt, as text.

        Args:
            messages: The prompt.
            seed: Changes the pseudo-random choices of this answer.
            as_json: Answer in JSON even if the prompt does not speak of it.
        """
        return self.reply(messages, seed=seed, as_json=as_json).text

    def reply(self, messages: Sequence[Message], *, seed: int = 0, as_json: bool = False) -> Reply:
        """Returns the answer to a prompt, as `answer`, and what the prompt lacked."""
        return _answer(tuple(messages), self, seed, as_json)


CARELESS = Policy(slip_rate=CARELESS_SLIP_RATE, haste=CARELESS_HASTE)
"""A teacher to learn from: it knows the same and slips more."""


# An agent without memory that runs into a loop sends the same prompt again and again.
@functools.lru_cache(maxsize=1024)
def _answer(messages: tuple[Message, ...], policy: Policy, seed: int, as_json: bool) -> Reply:  # noqa: FBT001
    prompt, seed = read_prompt(messages), policy.seed + seed
    decision = decide(prompt, Chance(prompt.digest, seed))
    as_json = as_json or prompt.wants_json
    chance = Chance(_situation(prompt.mission, prompt.view), seed)
    if chance.uniform() < policy.slip_rate * (1 if prompt.wants_thinking else policy.haste):
        text = _slip(decision, chance, as_json=as_json)
    else:
        text = _write(decision, as_json=as_json)
    return Reply(text, bool(prompt.mission), prompt.view is not None)


def decide(prompt: Prompt, chance: Chance) -> Decision:
    """Chooses the next action, without any slip."""
    if prompt.view is None:
        thinking = "I find no observation, so I just go on." if prompt.wants_thinking else ""
        return Decision(GO_FORWARD, thinking)
    world = World.recollect(prompt.history, prompt.view)
    goal = next_goal(prompt.mission, world)
    if prompt.wants_thinking:
        return _reason(prompt, world, goal, chance)
    return Decision(_react(prompt, world, goal, chance))


def _reason(prompt: Prompt, world: World, goal: Goal | None, chance: Chance) -> Decision:
    targets = world.cells_of(goal.target) if goal and goal.target else []
    plan = None
    if goal and (targets or goal.target is None):
        plan = work_out(goal, world, targets)
    if plan is None and prompt.history:
        plan = explore(world)
    if plan is None:
        plan = Plan((_wander(prompt, world, chance),))
    return Decision(plan.actions[0], think_aloud(prompt, world, goal, targets, plan))


def _react(prompt: Prompt, world: World, goal: Goal | None, chance: Chance) -> str:
    action = None
    if goal and goal.target is None and is_there(goal, world, world.pose, ()):
        action = goal.action
    elif goal and goal.target and (targets := world.cells_of(goal.target)):
        action = glance(goal, world, targets[0])
    return action or _wander(prompt, world, chance)


def _wander(prompt: Prompt, world: World, chance: Chance) -> str:
    """Picks a move by chance, none that was tried here before or that undoes the last one."""
    moves = [TURN_LEFT, TURN_RIGHT]
    if world.is_free(ahead_of(world.pose)):
        moves.append(GO_FORWARD)
    tried = {action for view, action in prompt.history if view == prompt.view}
    if prompt.history:
        tried.add(_OPPOSITES.get(prompt.history[-1][1], ""))
    return chance.choose([move for move in moves if move not in tried] or moves)


@functools.lru_cache(maxsize=8192)
def _situation(mission: Mission, view: View | None) -> int:
    return digest_of(repr((mission, view)))


def _slip(decision: Decision, chance: Chance, *, as_json: bool) -> str:
    kind = chance.uniform()
    if kind < WRONG_MOVE_SHARE:
        wrong = _OPPOSITES.get(decision.action) or chance.choose((TURN_LEFT, TURN_RIGHT))
        return _write(decision._replace(action=wrong), as_json=as_json)
    if kind < WRONG_MOVE_SHARE + UNKNOWN_ACTION_SHARE:
        unknown = chance.choose(INVENTED_ACTIONS)
        return _write(decision._replace(action=unknown), as_json=as_json)
    text = _write(decision, as_json=as_json)
    return text[: len(text) * 2 // 3]


def _write(decision: Decision, *, as_json: bool) -> str:
    if as_json:
        keyed = {"thinking": decision.thinking} if decision.thinking else {}
        return json.dumps({**keyed, "action": decision.action})
    return f"{decision.thinking}\n{decision.action}" if decision.thinking else decision.action
