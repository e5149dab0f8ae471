"""A user's own TensorZero project: played unchanged, by the models that it names."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from pytest_babyai.gateway.inference import new_episode_id
from tests.plugin.own_project import (
    VARIANTS,
    deterministic,
    model_toml,
    play_as_the_experiment,
    write_own_project,
)
from tests.plugin.provider import completion

if TYPE_CHECKING:
    from tests.plugin.provider import Provider

SUITE = """
import json
import pytest

@pytest.mark.babyai
def test_episode(babyai_episode):
    with open("results.jsonl", "a") as file:
        file.write(json.dumps(babyai_episode.result.to_record()) + "\\n")
"""
SEEDS = (200, 201, 202)
TASKS = ("goto", "putnext")


@pytest.fixture
def own(pytester: pytest.Pytester, provider: Provider) -> pytest.Pytester:
    """A project whose configuration stands elsewhere, in the experiment's shape."""
    provider.answer = deterministic
    pytester.makepyfile(test_suite=SUITE)
    pytester.makeini(
        f"""
        [pytest]
        babyai_gate = aggregate
        babyai_tasks = {TASKS[0]}
        babyai_seeds = {SEEDS[0]}
        asyncio_default_fixture_loop_scope = function
        """
    )
    return pytester


def results(project: pytest.Pytester) -> list[dict[str, Any]]:
    path = project.path / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def manifest(project: pytest.Pytester) -> dict[str, Any]:
    (path,) = (project.path / ".babyai/runs").glob("*/manifest.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def model_line(result: pytest.RunResult) -> str:
    """The summary's lines about the model, as one."""
    lines = result.outlines
    start = next(i for i, line in enumerate(lines) if line.startswith("model: "))
    end = next(i for i, line in enumerate(lines) if line.startswith("seeds: "))
    return " ".join(line.strip() for line in lines[start:end])


def prompts(requests: list[dict[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(request["messages"]) for request in requests)


def test_the_experiment_s_shape_plays_as_the_experiment_does(
    own: pytest.Pytester, provider: Provider
) -> None:
    config = write_own_project(own.path / "theirs/config")
    model = own.path / "model.toml"
    model.write_text(model_toml(provider.url))
    reference = write_own_project(own.path / "reference", model="policy")
    toml = reference / "tensorzero.toml"
    toml.write_text(toml.read_text() + model_toml(provider.url) + "[gateway]\n" + ANALYTICS)

    result = own.runpytest(
        f"--babyai-config={config}",
        f"--babyai-model={model}",
        f"--babyai-tasks={','.join(TASKS)}",
        f"--babyai-seeds={','.join(map(str, SEEDS))}",
    )
    sent, provider.requests = prompts(provider.requests), []
    expected = [
        asyncio.run(play_as_the_experiment(toml, variant, task, seed))
        for variant in VARIANTS
        for task in TASKS
        for seed in SEEDS
    ]

    assert result.ret == 0
    assert sent == prompts(provider.requests)
    played = {
        (each["spec"]["variant"], each["spec"]["task"], each["spec"]["seed"]): each
        for each in results(own)
    }
    for loop in expected:
        ours = played.pop((loop["variant"], loop["task"], loop["seed"]))
        for name in ("progression", "episode_return", "num_steps", "failed_candidates"):
            assert ours[name] == loop[name], (loop["variant"], loop["task"], loop["seed"], name)
        assert [ours["usage"][f"{kind}_tokens"] for kind in ("input", "output")] == loop["tokens"]
    assert not played
    assert any(loop["failed_candidates"] for loop in expected)
    assert any(loop["progression"] for loop in expected)


ANALYTICS = "disable_pseudonymous_usage_analytics = true\nobservability.enabled = false\n"


def test_a_running_gateway_is_sent_what_its_schemas_admit(
    own: pytest.Pytester, provider: Provider
) -> None:
    config = write_own_project(own.path / "theirs/config")
    inputs: list[dict[str, Any]] = []

    async def infer(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        inputs.append(body["input"])
        answer = {"raw": '{"action": "toggle"}', "parsed": {"action": "toggle"}}
        return web.json_response(
            {
                "inference_id": new_episode_id(),
                "episode_id": body["episode_id"],
                "variant_name": body["variant_name"],
                "output": answer,
                "usage": {"input_tokens": 1, "output_tokens": 2},
                "finish_reason": "stop",
            }
        )

    async def health(_: web.Request) -> web.StreamResponse:
        return web.json_response({"gateway": "ok"})

    with provider.serving({"/inference": infer}, {"/health": health}) as url:
        result = own.runpytest(
            f"--babyai-config={config}", f"--babyai-gateway-url={url}", "--babyai-variants=history"
        )

    assert result.ret == 0
    assert len(inputs) == 64
    mission = results(own)[0]["mission"]
    assert all(each["system"] == {"mission": mission} for each in inputs)
    for number, each in enumerate(inputs):
        (content,) = each["messages"][0]["content"]
        assert content["arguments"].keys() == {"observation", "history"}
        assert content["arguments"]["history"].count("Your Response:\ntoggle\n") == min(number, 8)


def test_without_a_model_option_every_variant_plays_the_model_that_it_names(
    own: pytest.Pytester, provider: Provider
) -> None:
    write_own_project(own.path / "config", model="theirs", more=model_toml(provider.url, "theirs"))

    result = own.runpytest()

    assert result.ret == 0
    assert {request["model"] for request in provider.requests} == {"deterministic"}
    assert model_line(result) == "model: deterministic (openai)"
    assert "OFFLINE" not in result.stdout.str()
    assert manifest(own)["offline"] is False
    assert {model for each in results(own) for model in each["models"]} == {
        "deterministic-reported"
    }


def test_a_chosen_model_plays_all_variants_and_the_summary_says_so(
    own: pytest.Pytester, provider: Provider
) -> None:
    write_own_project(own.path / "config", model="theirs", more=model_toml(provider.url, "theirs"))

    result = own.runpytest("--babyai-model=offline", "--babyai-variants=plain,history")

    assert result.ret == 0
    assert provider.requests == []
    assert model_line(result) == (
        "model: babyai-offline (offline) in place of deterministic (openai) "
        "(OFFLINE: a rule-based policy answered, no language model)"
    )
    assert manifest(own)["offline"] is True


def test_a_run_that_is_partly_offline_says_which_variants_are(
    own: pytest.Pytester, provider: Provider
) -> None:
    write_own_project(own.path / "config", model="theirs", more=model_toml(provider.url, "theirs"))
    toml = own.path / "config/tensorzero.toml"
    toml.write_text(toml.read_text().replace('model = "theirs"', 'model = "policy"', 1))

    result = own.runpytest("--babyai-variants=plain,history")

    assert result.ret == 0
    assert model_line(result) == (
        "model: babyai-offline (offline) OFFLINE for plain; deterministic (openai) for history"
    )
    assert manifest(own)["offline"] is False
    offline = {each["spec"]["variant"]: set(each["models"]) for each in results(own)}
    assert offline == {"plain": {"babyai-offline"}, "history": {"deterministic-reported"}}


def test_a_model_that_may_fall_back_is_not_offline(
    own: pytest.Pytester, provider: Provider
) -> None:
    both = model_toml(provider.url, "both").replace('["here"]', '["ours", "here"]')
    both += """
[models.both.providers.ours]
type = "openai"
model_name = "babyai-offline"
api_base = "http://127.0.0.1:0/v1"
api_key_location = "none"
"""
    write_own_project(own.path / "config", model="both", more=both)

    result = own.runpytest("--babyai-variants=plain")

    assert result.ret == 0
    assert model_line(result) == "model: babyai-offline, else deterministic (openai)"
    assert manifest(own)["offline"] is False
    assert results(own)[0]["models"] == ["babyai-offline"]
    result.stdout.fnmatch_lines(["plain was answered by babyai-offline"])


def test_the_shipped_variants_are_played_by_the_offline_model(own: pytest.Pytester) -> None:
    result = own.runpytest("--babyai-variants=baseline")

    assert result.ret == 0
    assert model_line(result).startswith("model: babyai-offline (offline) (OFFLINE: ")
    assert manifest(own)["offline"] is True


def test_a_chosen_model_file_is_no_offline_model_for_its_name(
    own: pytest.Pytester, provider: Provider
) -> None:
    (own.path / "babyai-offline.toml").write_text(model_toml(provider.url))

    result = own.runpytest("--babyai-model=babyai-offline.toml", "--babyai-variants=baseline")

    assert model_line(result) == "model: deterministic (babyai-offline)"
    assert manifest(own)["offline"] is False


def test_shorthand_models_need_their_key_before_anything_is_played(
    own: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = write_own_project(own.path / "config")

    result = own.runpytest()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: {config}/tensorzero.toml: *OPENAI_API_KEY is not set*--babyai-model offline"]
    )


def test_only_what_is_selected_counts_as_played(
    own: pytest.Pytester, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = write_own_project(own.path / "config", more=model_toml(provider.url, "m"))
    toml = config / "tensorzero.toml"
    toml.write_text(toml.read_text().replace('model = "openai::some-model-2024"', 'model = "m"', 1))

    result = own.runpytest("-k", "test_episode[plain-")

    assert result.ret == 0
    assert model_line(result) == "model: deterministic (openai)"
    assert set(manifest(own)["variants"]) == {"plain"}


@pytest.mark.parametrize(
    "form",
    ["config", "config/tensorzero.toml", "config/{tensorzero,more/*}.toml", "config/**/*.toml"],
)
def test_a_directory_a_file_or_a_glob_is_played(
    own: pytest.Pytester, provider: Provider, form: str
) -> None:
    write_own_project(own.path / "config", model="theirs")
    more = own.path / "config/more"
    more.mkdir()
    model = model_toml(provider.url, "theirs")
    if "*" in form:
        (more / "model.toml").write_text(model)
    else:
        toml = own.path / "config/tensorzero.toml"
        toml.write_text(toml.read_text() + model)

    result = own.runpytest(f"--babyai-config={form}", "--babyai-variants=plain")

    assert result.ret == 0
    assert model_line(result) == "model: deterministic (openai)"


def test_a_function_of_another_name_is_played(own: pytest.Pytester, provider: Provider) -> None:
    config = write_own_project(own.path / "config", model="m", more=model_toml(provider.url, "m"))
    toml = config / "tensorzero.toml"
    toml.write_text(toml.read_text().replace("functions.act", "functions.choose"))

    wrong = own.runpytest("--babyai-function=chose")
    right = own.runpytest("--babyai-function=choose", "--babyai-variants=plain")

    wrong.stderr.fnmatch_lines(["ERROR: *no function 'chose'*did you mean 'choose'?"])
    assert right.ret == 0
    assert results(own)[0]["failed_candidates"]


CHAT = """
[functions.act]
type = "chat"
[functions.act.variants.naive]
type = "chat_completion"
model = "m"
templates.system.path = "system.minijinja"
"""


@pytest.mark.parametrize(
    ("text", "action", "candidate", "status"),
    [
        ("turn left", "turn left", "turn left", "valid"),
        ("turn left.", "go forward", "turn left.", "unknown_action"),
        ('{"thinking": "so", "action": "drop"}', "drop", "drop", "valid"),
        ('I say {"action": "drop"}', "go forward", 'I say {"action": "drop"}', "unknown_action"),
        ("{}", "go forward", "{}", "unknown_action"),
        ("", "go forward", "", "unparsable"),
    ],
)
def test_a_chat_function_s_text_is_the_candidate(  # noqa: PLR0913
    own: pytest.Pytester,
    provider: Provider,
    *,
    text: str,
    action: str,
    candidate: str,
    status: str,
) -> None:
    async def answer(_: dict[str, Any]) -> web.StreamResponse:
        return completion(text)

    provider.answer = answer
    config = own.mkdir("config")
    (config / "system.minijinja").write_text("Your goal: {{ mission }}. One action, nothing else.")
    (config / "tensorzero.toml").write_text(CHAT + model_toml(provider.url, "m"))

    result = own.runpytest()

    assert result.ret == 0
    (episode,) = results(own)
    first = episode["steps"][0]
    assert (first["action"], first["candidate"], first["status"]) == (action, candidate, status)
    system, user = provider.requests[0]["messages"]
    assert system["content"] == f"Your goal: {episode['mission']}. One action, nothing else."
    told = user["content"]
    told = told if isinstance(told, str) else told[0]["text"]
    assert told == f"Observation:\n{first['observation']}"
