from __future__ import annotations

import functools
import json
from collections import Counter

import pytest

from pytest_babyai.offline.language import ACTIONS
from pytest_babyai.offline.policy import CARELESS, HASTE, INVENTED_ACTIONS, Policy
from pytest_babyai.offline.prompt import Message

COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
NEVER_SLIPS = Policy(slip_rate=0.0)
AT_ONCE = 'Answer in JSON: {"action": "turn left"}'
THINKING = 'Answer in JSON: {"thinking": "...", "action": "turn left"}'


def prompt(
    mission: str, *observations: str, actions: tuple[str, ...] = (), system: str = AT_ONCE
) -> list[Message]:
    steps = "".join(
        f"Observation:\n{observation}\nAction: {action}\n"
        for observation, action in zip(observations, actions, strict=False)
    )
    text = f"Mission: {mission}\n{steps}Observation:\n{observations[-1]}\n"
    return [Message("system", system), Message("user", text)]


def act(
    mission: str, *observations: str, actions: tuple[str, ...] = (), system: str = AT_ONCE
) -> str:
    answer = NEVER_SLIPS.answer(prompt(mission, *observations, actions=actions, system=system))
    return str(json.loads(answer)["action"])


SITUATIONS = {
    "walks to what is ahead": ("go to the red ball", "a red ball 3 steps forward", "go forward"),
    "turns to what is on its left": ("go to the red ball", "a red ball 2 steps left", "turn left"),
    "turns to what is on its right": (
        "go to the red ball",
        "a red ball 2 steps right",
        "turn right",
    ),
    "picks up what is in front": ("pick up the red ball", "a red ball 1 step forward", "pick up"),
    "picks up the first object of a sequence": (
        "go to the blue key after you pick up the red ball",
        "a red ball 1 step forward\na blue key 1 step left",
        "pick up",
    ),
    "goes on with the second object of a sequence": (
        "pick up the red ball, then go to the blue key",
        "You carry a red ball\na blue key 1 step left",
        "turn left",
    ),
    "picks up what has to be put": (
        "put the red ball next to the blue key",
        "a red ball 1 step forward\na blue key 3 steps left",
        "pick up",
    ),
    "drops beside, with the other object ahead": (
        "put the red ball next to the blue key",
        "You carry a red ball\na blue key 2 steps forward",
        "drop",
    ),
    "drops beside, with the other object at the side": (
        "put the red ball next to the blue key",
        "You carry a red ball\na blue key 1 step left and 1 step forward",
        "drop",
    ),
    "fetches the key of a locked door": (
        "open the green door",
        "a locked green door 1 step forward\na green key 1 step right",
        "turn right",
    ),
    "takes the key of a locked door": (
        "open the door",
        "a green key 1 step forward\na locked green door 2 steps left and 1 step forward",
        "pick up",
    ),
    "opens a locked door with its key": (
        "open the door",
        "You carry a green key\na locked green door 1 step forward",
        "toggle",
    ),
    "opens a closed door without a key": (
        "open the door",
        "a closed green door 1 step forward",
        "toggle",
    ),
    "goes on after what it has to face first": (
        "go to the red ball, then pick up the blue key",
        "a red ball 1 step forward\na blue key 1 step left",
        "turn left",
    ),
    "goes on after the door that has to be open first": (
        "open the green door, then go to the red ball",
        "a open green door 2 steps forward\na red ball 1 step right",
        "turn right",
    ),
    "puts down what is in the way of picking up": (
        "pick up the red ball",
        "You carry a blue key\na red ball 2 steps forward",
        "drop",
    ),
    "drops the wrong key": (
        "open the door",
        "You carry a blue key\na locked green door 3 steps forward",
        "drop",
    ),
}


@pytest.mark.parametrize("system", [AT_ONCE, THINKING], ids=["at_once", "thinking"])
@pytest.mark.parametrize(
    ("mission", "observation", "action"), SITUATIONS.values(), ids=list(SITUATIONS)
)
def test_what_is_in_view_is_acted_on(
    mission: str, observation: str, action: str, system: str
) -> None:
    assert act(mission, observation, system=system) == action


def test_a_blocked_cell_is_not_walked_into() -> None:
    blocked = "a grey box 1 step forward\na red ball 3 steps forward"
    assert act("go to the red ball", blocked) in ("turn left", "turn right")


def test_thinking_finds_the_way_around_on_the_open_side() -> None:
    blocked = "a wall 1 step left\na grey box 1 step forward\na red ball 3 steps forward"
    assert act("go to the red ball", blocked, system=THINKING) == "turn right"


def test_thinking_keeps_to_the_way_around_that_the_history_shows() -> None:
    blocked = "a wall 1 step left\na grey box 1 step forward\na red ball 4 steps forward"
    beside = "a wall 4 steps forward\na grey box 1 step left"
    action = act("go to the red ball", blocked, beside, actions=("turn right",), system=THINKING)
    assert action == "go forward"


def test_history_brings_back_what_went_out_of_view() -> None:
    seen = "a wall 5 steps forward\na red ball 2 steps left"
    assert act("go to the red ball", seen, "a wall 4 steps forward", actions=("turn right",)) in (
        "turn left",
        "turn right",
    )


def test_history_keeps_from_repeating_what_changed_nothing() -> None:
    wall = "a wall 2 steps forward"
    tried = ("turn left", "turn left", "turn left")
    assert act("go to the red ball", wall, wall, wall, wall, actions=tried) == "go forward"


