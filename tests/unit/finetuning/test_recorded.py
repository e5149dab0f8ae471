"""Prompts rebuilt from the journal are those that were asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_babyai.errors import ConfigurationError, SettingsError
from pytest_babyai.finetuning.clients import embedded_client
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.recorded import RunSource
from pytest_babyai.finetuning.rendering import ChatRenderer
from pytest_babyai.gateway.client import import_tensorzero
from pytest_babyai.gateway.configuration import ACT_FUNCTION, read_configuration
from pytest_babyai.gateway.inference import NO_CACHE, InferenceRequest
from pytest_babyai.gateway.wire import inference_arguments
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.records import AnswerStatus, EpisodeSpec
from tests.unit.finetuning.finetuning_samples import (
    VARIANT,
    ScriptedModel,
    configuration_of,
    environments,
    make_project,
    play,
    record_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.finetuning.clients import OpenClient

CONDITIONS = parse_conditions(["progression>=1"])


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return make_project(tmp_path)


@pytest.fixture(scope="module")
def packaged_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def tensorzero_client(packaged_dir: Path) -> Iterator[OpenClient]:
    with embedded_client(configuration_of(packaged_dir)) as opened:
        yield opened


def test_the_arguments_are_those_of_the_rollout(config_dir: Path) -> None:
    model = ScriptedModel()
    outcome = asyncio.run(
        run_episode(
            EpisodeSpec(VARIANT, "open", 3),
            client=model,
            make_environment=environments(0),
            options=RolloutOptions(history_length=3),
        )
    )
    log = record_run(config_dir.parent, [outcome], history_length=3)  # type: ignore[list-item]

    [episode] = RunSource(log, configuration_of(config_dir)).episodes(CONDITIONS)

    asked = [
        inference_arguments(request, NO_CACHE)["input"]["messages"] for request in model.requests
    ]
    rebuilt = [
        inference_arguments(step.prompt.request, NO_CACHE)["input"]["messages"]
        for step in episode.steps
    ]
    assert rebuilt == asked
    assert len(asked) > 20


def test_a_step_keeps_status_answer_and_tokens(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(3)])

    [episode] = RunSource(log, configuration_of(config_dir)).episodes(CONDITIONS)

    statuses = [step.status for step in episode.steps[:5]]
    assert statuses == [
        AnswerStatus.VALID,
        AnswerStatus.VALID,
        AnswerStatus.UNPARSABLE,
        AnswerStatus.VALID,
        AnswerStatus.UNKNOWN_ACTION,
    ]
    assert episode.steps[2].prompt.answer == "no JSON at all"
    assert {step.num_tokens for step in episode.steps} == {110}


def test_conditions_are_met_or_not(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1), play(2, progression=0.0)])

    episodes = RunSource(log, configuration_of(config_dir)).episodes(CONDITIONS)

    assert {episode.seed: episode.meets_conditions for episode in episodes} == {1: True, 2: False}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
requests = st.builds(
    InferenceRequest,
    variant=st.sampled_from(["baseline", "reasoning", "history", VARIANT]),
    episode_id=st.just("01a20a42-e52c-7af5-ba0f-996671b2f3f9"),
    mission=texts,
    observation=texts,
    history=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)


@settings(max_examples=40, deadline=None)
@given(requests, texts.filter(bool))
def test_a_chat_is_what_tensorzero_renders(
    packaged_dir: Path, tensorzero_client: OpenClient, request: InferenceRequest, answer: str
) -> None:
    from tensorzero.generated_types import (
        JsonInferenceOutput,
        StoredInferenceJson,
        StoredInput,
        StoredInputMessage,
        StoredInputMessageContentTemplate,
    )

    import_tensorzero()
    content = inference_arguments(request, NO_CACHE)["input"]["messages"][0]["content"][0]
    template = StoredInputMessageContentTemplate(
        name=content["name"], arguments=content["arguments"]
    )
    stored = StoredInferenceJson(
        episode_id=request.episode_id,
        function_name=ACT_FUNCTION,
        inference_id=request.episode_id,
        timestamp="2026-01-01T00:00:00Z",
        variant_name=request.variant,
        input=StoredInput(messages=[StoredInputMessage(role="user", content=[template])]),
        output=JsonInferenceOutput(raw=answer, parsed=None),
        output_schema={},
    )
    [sample] = tensorzero_client.call(
        "experimental_render_samples",
        stored_samples=[stored],
        variants={ACT_FUNCTION: request.variant},
    )

    chat = ChatRenderer(configuration_of(packaged_dir), request.variant).chat(request, answer)

    assert chat.system == sample.input.system
    assert chat.user == sample.input.messages[0].content[0].text
    assert chat.answer == sample.output[0].text


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("functions/act/user/history_and_observation.minijinja", "template user"),
        ("functions/act/system/rules.minijinja", "template system"),
    ],
)
def test_templates_that_changed_since_the_run_are_refused(
    config_dir: Path, file: str, part: str
) -> None:
    log = record_run(config_dir.parent, [play(1)])
    with (config_dir / file).open("a") as template:
        template.write("More.")

    with pytest.raises(DatasetError) as caught:
        RunSource(log, configuration_of(config_dir))

    assert f"{part} of variant {VARIANT!r} changed since run {log.run_id}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_templates_of_other_variants_may_change(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1)])
    with (config_dir / "functions/act/user/observation.minijinja").open("a") as template:
        template.write("More.")

    assert RunSource(log, configuration_of(config_dir)).origin.variant == VARIANT


def test_no_model_and_no_key_are_needed(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1)])
    for model in (config_dir / "models").iterdir():
        model.unlink()

    source = RunSource(log, read_configuration(config_dir, None, {}))

    [episode] = source.episodes(CONDITIONS)
    assert source.chats([episode.steps[0].prompt])[0].user.startswith("Mission: ")


def test_a_variant_that_is_gone_is_told(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1)])
    toml = config_dir / "tensorzero.toml"
    toml.write_text(toml.read_text().replace("variants.history_and_reasoning", "variants.other"))

    with pytest.raises(DatasetError, match="no longer declared"):
        RunSource(log, configuration_of(config_dir))


def test_a_run_without_steps_says_how_to_collect(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1, steps=())])

    with pytest.raises(DatasetError, match="--babyai-trajectories=on"):
        list(RunSource(log, configuration_of(config_dir)).episodes(CONDITIONS))


def test_a_run_of_a_gateway_elsewhere_is_refused(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1)])
    log.manifest = type(log.manifest)(
        log.manifest.model_label, offline=False, variants={}, sessions=log.manifest.sessions
    )

    with pytest.raises(DatasetError, match="a gateway elsewhere played it"):
        RunSource(log, configuration_of(config_dir))


def test_several_variants_have_to_be_chosen_from(config_dir: Path) -> None:
    other = play(2, spec=EpisodeSpec("baseline", "goto", 2))
    log = record_run(config_dir.parent, [play(1), other])

    with pytest.raises(SettingsError, match="baseline, history_and_reasoning; choose one with"):
        RunSource(log, configuration_of(config_dir))
    assert RunSource(log, configuration_of(config_dir), "baseline").origin.variant == "baseline"


def test_an_unknown_variant_is_answered_with_the_nearest(config_dir: Path) -> None:
    log = record_run(config_dir.parent, [play(1)])

    with pytest.raises(SettingsError, match="did you mean 'history_and_reasoning'"):
        RunSource(log, configuration_of(config_dir), "history_and_resoning")


def test_a_template_that_cannot_be_rendered_is_named(config_dir: Path) -> None:
    template = config_dir / "functions/act/user/history_and_observation.minijinja"
    template.write_text("{{ misson }}")
    request = InferenceRequest(VARIANT, "e", "m", "o")

    with pytest.raises(ConfigurationError) as caught:
        ChatRenderer(configuration_of(config_dir), VARIANT).chat(request, "a")

    assert str(template) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('type = "chat_completion"', 'type = "experimental_chain_of_thought"', "no plain"),
        ("templates.user.path", "templates.other.path", r"templates\.user\.path"),
    ],
)
def test_a_variant_of_another_kind_is_left_to_the_store(
    config_dir: Path, old: str, new: str, reason: str
) -> None:
    toml = config_dir / "tensorzero.toml"
    toml.write_text(toml.read_text().replace(old, new))

    with pytest.raises(DatasetError, match=reason):
        ChatRenderer(configuration_of(config_dir), VARIANT)
