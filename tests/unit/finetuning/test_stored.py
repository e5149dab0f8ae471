"""A store and a journal of the same episodes give the same training data, byte for byte."""

from __future__ import annotations

import asyncio
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_babyai.commands import run_command
from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning.clients import OpenClient, embedded_client
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.curation import curate
from pytest_babyai.finetuning.dataset import DatasetPaths, write_dataset
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.launch import KEY_VARIABLE, REDIRECT_VARIABLE
from pytest_babyai.finetuning.recorded import RunSource
from pytest_babyai.finetuning.stored import StoredSource
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.store import EmbeddedStore
from pytest_babyai.gateway.store_queries import ClickHouseStore
from pytest_babyai.offline import OfflineServer
from pytest_babyai.playing.rollout import RolloutOptions, run_episode
from pytest_babyai.records import AnswerStatus, EpisodeResult, EpisodeSpec
from tests.patience import until_answered
from tests.unit.finetuning.finetuning_samples import (
    VARIANT,
    FakeProvider,
    configuration_of,
    environments,
    make_project,
    record_run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.finetuning.card import DataCard
    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.journal import RunLog

pytest.importorskip("chdb")

RUN = "run-of-the-store"
# Solved with good answers and with bad ones, not solved, and held out; few take all their steps.
SEEDS = {"goto": (0, 1, 2, 4, 5, 6, 203), "putnext": (2, 10, 203)}
SPECS = [EpisodeSpec(VARIANT, task, seed) for task, seeds in SEEDS.items() for seed in seeds]


class Recorded(NamedTuple):
    """The same episodes in a store and in a journal."""

    opened: OpenClient
    configuration: GatewayConfiguration
    log: RunLog
    results: list[EpisodeResult]
    root: Path


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    root = tmp_path_factory.mktemp("project")
    configuration = configuration_of(make_project(root))
    with EmbeddedStore(root / "store") as store:
        # One in five situations is misjudged, so that some episodes fail and some answers are bad.
        with OfflineServer(slip_rate=0.2) as server:
            reachable = configuration.with_api_base(f"{server.url}/v1")
            results = asyncio.run(play_and_record(reachable, store.url))
        log = record_run(root, results)
        with embedded_client(configuration, store.url) as opened:
            yield Recorded(opened, configuration, log, results, root)


async def play_and_record(configuration: GatewayConfiguration, url: str) -> list[EpisodeResult]:
    gateway = await open_gateway(configuration, clickhouse_url=url)
    outcomes = await asyncio.gather(
        *(
            run_episode(
                spec,
                client=gateway,
                make_environment=environments(0),
                options=RolloutOptions(tags={"run": RUN}),
            )
            for spec in SPECS
        )
    )
    results = [outcome for outcome in outcomes if isinstance(outcome, EpisodeResult)]
    ids = [str(step.inference_id) for result in results for step in result.steps]
    queries = ClickHouseStore(url)

    async def are_stored() -> bool:
        return len(await queries.usages(ids)) == len(ids)

    await until_answered(are_stored)  # feedback on what is not is refused after some seconds
    for result in results:
        for metric in ("progression", "episode_return"):
            await gateway.send_feedback(metric, getattr(result, metric), result.episode_id, {})
    # Asked and never finished: what a failed episode leaves.
    unfinished = EpisodeSpec(VARIANT, "goto", 9)
    await run_episode(
        unfinished,
        client=gateway,
        make_environment=environments(0),
        options=RolloutOptions(tags={"run": RUN}),
    )
    await gateway.close()
    return results


def stored_source(played: Recorded, **options: Any) -> StoredSource:
    return StoredSource(
        played.opened, played.configuration, name="the store", variant=VARIANT, **options
    )


def written(source: Any, path: Path, *conditions: str) -> tuple[DataCard, list[bytes]]:
    curated = curate(source, parse_conditions(conditions), environments)
    card = write_dataset(curated, path, val_fraction=0.25)
    return card, [file.read_bytes() for file in DatasetPaths(path).all()[:2]]


def test_store_and_journal_give_the_same_bytes(played: Recorded, tmp_path: Path) -> None:
    at_an_edge = min(r.episode_return for r in played.results if r.success)
    for number, conditions in enumerate(
        (["progression>=1"], [f"episode_return>={at_an_edge!r}"], ["num_steps<=40"])
    ):
        journal = RunSource(played.log, played.configuration)
        own, expected = written(journal, tmp_path / f"j{number}.jsonl", *conditions)
        card, found = written(stored_source(played), tmp_path / f"s{number}.jsonl", *conditions)

        assert found == expected
        assert card.layouts == own.layouts
        assert card.contents["dropped_steps"] == own.contents["dropped_steps"]
        assert card.contents["actions"] == own.contents["actions"]


def test_the_comparison_is_about_something(played: Recorded) -> None:
    statuses = {step.status for result in played.results for step in result.steps}

    assert AnswerStatus.VALID in statuses
    assert len(statuses) > 1
    assert {result.success for result in played.results} == {True, False}


def test_only_training_seeds_come_out_of_a_store(played: Recorded, tmp_path: Path) -> None:
    card, _ = written(stored_source(played), tmp_path / "data.jsonl", "progression>=0")

    assert {layout.seed for layout in card.layouts} == {0, 1, 2, 4, 5, 6, 10}
    assert card.contents["dropped_episodes"]["evaluation seed"] == 2


def test_an_episode_without_feedback_is_no_success(played: Recorded) -> None:
    episodes = stored_source(played).episodes(parse_conditions(["num_steps>=0"]))

    assert [e.seed for e in episodes if not e.meets_conditions] == [9]


def test_pages_are_put_together(played: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(stored_source(played).episodes(()))
    monkeypatch.setattr("pytest_babyai.finetuning.stored.PAGE_SIZE", 50)

    assert [len(e.steps) for e in stored_source(played).episodes(())] == [
        len(episode.steps) for episode in whole
    ]
    assert sum(len(e.steps) for e in whole) > 100


def test_a_run_can_be_chosen(played: Recorded) -> None:
    assert len(list(stored_source(played, run=RUN).episodes(()))) == len(SPECS) + 1
    assert list(stored_source(played, run="another").episodes(())) == []


def test_an_unknown_variant_is_answered_with_the_nearest(played: Recorded) -> None:
    with pytest.raises(SettingsError, match="did you mean 'baseline'"):
        StoredSource(played.opened, played.configuration, name="the store", variant="baselin")


def call(*arguments: str) -> list[str]:
    return list(run_command(arguments))


def test_the_commands_read_a_store(
    played: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    store, output = f"--store={played.root / 'store'}", f"-o{tmp_path / 'data.jsonl'}"
    own = call("dataset", "store", store, f"--root={tmp_path}", f"--run={RUN}", output)
    with FakeProvider() as fake:
        fake.states = fake.states[-1:]
        monkeypatch.setenv(KEY_VARIABLE, "sk-0123456789")
        monkeypatch.setenv(REDIRECT_VARIABLE, fake.url)
        learned = call("finetune", "store", store, f"--root={tmp_path}", "--model=gpt-x")

    assert own[1:-1] == learned[1 : len(own) - 1]
    assert (tmp_path / "config/models/policy_sft.toml").exists()
    jobs = tmp_path / ".babyai/finetuning"
    assert (jobs / "store.jsonl").read_bytes() == (tmp_path / "data.jsonl").read_bytes()


def test_what_cannot_be_rendered_is_told(played: Recorded) -> None:
    source = stored_source(played)
    first = next(iter(source.episodes(()))).steps[0].prompt
    damaged = SimpleNamespace(**vars(first))
    damaged.inference_id = "01a20a42-e52c-7af5-ba0f-996671b2f3f9"

    def nothing(**_: Any) -> list[Any]:
        return []

    client = OpenClient(SimpleNamespace(experimental_render_samples=nothing))
    with closing(client):
        silent = StoredSource(client, played.configuration, name="the store", variant=VARIANT)
        with pytest.raises(DatasetError, match="could not render 1 of 1 inferences"):
            silent.chats([damaged])


def test_a_store_that_fails_is_told_in_one_line(played: Recorded) -> None:
    from pytest_babyai.gateway.client import import_tensorzero

    def fail(**_: Any) -> None:
        raise import_tensorzero().TensorZeroInternalError("gone\naway")

    client = OpenClient(SimpleNamespace(list_inferences=fail))
    with closing(client):
        source = StoredSource(client, played.configuration, name="the store", variant=VARIANT)
        with pytest.raises(DatasetError, match=r"^the store cannot be read: gone$"):
            list(source.episodes(()))
