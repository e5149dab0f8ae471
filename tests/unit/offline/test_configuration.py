"""The shipped configuration, loaded by TensorZero itself and answered by the offline model."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_babyai.offline import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

os.environ.setdefault("RUST_LOG", "off")
os.environ.setdefault("NO_COLOR", "1")

from tensorzero import AsyncTensorZeroGateway, TensorZeroError

T = TypeVar("T")

CONFIG = Path(__file__).parents[3] / "config"
VARIANTS = ("baseline", "reasoning", "history", "history_and_reasoning")
THINKING_VARIANTS = ("reasoning", "history_and_reasoning")
ARGUMENTS = {
    "mission": "pick up the red ball",
    "observation": "a red ball 1 step forward",
    "history": [{"observation": "a red ball 2 steps forward", "action": "go forward"}],
}


def with_gateway(pattern: str, use: Callable[[AsyncTensorZeroGateway], Awaitable[T]]) -> T:
    async def run() -> T:
        building = AsyncTensorZeroGateway.build_embedded(config_file=pattern, async_setup=True)
        assert not isinstance(building, AsyncTensorZeroGateway)
        async with await building as gateway:
            return await use(gateway)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("project") / "config"
    shutil.copytree(CONFIG, directory)
    with OfflineServer(slip_rate=0) as server:
        model = directory / "models" / "offline.toml"
        text = model.read_text(encoding="utf-8")
        model.write_text(text.replace("http://127.0.0.1:0/", f"{server.url}/"), encoding="utf-8")
        yield f"{directory}/{{tensorzero,models/offline}}.toml"


def infer(pattern: str, variant: str, arguments: dict[str, Any]) -> Any:
    block = {"type": "template", "name": "user", "arguments": arguments}

    async def use(gateway: AsyncTensorZeroGateway) -> Any:
        return await gateway.inference(
            function_name="act",
            variant_name=variant,
            input={"messages": [{"role": "user", "content": [block]}]},
        )

    return with_gateway(pattern, use)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_acts_on_the_same_arguments(pattern: str, variant: str) -> None:
    response = infer(pattern, variant, ARGUMENTS)
    assert response.variant_name == variant
    assert response.output.parsed["action"] == "pick up"


@pytest.mark.parametrize("variant", VARIANTS)
def test_thinking_comes_from_the_variants_that_ask_for_it(pattern: str, variant: str) -> None:
    parsed = infer(pattern, variant, ARGUMENTS).output.parsed
    assert ("thinking" in parsed) is (variant in THINKING_VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_history_variants_spend_tokens_on_the_history(pattern: str, variant: str) -> None:
    def num_tokens(history: list[dict[str, str]]) -> int:
        usage = infer(pattern, variant, {**ARGUMENTS, "history": history}).usage
        return int(usage.input_tokens)

    grows = num_tokens(ARGUMENTS["history"] * 4) > num_tokens([])  # type: ignore[operator, arg-type]
    assert grows is variant.startswith("history")


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_empty_observation_is_answered(pattern: str, variant: str) -> None:
    response = infer(pattern, variant, {**ARGUMENTS, "observation": "", "history": []})
    assert response.output.parsed["action"] in ("turn left", "turn right", "go forward")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"mission": "go", "observation": "a wall 1 step forward"},
        {**ARGUMENTS, "history": "none"},
        {**ARGUMENTS, "history": [{"observation": "a wall 1 step forward"}]},
        {**ARGUMENTS, "observation": None},
        {**ARGUMENTS, "seed": 3},
    ],
    ids=["nothing", "no history", "text", "step without action", "null", "unknown argument"],
)
def test_wrong_arguments_are_refused(pattern: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(TensorZeroError) as caught:
        infer(pattern, "baseline", arguments)
    assert caught.value.status_code == 400


@pytest.mark.parametrize("model", ["offline", "openai", "compatible"])
def test_every_model_file_makes_a_gateway(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key")

    async def use(gateway: AsyncTensorZeroGateway) -> bool:
        return isinstance(gateway, AsyncTensorZeroGateway)

    assert with_gateway(f"{CONFIG}/{{tensorzero,models/{model}}}.toml", use)


def test_the_output_schema_asks_for_an_action_and_allows_thinking() -> None:
    path = CONFIG / "functions" / "act" / "output_schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema["required"] == ["action"]
    assert set(schema["properties"]) == {"action", "thinking"}
    assert "enum" not in schema["properties"]["action"]
