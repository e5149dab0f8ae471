"""Why an episode fails: pure functions on its trajectory.

Everything is read from the texts that the model saw and from what it did, so that it works for any
environment that writes BALROG's texts. What an episode is diagnosed with is no exclusive class: one
may wander in a loop and answer invalidly.
"""

from __future__ import annotations

import collections
import functools
import itertools
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_babyai.records import AnswerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_babyai.records import EpisodeResult, Step

DEFINITIONS: Final[Mapping[str, str]] = {
    "loop": (
        "What was seen and carried came a third time, with nothing picked up, dropped or opened "
        "since the first."
    ),
    "blocked move": "A 'go forward' moved nothing: what was seen stayed the same.",
    "wrong object": "Something was picked up or opened that the mission does not need.",
    "target never in view": "An object that the mission names was in no observation.",
    "target never reached": "An object that the mission names was seen, but never right in front.",
    "dropped in a wrong place": "The object to be put next to another was dropped elsewhere.",
    "invalid answer": "An answer named no known action or did not parse.",
    "cut off": "An answer ended at the limit of its tokens.",
    "out of steps near the goal": (
        "At the step limit an object that the mission names was at most two steps away."
    ),
}
"""Name and meaning of every finding, in the order of tables."""

_NUM_VISITS: Final = 3
_NEAR_STEPS: Final = 2
_CUT_OFF: Final = "length"
_THING: Final = re.compile(r"\b(?:(red|green|blue|purple|yellow|grey) )?(ball|box|key|door)\b")
_SEEN: Final = re.compile(
    r"an? (?:(open|closed|locked) )?(?:(\w+) )?(ball|box|key|door) (?=\d+ steps? )(.+)"
)
_DISTANCE: Final = re.compile(r"(\d+) steps? (forward|left|right)")
_CARRIED: Final = re.compile(r"^You carry an? (?:(\w+) )?(ball|box|key)$")


class Thing(NamedTuple):
    """An object as missions and observations name it; a mission may leave the colour open."""

    color: str | None
    kind: str

    def matches(self, named: Thing) -> bool:
        """Whether it is one of those that a mission names."""
        return self.kind == named.kind and named.color in {None, self.color}


class Sighting(NamedTuple):
    """An object in view: how many steps away, whether straight ahead, and a door's state."""

    thing: Thing
    num_steps: int
    is_ahead: bool
    state: str | None

    @property
    def is_in_front(self) -> bool:
        """Whether it is in the very next cell."""
        return self.is_ahead and self.num_steps == 1


class Scene(NamedTuple):
    """An observation, understood."""

    sightings: tuple[Sighting, ...]
    carried: Thing | None

    @property
    def front(self) -> Sighting | None:
        """The object in the very next cell."""
        return next((each for each in self.sightings if each.is_in_front), None)


@functools.lru_cache(maxsize=4096)
def scene_of(observation: str) -> Scene:
    """Reads an observation; lines that name no object are left out."""
    sightings, carried = [], None
    for line in observation.splitlines():
        if held := _CARRIED.match(line.strip()):
            carried = Thing(held[1], held[2])
        elif seen := _SEEN.match(line.strip()):
            parts = _DISTANCE.findall(seen[4])
            is_ahead = [side for _, side in parts] == ["forward"]
            distance = sum(int(number) for number, _ in parts)
            sightings.append(Sighting(Thing(seen[2], seen[3]), distance, is_ahead, seen[1]))
    return Scene(tuple(sightings), carried)


def targets_of(mission: str) -> tuple[Thing, ...]:
    """Returns the objects that a mission names, in its order."""
    found = (Thing(color or None, kind) for color, kind in _THING.findall(mission))
    return tuple(dict.fromkeys(found))


def diagnose(result: EpisodeResult) -> dict[str, tuple[int, ...]]:
    """Returns what went wrong in an episode.

    Args:
        result: An episode with its steps.

    Returns:
        By finding, in the order of `DEFINITIONS`, the steps at which it shows, from 1 on; those
        about the whole episode have its last step.
    """
    steps = result.steps
    if not steps:
        return {}
    scenes = [scene_of(step.observation) for step in steps]
    found = {name: tuple(finder(result, steps, scenes)) for name, finder in _FINDERS.items()}
    return {name: numbers for name, numbers in found.items() if numbers}


