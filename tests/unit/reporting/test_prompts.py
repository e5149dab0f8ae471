"""Messages as they were sent, rendered again."""

from __future__ import annotations

import json
from typing import Any

from pytest_babyai.reporting.changes import changes_between
from pytest_babyai.reporting.prompts import Message, PromptRenderer, stored_messages
from tests.unit.reporting.reporting_samples import failure, report_of, result, step

DEFINITION: dict[str, Any] = {
    "template system": {"path": json.dumps({"": "{% include 'r.txt' %}!", "r.txt": "Rules"})},
    "template user": {
        "path": json.dumps(
            {
                "": "{{ mission }}:{% for s in history %} {{ s.observation }}>{{ s.action }}"
                "{% endfor %} now {{ observation }} <b>"
            }
        )
    },
}
STEPS = tuple(step(observation=text, action=f"do {text}") for text in "abc")


def rendered(definition: dict[str, Any] = DEFINITION, **more: Any) -> list[tuple[Message, ...]]:
    renderer = PromptRenderer({"baseline": definition}, **more)
    return list(renderer.messages(report_of(result(steps=STEPS, num_steps=3))))


def test_every_step_has_its_messages() -> None:
    assert rendered() == [
        (Message("system", "Rules!"), Message("user", f"go to the red ball:{past} now {now} <b>"))
        for past, now in (("", "a"), (" a>do a", "b"), (" a>do a b>do b", "c"))
    ]


def test_history_has_the_length_of_the_run() -> None:
    assert rendered(history_length=1)[2][1].text == "go to the red ball: b>do b now c <b>"


def test_a_variant_may_have_no_system_message() -> None:
    only_user = {"template user": DEFINITION["template user"]}
    assert [len(sent) for sent in rendered(only_user)] == [1, 1, 1]


def test_templates_that_were_not_kept_give_no_messages() -> None:
    assert rendered({}) == []


def test_a_template_that_needs_other_arguments_gives_no_messages() -> None:
    other = {"template user": {"path": json.dumps({"": "{{ weather }}"})}}
    assert rendered(other) == []


def test_an_episode_without_a_score_needs_its_mission() -> None:
    renderer = PromptRenderer({"baseline": DEFINITION})
    lost = report_of(failure(steps=STEPS))
    assert list(renderer.messages(lost)) == []
    assert "open the door: now a" in next(renderer.messages(lost, "open the door"))[1].text


def test_settings_that_differ_are_told_by_name() -> None:
    old = {"variant table": {"max_tokens": 1024, "model": "policy"}, **DEFINITION}
    new = {"variant table": {"max_tokens": 512, "model": "policy"}, **DEFINITION}
    (change,) = changes_between(old, new)
    assert change.part == "variant table"
    assert ("-", "max_tokens = 1024") in change.lines
    assert ("+", "max_tokens = 512") in change.lines


def test_an_included_text_that_differs_is_named() -> None:
    new = {
        **DEFINITION,
        "template system": {"path": json.dumps({"": "{% include 'r.txt' %}!", "r.txt": "Other"})},
    }
    assert [change.part for change in changes_between(DEFINITION, new)] == [
        "template system, r.txt"
    ]


def test_equal_definitions_have_no_changes() -> None:
    assert changes_between(DEFINITION, DEFINITION) == ()


def test_what_a_store_has_is_read() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c"},
    ]
    assert stored_messages("Rules", json.dumps(messages)) == (
        Message("system", "Rules"),
        Message("user", "a\nb"),
        Message("assistant", "c"),
    )
