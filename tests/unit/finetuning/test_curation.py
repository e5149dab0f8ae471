from __future__ import annotations

from typing import Any

import pytest

from pytest_babyai.finetuning.chats import Chat
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.curation import Curated, curate
from pytest_babyai.finetuning.episodes import RecordedStep
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.leakage import layouts_of
from pytest_babyai.records import AnswerStatus
from tests.unit.finetuning.finetuning_samples import Episodes, environments, recorded

CONDITIONS = parse_conditions(["progression>=1"])


def curated(*episodes: Any, num_failures: int = 0) -> Curated:
    return curate(Episodes(episodes, num_failures), CONDITIONS, environments)


def step(status: AnswerStatus, text: str = "x") -> RecordedStep[Chat]:
    return RecordedStep(status, " go forward ", Chat(None, text, "{}"))


def refusal(*episodes: Any, num_failures: int = 0) -> str:
    with pytest.raises(DatasetError) as caught:
        curated(*episodes, num_failures=num_failures)
    return str(caught.value)


def test_what_did_not_become_a_valid_action_is_dropped_and_counted() -> None:
    steps = tuple(map(step, AnswerStatus))

    found = curated(recorded(1, steps=steps))

    assert len(found.training.chats) == 1
    assert found.dropped_steps == {
        "answer did not parse": 1,
        "answer named no known action": 1,
        "answer was cut off": 1,
        "random fallback action": 1,
    }


def test_dropped_episodes_are_counted_by_reason() -> None:
    layout = layouts_of([("goto", 207)], environments(0))[0]

    found = curated(
        recorded(1),
        recorded(2, meets_conditions=False),
        recorded(3, meets_conditions=False),
        recorded(204),
        recorded(4, steps=(step(AnswerStatus.UNPARSABLE),)),
        recorded(5, fingerprint=layout.fingerprint),
        num_failures=6,
    )

    assert [episode.layout.seed for episode in found.training.episodes] == [1]
    assert found.dropped_episodes == {
        "infrastructure failure": 6,
        "condition not met": 2,
        "evaluation seed": 1,
        "no step left": 1,
        "layout of an evaluation episode": 1,
    }


def test_episodes_stand_in_the_order_of_tasks_seeds_and_ids() -> None:
    found = curated(
        recorded(3, "open"),
        recorded(9, episode_id="b"),
        recorded(9, episode_id="a"),
        recorded(1),
    )

    assert [(e.layout.task, e.layout.seed, e.episode_id) for e in found.training.episodes] == [
        ("goto", 1, "episode-goto-1"),
        ("goto", 9, "a"),
        ("goto", 9, "b"),
        ("open", 3, "episode-open-3"),
    ]


def test_a_layout_that_was_not_recorded_is_computed() -> None:
    found = curated(recorded(4, "open", fingerprint=None))

    assert found.training.episodes[0].layout == layouts_of([("open", 4)], environments(0))[0]


def test_actions_are_counted_as_they_were_executed() -> None:
    steps = (step(AnswerStatus.VALID), step(AnswerStatus.VALID))

    assert curated(recorded(1, steps=steps)).actions == {"go forward": 2}


def test_half_a_surrogate_pair_is_dropped() -> None:
    steps = (step(AnswerStatus.VALID, "\ud800"), step(AnswerStatus.VALID))

    found = curated(recorded(1, steps=steps))

    assert len(found.training.chats) == 1
    assert found.dropped_steps == {"text that is not UTF-8": 1}


def test_tokens_are_those_of_the_chats_that_are_left() -> None:
    known = curated(recorded(1, num_steps=3))
    unknown = curated(recorded(1, steps=(step(AnswerStatus.VALID),)))

    assert known.num_tokens == {"episode-goto-1": 21}
    assert unknown.num_tokens == {"episode-goto-1": None}


def test_a_run_without_success_says_what_to_do() -> None:
    message = refusal(recorded(1, meets_conditions=False), recorded(2, meets_conditions=False))

    assert message == (
        "no episode of run run-1 is left to learn from (--where progression>=1): "
        "2 condition not met; collect more, or weaken --where"
    )


def test_a_run_of_evaluation_seeds_says_how_to_collect() -> None:
    message = refusal(recorded(200), recorded(201), num_failures=1)

    assert message.endswith(
        "1 infrastructure failure, 2 evaluation seed; collect seeds 0-199 with --babyai-collect"
    )


def test_a_source_without_episodes_is_told() -> None:
    assert refusal() == "run run-1 has no episode of 'history_and_reasoning'"