def _loops(_: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]) -> Iterator[int]:
    visits: collections.Counter[str] = collections.Counter()
    for number, step in enumerate(steps, start=1):
        if number > 1 and _has_changed(steps, scenes, number - 2):
            visits.clear()
        visits[step.observation] += 1
        if visits[step.observation] >= _NUM_VISITS:
            yield number


def _has_changed(steps: Sequence[Step], scenes: Sequence[Scene], position: int) -> bool:
    """Whether a step picked something up, dropped it or opened something."""
    if position + 1 >= len(scenes):
        return False
    before, after = scenes[position], scenes[position + 1]
    if before.carried != after.carried:
        return True
    front, behind = before.front, after.front
    if steps[position].action != "toggle" or front is None:
        return False
    return behind is None or (front.thing, front.state) != (behind.thing, behind.state)


def _blocked(_: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]) -> Iterator[int]:
    del scenes
    for number, (step, after) in enumerate(itertools.pairwise(steps), start=1):
        if step.action == "go forward" and step.observation == after.observation:
            yield number


def _wrong_objects(
    result: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]
) -> Iterator[int]:
    targets = targets_of(result.mission)
    doors = [each for each in targets if each.kind == "door"]
    needed = [*targets, *(Thing(door.color, "key") for door in doors)]
    for number in range(1, len(steps)):
        before, after = scenes[number - 1], scenes[number]
        if not _has_changed(steps, scenes, number - 1):
            continue
        touched = before.front.thing if before.front else None
        if after.carried is not None and before.carried is None:
            touched = after.carried
        elif steps[number - 1].action != "toggle":
            continue
        if touched is not None and not any(touched.matches(each) for each in needed):
            yield number


def _never_in_view(
    result: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]
) -> Iterator[int]:
    for target in targets_of(result.mission):
        if not any(_views(scene, target) for scene in scenes):
            yield len(steps)
            return


def _never_reached(
    result: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]
) -> Iterator[int]:
    for target in targets_of(result.mission):
        views = [each for scene in scenes for each in _views(scene, target)]
        if views and not any(each.is_in_front for each in views):
            yield len(steps)
            return


def _views(scene: Scene, target: Thing) -> list[Sighting]:
    found = [each for each in scene.sightings if each.thing.matches(target)]
    if scene.carried is not None and scene.carried.matches(target):
        found.append(Sighting(scene.carried, 1, is_ahead=True, state=None))
    return found


def _wrong_drops(
    result: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]
) -> Iterator[int]:
    targets = targets_of(result.mission)
    if not targets or not result.mission.startswith("put "):
        return
    for number in range(1, len(steps)):
        held, step = scenes[number - 1].carried, steps[number - 1]
        if held is None or scenes[number].carried is not None or step.action != "drop":
            continue
        if held.matches(targets[0]) and step.reward <= 0:
            yield number


def _invalid(_: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]) -> Iterator[int]:
    del scenes
    wrong = {AnswerStatus.UNKNOWN_ACTION, AnswerStatus.UNPARSABLE}
    yield from (number for number, step in enumerate(steps, start=1) if step.status in wrong)


def _cut_off(_: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]) -> Iterator[int]:
    del scenes
    for number, step in enumerate(steps, start=1):
        if step.finish_reason == _CUT_OFF:
            yield number


def _near_the_goal(
    result: EpisodeResult, steps: Sequence[Step], scenes: Sequence[Scene]
) -> Iterator[int]:
    if not result.truncated or not scenes:
        return
    views = [each for target in targets_of(result.mission) for each in _views(scenes[-1], target)]
    if any(each.num_steps <= _NEAR_STEPS for each in views):
        yield len(steps)


_FINDERS: Final[Mapping[str, Callable[..., Iterator[int]]]] = dict(
    zip(
        DEFINITIONS,
        (
            _loops,
            _blocked,
            _wrong_objects,
            _never_in_view,
            _never_reached,
            _wrong_drops,
            _invalid,
            _cut_off,
            _near_the_goal,
        ),
        strict=True,
    )
)
