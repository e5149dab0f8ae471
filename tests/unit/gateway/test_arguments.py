"""What a function is sent follows its schemas and the templates of each variant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import ConfigurationError
from pytest_babyai.gateway.arguments import ARGUMENTS, StepHistory
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.inference import InferenceRequest, PastStep
from pytest_babyai.records import NO_USAGE, AnswerStatus, Step

if TYPE_CHECKING:
    from pathlib import Path

TEXT = {"type": "string"}
REQUEST = InferenceRequest(
    variant="a",
    episode_id="id",
    mission="go to the red ball",
    observation="a wall 1 step forward",
    history=(PastStep("a wall", "turn left", "hm"), PastStep("a door", "toggle")),
    step=3,
    max_steps=64,
    last_answer="valid",
)
PAST_TEXTS = [
    "Observation:a wall\n\nYour Response:\nturn left\n",
    "Observation:a door\n\nYour Response:\ntoggle\n",
]


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


class Project:
    """A function with one variant ``a``, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.kind = "json"
        self.schemas: dict[str, Any] = {}
        self.variant: list[str] = []
        self.templates: dict[str, str] = {}
        self.output: Any = closed(action=TEXT)

    def input(self) -> dict[str, Any]:
        for name, schema in self.schemas.items():
            (self.directory / f"{name}.json").write_text(json.dumps(schema))
        for name, text in self.templates.items():
            (self.directory / f"{name}.minijinja").write_text(text)
        (self.directory / "output.json").write_text(json.dumps(self.output))
        lines = ["[functions.act]", f'type = "{self.kind}"', 'output_schema = "output.json"']
        lines += [f'schemas.{name}.path = "{name}.json"' for name in self.schemas]
        lines += ["[functions.act.variants.a]", 'type = "chat_completion"', 'model = "x::y"']
        lines += [f'templates.{name}.path = "{name}.minijinja"' for name in self.templates]
        lines += self.variant
        (self.directory / "tensorzero.toml").write_text("\n".join(lines))
        configuration = read_configuration(self.directory, None, {})
        return configuration.function.input_of(REQUEST)

    def arguments(self) -> dict[str, Any]:
        (content,) = self.input()["messages"][0]["content"]
        found: dict[str, Any] = content["arguments"]
        return found

    def refusal(self) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.input()
        return str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.templates = {"user": "{{ observation }}"}
    return project


def test_only_what_a_schema_admits_is_sent(project: Project) -> None:
    project.schemas = {"user": closed(observation=TEXT)}

    assert project.arguments() == {"observation": "a wall 1 step forward"}


def test_without_a_schema_everything_is_sent(project: Project) -> None:
    assert project.arguments().keys() == set(ARGUMENTS)


@pytest.mark.parametrize("schema", [{"type": "object"}, {"properties": {"step": {}}}])
def test_a_schema_that_admits_more_gets_more(project: Project, schema: Any) -> None:
    project.schemas = {"user": schema}

    assert project.arguments().keys() == set(ARGUMENTS)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (TEXT, "\n".join(PAST_TEXTS)),
        ({"type": ["string", "null"]}, "\n".join(PAST_TEXTS)),
        ({"type": "array", "items": TEXT}, PAST_TEXTS),
        (
            {"type": "array", "items": closed(observation=TEXT, action=TEXT)},
            [
                {"observation": "a wall", "action": "turn left"},
                {"observation": "a door", "action": "toggle"},
            ],
        ),
        (
            {"anyOf": [{"type": "array", "items": closed(action=TEXT, thinking=TEXT)}]},
            [{"action": "turn left", "thinking": "hm"}, {"action": "toggle", "thinking": ""}],
        ),
    ],
)
def test_the_history_has_the_shape_of_its_schema(
    project: Project, history: Any, expected: Any
) -> None:
    project.schemas = {"user": closed(history=history)}

    assert project.arguments() == {"history": expected}


def test_numbers_are_texts_where_the_schema_wants_texts(project: Project) -> None:
    project.schemas = {"user": closed(step=TEXT, max_steps={"type": "integer"}, last_answer=TEXT)}

    assert project.arguments() == {"step": "3", "max_steps": 64, "last_answer": "valid"}


