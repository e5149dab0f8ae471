"""A project of a user's own in the shape of the experiment's, and the experiment's own loop.

The loop is written down from the experiment's description and shares nothing with the package but
the environment: history is one text, a candidate counts word for word, every step is one inference.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web
from tensorzero import AsyncTensorZeroGateway
from tensorzero.util import uuid7

from pytest_babyai.environment import make_env

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "openai::some-model-2024"
VARIANTS = ("plain", "plain_with_thoughts", "history", "history_with_thoughts")
OUTPUT_SCHEMA = {
    "type": "object",
    "properties": {"thinking": {"type": "string"}, "action": {"type": "string"}},
    "required": ["action"],
    "additionalProperties": False,
}
SYSTEM_SCHEMA = {
    "type": "object",
    "properties": {"mission": {"type": "string"}},
    "required": ["mission"],
    "additionalProperties": False,
}
USER_SCHEMA = {
    "type": "object",
    "properties": {"observation": {"type": "string"}, "history": {"type": "string"}},
    "required": ["observation"],
    "additionalProperties": False,
}
SYSTEM = (
    "You walk through a maze. What you are after: {{ mission }}.\nMoves: turn left, go forward."
)
USER = "In sight:\n{{ observation }}\n\nAnswer in JSON, for instance for:\na wall 2 steps left\n{}"
HISTORY = "Before:\n{{ history }}\n\n" + USER
ANSWERS = (
    "turn left", "turn right", "go forward", "go forward", "pick up", "drop", "toggle",
    " go forward", "toggle\n", "Pick up", "jump",
)  # fmt: skip


def write_own_project(directory: Path, *, model: str = MODEL, more: str = "") -> Path:
    """Writes a configuration whose variants name a model of their own; no ``models`` directory."""
    act = directory / "functions" / "act"
    for variant in VARIANTS:
        (act / variant).mkdir(parents=True)
        (act / variant / "system.minijinja").write_text(SYSTEM)
        (act / variant / "user.minijinja").write_text(HISTORY if "history" in variant else USER)
    for name, schema in (
        ("system_schema", SYSTEM_SCHEMA),
        ("user_schema", USER_SCHEMA),
        ("output_schema", OUTPUT_SCHEMA),
    ):
        (act / f"{name}.json").write_text(json.dumps(schema))
    lines = [
        "[functions.act]",
        'type = "json"',
        *(f'{role}_schema = "functions/act/{role}_schema.json"' for role in ("system", "user")),
        'output_schema = "functions/act/output_schema.json"',
    ]
    for variant in VARIANTS:
        lines += [
            f"[functions.act.variants.{variant}]",
            'type = "chat_completion"',
            f'model = "{model}"',
            *(
                f'{role}_template = "functions/act/{variant}/{role}.minijinja"'
                for role in ("system", "user")
            ),
            'json_mode = "on"',
        ]
    for metric in ("episode_return", "progression"):
        lines += [f"[metrics.{metric}]", 'level = "episode"', 'optimize = "max"', 'type = "float"']
    (directory / "tensorzero.toml").write_text("\n".join(lines) + "\n" + more)
    return directory


def model_toml(url: str, name: str = "policy", model_name: str = "deterministic") -> str:
    return f"""
[models.{name}]
routing = ["here"]
[models.{name}.providers.here]
type = "openai"
model_name = "{model_name}"
api_base = "{url}"
api_key_location = "none"
"""


async def deterministic(request: dict[str, Any]) -> web.StreamResponse:
    """Answers each prompt with an action of its own, at times with none that there is."""
    messages = json.dumps(request["messages"], sort_keys=True)
    number = int.from_bytes(hashlib.sha256(messages.encode()).digest()[:4], "big")
    answer = {"thinking": f"number {number}", "action": ANSWERS[number % len(ANSWERS)]}
    message = {"role": "assistant", "content": json.dumps(answer)}
    tokens = {"prompt_tokens": len(messages), "completion_tokens": number % 97 + 1}
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": f"{request['model']}-reported",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {**tokens, "total_tokens": sum(tokens.values())},
    }
    return web.json_response(body)


async def play_as_the_experiment(
    config_file: Path, variant: str, task: str, seed: int, history_length: int = 8
) -> dict[str, Any]:
    """Plays an episode as the experiment's notebook does, and returns what it logs."""
    client: Any = await AsyncTensorZeroGateway.build_embedded(config_file=str(config_file))  # type: ignore[misc]
    env = make_env("babyai", task)
    observed, _ = env.reset(seed=seed)
    mission, episode_return, tokens = observed["mission"], 0.0, [0, 0]
    history: list[str] = []
    episode_id = uuid7()
    num_steps = 0
    for _ in range(env.max_steps):
        state = observed["text"]["long_term_context"]
        arguments = {"observation": state, "history": "\n".join(history[-history_length:])}
        content = [{"type": "text", "arguments": arguments}]
        answer = await client.inference(
            function_name="act",
            variant_name=variant,
            episode_id=episode_id,
            input={
                "system": {"mission": mission},
                "messages": [{"role": "user", "content": content}],
            },
        )
        tokens = [tokens[0] + answer.usage.input_tokens, tokens[1] + answer.usage.output_tokens]
        action = env.check_action_validity(answer.output.parsed["action"])
        if "history" in variant:
            history.append(f"Observation:{state}\n\nYour Response:\n{action}\n")
        observed, reward, terminated, truncated, _ = env.step(action)
        episode_return += reward
        num_steps += 1
        if terminated or truncated:
            break
    return {
        "variant": variant,
        "task": task,
        "seed": seed,
        "progression": env.get_stats()["progression"],
        "episode_return": episode_return,
        "num_steps": num_steps,
        "failed_candidates": env.failed_candidates,
        "tokens": tokens,
    }