def test_thinking_with_history_looks_where_it_has_not_looked() -> None:
    # From a corner of a room of 6 by 6 cells, it has looked along both walls.
    first = "a wall 6 steps forward\na wall 1 step left"
    second = "a wall 6 steps forward\na wall 1 step right"
    text = NEVER_SLIPS.answer(
        prompt("go to the red ball", first, second, actions=("turn right",), system=THINKING)
    )
    assert "There are 4 cells I could look at" in json.loads(text)["thinking"]


def test_thinking_looks_around_where_there_is_no_way_to_the_target() -> None:
    walled_in = "a wall 1 step right\na wall 1 step left\na grey box 1 step forward"
    action = act("go to the red ball", f"{walled_in}\na red ball 3 steps forward", system=THINKING)
    assert action in ("turn left", "turn right")


def test_thinking_tells_that_it_puts_something_down() -> None:
    messages = prompt(
        "pick up the red ball", "You carry a blue key\na wall 3 steps forward", system=THINKING
    )
    thinking = json.loads(NEVER_SLIPS.answer(messages))["thinking"]
    assert thinking.startswith("I hold the wrong object and have to put it down first.")


def test_it_turns_to_a_free_cell_to_put_something_down() -> None:
    held = "You carry a blue key\na wall 1 step forward"
    assert act("pick up the red ball", held) in ("turn left", "turn right")


def test_it_thinks_where_the_prompt_asks_for_it() -> None:
    text = NEVER_SLIPS.answer(
        prompt("go to the red ball", "a red ball 3 steps forward", system=THINKING)
    )
    assert json.loads(text) == {
        "thinking": "I have to get to the red ball. I see it 3 steps forward. "
        "The way is: go forward 2 times.",
        "action": "go forward",
    }


def test_it_does_not_think_where_it_is_not_asked_to() -> None:
    text = NEVER_SLIPS.answer(prompt("go to the red ball", "a red ball 3 steps forward"))
    assert json.loads(text) == {"action": "go forward"}


def test_without_json_it_answers_in_plain_text() -> None:
    messages = [Message("user", "Mission: pick up the red ball\na red ball 1 step forward")]
    assert NEVER_SLIPS.answer(messages) == "pick up"


def test_json_may_be_asked_for_by_the_request() -> None:
    messages = [Message("user", "Mission: pick up the red ball\na red ball 1 step forward")]
    assert json.loads(NEVER_SLIPS.answer(messages, as_json=True)) == {"action": "pick up"}


def test_the_same_prompt_gets_the_same_answer() -> None:
    messages = prompt("go to the red ball", "a wall 4 steps forward")
    assert Policy().answer(messages) == Policy().answer(list(messages))


def test_a_seed_changes_what_is_left_to_chance() -> None:
    messages = prompt("go to the red ball", "a wall 4 steps forward")
    assert len({NEVER_SLIPS.answer(messages, seed=seed) for seed in range(30)}) == 3


@pytest.mark.parametrize(
    "text", ["", "Hello!", "Mission: write a poem\nObservation: the sea", "Observation:"]
)
@pytest.mark.parametrize("system", [AT_ONCE, THINKING])
def test_an_unknown_prompt_is_answered_with_a_legal_action(text: str, system: str) -> None:
    answer = NEVER_SLIPS.answer([Message("system", system), Message("user", text)])
    assert json.loads(answer)["action"] in ACTIONS


def _situations() -> list[tuple[str, str]]:
    """Some 3,500 that differ; near targets, as far ones take long to plan for."""
    objects = [f"{colour} {kind}" for colour in COLOURS for kind in ("ball", "box", "key")]
    return [
        (f"go to the {target}", f"a {target} {right} steps right and {forward} steps forward")
        for right in range(1, 15)
        for forward in range(1, 15)
        for target in objects
    ]


@functools.cache
def _right_answers(system: str) -> list[tuple[list[Message], str]]:
    prompts = [prompt(*situation, system=system) for situation in _situations()]
    return [(messages, NEVER_SLIPS.answer(messages)) for messages in prompts]


def _share_of_slips(policy: Policy, system: str) -> float:
    answers = _right_answers(system)
    return sum(policy.answer(messages) != right for messages, right in answers) / len(answers)


def test_slips_are_as_frequent_as_their_rate() -> None:
    assert _share_of_slips(Policy(slip_rate=0.05), THINKING) == pytest.approx(0.05, rel=0.25)


def test_answers_at_once_slip_more_often() -> None:
    share = _share_of_slips(Policy(slip_rate=0.05), AT_ONCE)
    assert share == pytest.approx(0.05 * HASTE, rel=0.25)


def test_the_human_like_model_slips_in_one_situation_of_ten() -> None:
    assert _share_of_slips(CARELESS, THINKING) == pytest.approx(0.1, rel=0.2)
    assert _share_of_slips(CARELESS, AT_ONCE) == pytest.approx(0.15, rel=0.2)


def test_the_same_situation_brings_the_same_slip() -> None:
    policy = Policy(slip_rate=1.0)
    view = "a red ball 3 steps forward"
    first = policy.answer(prompt("go to the red ball", view))
    later = policy.answer(prompt("go to the red ball", view, view, actions=("toggle",)))
    assert first == later != NEVER_SLIPS.answer(prompt("go to the red ball", view))


def test_slips_are_wrong_moves_unknown_actions_and_broken_json() -> None:
    policy = Policy(slip_rate=1.0)
    kinds: Counter[str] = Counter()
    for situation in _situations()[:1000]:
        text = policy.answer(prompt(*situation))
        if not text.endswith("}"):
            kinds["broken"] += 1
        else:
            unknown = json.loads(text)["action"] in INVENTED_ACTIONS
            kinds["unknown" if unknown else "wrong"] += 1
    assert kinds["wrong"] > kinds["unknown"] > kinds["broken"] > 0