def test_a_system_schema_is_given_what_it_lists(project: Project) -> None:
    project.templates["system"] = "{{ mission }} in {{ max_steps }}"
    project.schemas = {"system": closed(mission=TEXT)}

    assert project.input()["system"] == {"mission": "go to the red ball"}


def test_a_system_template_without_schema_is_told_what_never_changes(project: Project) -> None:
    project.templates["system"] = "{{ mission }}"

    assert project.input()["system"] == {"mission": "go to the red ball", "max_steps": 64}


def test_without_a_system_template_nothing_is_told_there(project: Project) -> None:
    assert "system" not in project.input()


def test_a_template_of_another_name_is_used(project: Project) -> None:
    project.templates = {"turn": "{{ observation }}"}
    project.schemas = {"turn": closed(observation=TEXT)}

    (content,) = project.input()["messages"][0]["content"]

    assert (content["name"], content["arguments"].keys()) == ("turn", {"observation"})


def test_several_templates_without_a_user_s_are_refused(project: Project) -> None:
    project.templates = {"first": "", "second": ""}

    assert "has the templates first, second and none called 'user'" in project.refusal()


def test_without_templates_a_text_is_sent(project: Project) -> None:
    project.templates = {}

    assert project.input()["messages"][0]["content"] == [
        {
            "type": "text",
            "text": "Mission: go to the red ball\n\nObservation:\na wall 1 step forward",
        }
    ]


def test_a_template_that_wraps_a_text_is_given_one(project: Project) -> None:
    project.templates = {}
    (project.directory / "wrapper.minijinja").write_text("Now: {{ user_text }}")
    project.variant = ['user_template = "wrapper.minijinja"']

    (content,) = project.input()["messages"][0]["content"]

    assert content["type"] == "text"


def test_a_variant_that_chooses_from_others_is_sent_what_they_are(project: Project) -> None:
    project.templates["system"] = "{{ mission }}"
    expected = project.input()
    toml = project.directory / "tensorzero.toml"
    toml.write_text(
        toml.read_text()
        + '\n[functions.act.variants.best]\ntype = "experimental_best_of_n_sampling"\n'
        + 'candidates = ["a"]\nevaluator = { model = "x::y", json_mode = "on" }\n'
    )

    function = read_configuration(project.directory, None, {}).function

    assert function.inputs["best"].of(REQUEST) == expected


def test_an_argument_that_there_is_not_is_refused_with_the_nearest(project: Project) -> None:
    project.schemas = {"user": {**closed(observations=TEXT), "required": ["observations"]}}

    message = project.refusal()

    assert message.startswith(f"{project.directory / 'user.json'}: requires 'observations', ")
    assert message.endswith("did you mean 'observation'?")


def test_an_answer_without_action_is_refused_with_the_nearest(project: Project) -> None:
    project.output = closed(acton=TEXT)

    message = project.refusal()

    assert message.startswith(f"{project.directory / 'output.json'}: the answer has no 'action'")
    assert message.endswith("did you mean 'acton'?")


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_schema_that_is_none_is_told(project: Project, text: str) -> None:
    project.schemas = {"user": closed(observation=TEXT)}
    project.input()
    (project.directory / "user.json").write_text(text)

    with pytest.raises(ConfigurationError, match=r"user\.json: (not valid JSON|a JSON object)"):
        read_configuration(project.directory, None, {})


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (AnswerStatus.VALID, "valid"),
        (AnswerStatus.UNKNOWN_ACTION, "unknown action"),
        (AnswerStatus.UNPARSABLE, "unparsable"),
        (AnswerStatus.CUT_OFF, "cut off"),
        (AnswerStatus.FALLBACK, "none"),
    ],
)
def test_the_history_knows_what_became_of_the_last_answer(status: AnswerStatus, told: str) -> None:
    history = StepHistory(1)
    before = history.last_answer
    for thinking in ("first", None):
        history.add(Step("seen", "{}", thinking, "drop", "drop", 0.0, status, 1.0, NO_USAGE))

    assert (before, history.last_answer) == ("none", told)
    assert history.num_steps == 2
    assert history.steps() == (PastStep("seen", "drop", ""),)
