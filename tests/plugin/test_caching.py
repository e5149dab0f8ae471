"""The store's cache: an answer is served to nobody but the model that gave it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.gateway.store import EmbeddedStore
from tests.plugin.own_project import model_toml
from tests.plugin.provider import action, completion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from tests.plugin.provider import Provider

SUITE = """
import json
import pytest

@pytest.mark.babyai(seeds=[2])
def test_episode(babyai_episode):
    result = babyai_episode.result
    with open("cached.json", "w") as file:
        json.dump([result.num_cached, result.num_steps], file)
"""


@pytest.fixture(scope="module")
def running_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path_factory.mktemp("store")) as store:
        yield store


@pytest.fixture
def cached(project: pytest.Pytester, running_store: EmbeddedStore) -> pytest.Pytester:
    """A project of its own variant, whose answers come from a cache that all tests share."""
    project.makepyfile(test_suite=SUITE)
    ini = project.path / "tox.ini"
    more = ["babyai_cache = on", f"babyai_clickhouse_url = {running_store.url}"]
    ini.write_text("\n".join([ini.read_text(), *more, "babyai_gate = aggregate"]) + "\n")
    return project


def play(project: pytest.Pytester, *arguments: str) -> tuple[int, int]:
    """Plays, and returns how many steps were cached, and how many there were."""
    result = project.runpytest(*arguments)
    assert result.ret == 0, result.stdout.str()
    num_cached, num_steps = json.loads((project.path / "cached.json").read_text())
    return num_cached, num_steps


def test_the_same_model_is_served_its_answers(cached: pytest.Pytester) -> None:
    _, num_steps = play(cached)

    assert play(cached) == (num_steps, num_steps)


@pytest.mark.parametrize("change", ["name", "address"])
def test_another_model_of_the_same_alias_is_asked(
    cached: pytest.Pytester, provider: Provider, change: str
) -> None:
    first = model_toml(provider.url, model_name=f"old-{change}")
    (cached.path / "other.toml").write_text(first)
    play(cached, "--babyai-model=other.toml")
    second = {
        "name": first.replace(f"old-{change}", "new-name"),
        "address": first.replace("127.0.0.1", "localhost"),
    }
    (cached.path / "other.toml").write_text(second[change])

    assert play(cached, "--babyai-model=other.toml")[0] == 0


def test_the_offline_models_are_told_apart(cached: pytest.Pytester) -> None:
    play(cached, "--babyai-model=offline")

    num_cached, _ = play(cached, "--babyai-model=offline_human")
    again, num_steps = play(cached, "--babyai-model=offline_human")

    assert num_cached == 0
    assert again == num_steps


def test_a_cached_answer_that_does_not_parse_is_asked_again(
    cached: pytest.Pytester, provider: Provider
) -> None:
    (cached.path / "other.toml").write_text(model_toml(provider.url, model_name="stammering"))

    async def stammer(_: dict[str, Any]) -> web.StreamResponse:
        return completion("er, go")

    async def recover(_: dict[str, Any]) -> web.StreamResponse:
        return action("go forward")

    provider.answer = stammer
    assert play(cached, "--babyai-model=other.toml") == (0, 1)
    provider.answer = recover
    assert play(cached, "--babyai-model=other.toml") == (0, 1)
    assert play(cached, "--babyai-model=other.toml") == (1, 1)
    assert len(provider.requests) == 2
