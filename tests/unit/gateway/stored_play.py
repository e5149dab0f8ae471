"""Episodes that are played into a store, and what is read from it."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import TYPE_CHECKING, Any

from pytest_babyai.gateway.feedback import METRICS
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.records import EpisodeResult, EpisodeSpec
from tests.unit.gateway.gateway_fakes import edit
from tests.unit.playing.rollout_fakes import FakeEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_babyai.gateway.client import Gateway
    from pytest_babyai.gateway.store import EmbeddedStore

PRICE = 'cost = [{ pointer = "/usage/prompt_tokens", cost_per_million = 2, required = true }]\n'
METRICS_TOML = "".join(
    f'\n[metrics.{name}]\ntype = "float"\nlevel = "episode"\noptimize = "max"\n' for name in METRICS
)


def with_prices_and_metrics(config_dir: Path) -> Path:
    edit(config_dir / "models/server.toml", "api_base", f"{PRICE}api_base")
    with (config_dir / "tensorzero.toml").open("a") as file:
        file.write(METRICS_TOML)
    return config_dir


async def rows_of(store: EmbeddedStore, query: str) -> list[dict[str, Any]]:
    address = f"http://127.0.0.1:{store.port}/?database=tensorzero"
    user, password = store.url.removeprefix("http://").partition("@")[0].split(":")
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
    asked = urllib.request.Request(address, f"{query} FORMAT JSONEachRow".encode(), headers)

    def ask() -> str:
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - the store's own address
            return str(answer.read().decode())

    return [json.loads(line) for line in (await asyncio.to_thread(ask)).splitlines()]


async def play(
    gateway: Gateway,
    spec: EpisodeSpec,
    *,
    run: str,
    episode_id: str | None = None,
    solved_at: int | None = None,
) -> EpisodeResult:
    outcome = await run_episode(
        spec,
        client=gateway,
        make_environment=lambda task: FakeEnvironment(task, solved_at=solved_at),
        options=RolloutOptions(tags={"run": run}),
        episode_id=episode_id,
    )
    assert isinstance(outcome, EpisodeResult)
    return outcome
