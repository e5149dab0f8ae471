from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from pytest_babyai.offline import OfflineServer
from pytest_babyai.offline.policy import Policy
from pytest_babyai.offline.server import Application, ServedModels
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT = "/v1/chat/completions"
MODELS = ["babyai-offline", "babyai-offline-careless"]
MESSAGES = [
    {"role": "system", "content": "Answer in JSON."},
    {"role": "user", "content": "Mission: pick up the red ball\na red ball 1 step forward"},
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with (
        OfflineServer(slip_rate=0, models_dir=tmp_path_factory.mktemp("models")) as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as http,
    ):
        yield http


def complete(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(CHAT, json={"model": "babyai-offline", "messages": MESSAGES, **fields})
    assert response.status_code == 200, response.text
    completion: dict[str, Any] = response.json()
    return completion


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_a_completion_has_the_shape_of_openai(client: httpx.Client) -> None:
    completion = complete(client)
    assert re.fullmatch(r"chatcmpl-offline-[0-9a-f]{32}", completion.pop("id"))
    assert completion.pop("created") > 1_700_000_000
    assert completion == {
        "object": "chat.completion",
        "model": "babyai-offline",
        "system_fingerprint": "fp_babyai_offline",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": '{"action": "pick up"}',
                    "refusal": None,
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 29, "completion_tokens": 7, "total_tokens": 36},
    }


def test_content_may_be_a_list_of_parts(client: httpx.Client) -> None:
    parts = [
        {
            "role": message["role"],
            "content": [{"type": "text", "text": text} for text in message["content"].split("\n")],
        }
        for message in MESSAGES
    ]
    assert complete(client, messages=parts)["choices"] == complete(client)["choices"]


def test_a_short_limit_cuts_the_answer_and_says_so(client: httpx.Client) -> None:
    completion = complete(client, max_tokens=3)
    [choice] = completion["choices"]
    assert choice["finish_reason"] == "length"
    assert '{"action": "pick up"}'.startswith(choice["message"]["content"])
    assert completion["usage"]["completion_tokens"] == 3


def test_the_newer_name_of_the_limit_is_known(client: httpx.Client) -> None:
    [choice] = complete(client, max_completion_tokens=3)["choices"]
    assert choice["finish_reason"] == "length"


def test_as_many_choices_are_given_as_wanted(client: httpx.Client) -> None:
    completion = complete(client, n=3)
    assert [choice["index"] for choice in completion["choices"]] == [0, 1, 2]
    assert completion["usage"]["completion_tokens"] == 21


def test_a_response_format_brings_json(client: httpx.Client) -> None:
    completion = complete(client, messages=MESSAGES[1:], response_format={"type": "json_object"})
    assert json.loads(completion["choices"][0]["message"]["content"]) == {"action": "pick up"}


def test_a_stream_ends_with_reason_usage_and_done(client: httpx.Client) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    body = {"model": "babyai-offline", "messages": MESSAGES, **options}
    response = client.post(CHAT, json=body)
    assert response.headers["content-type"] == "text/event-stream"
    *events, done = [line[6:] for line in response.text.splitlines() if line]
    content, reason, usage = map(json.loads, events)
    assert content["choices"][0]["delta"]["content"] == '{"action": "pick up"}'
    assert reason["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 7
    assert done == "[DONE]"


def test_the_model_is_listed(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == MODELS


def test_health_is_told(client: httpx.Client) -> None:
    told = client.get("/healthz").json()
    assert (told["status"], told["models"]) == ("ok", MODELS)
    assert set(told["read"]) == {"prompts", "without_mission", "without_view"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "pirate", "content": "hello"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"image": "x"}]}]}, "messages[0].content[0]"),
        ({"model": None}, "model"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "many"}, "max_completion_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"seed": 1.5}, "seed"),
        ({"response_format": "json"}, "response_format"),
    ],
)
def test_a_wrong_parameter_is_named(
    client: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    response = client.post(CHAT, json={"model": "babyai-offline", "messages": MESSAGES, **fields})
    assert response.status_code == 400
    assert error_of(response)["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(client: httpx.Client, body: bytes) -> None:
    response = client.post(CHAT, content=body)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_an_unknown_model_is_not_found(client: httpx.Client) -> None:
    response = client.post(CHAT, json={"model": "babyai-ofline", "messages": MESSAGES})
    assert response.status_code == 404
    error = error_of(response)
    assert error["code"] == "model_not_found"
    assert "did you mean 'babyai-offline'?" in error["message"]


def test_an_unknown_endpoint_is_not_found(client: httpx.Client) -> None:
    response = client.post("/v1/poems")
    assert response.status_code == 404
    assert error_of(response)["message"] == "No such endpoint: POST /v1/poems"


def test_a_wrong_method_is_told(client: httpx.Client) -> None:
    response = client.get(CHAT)
    assert response.status_code == 405
    assert error_of(response)["message"] == f"{CHAT} takes POST, not GET."


def test_a_body_that_is_too_large_is_refused(client: httpx.Client) -> None:
    response = client.post(CHAT, content=b" " * (17 * 2**20))
    assert response.status_code == 413


def test_text_that_is_no_unicode_is_answered(client: httpx.Client) -> None:
    body = '{"model": "babyai-offline", "messages": [{"role": "user", "content": "\\ud800"}]}'
    assert client.post(CHAT, content=body.encode()).status_code == 200


def test_several_models_are_served_by_their_names() -> None:
    policies = {"careful": Policy(slip_rate=0.0), "careless": Policy(slip_rate=1.0)}
    transport = httpx.ASGITransport(app=Application(ServedModels(policies)))

    async def ask(model: str) -> str:
        async with httpx.AsyncClient(transport=transport, base_url="http://models") as http:
            response = await http.post(CHAT, json={"model": model, "messages": MESSAGES})
        content: str = response.json()["choices"][0]["message"]["content"]
        return content

    careful, careless = asyncio.run(ask("careful")), asyncio.run(ask("careless"))
    assert careful == '{"action": "pick up"}' != careless


def test_latency_is_drawn_for_each_request_from_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def note(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("pytest_babyai.offline.server.asyncio.sleep", note)
    app = Application(ServedModels(latency_ms=(50.0, 150.0)))

    async def ask() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://models") as http:
            for seed in (1, 2, 2):
                body = {"model": "babyai-offline", "messages": MESSAGES, "seed": seed}
                await http.post(CHAT, json=body)

    asyncio.run(ask())
    first, second, same = (seconds for seconds in waited if seconds > 0)
    assert 0.05 <= first <= 0.15
    assert first != second == same


def test_the_careless_model_answers_to_its_earlier_name(client: httpx.Client) -> None:
    names = ("babyai-offline-careless", "babyai-offline-human")
    answers = [complete(client, model=name)["choices"] for name in names]

    assert answers[0] == answers[1]
