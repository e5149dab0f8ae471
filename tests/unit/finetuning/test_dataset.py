from __future__ import annotations

import dataclasses
import errno
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning import dataset as dataset_module
from pytest_babyai.finetuning.chats import Chat, read_chats
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.curation import curate
from pytest_babyai.finetuning.dataset import (
    DatasetPaths,
    read_dataset,
    split_by_seed,
    write_dataset,
)
from pytest_babyai.finetuning.failures import DatasetError
from pytest_babyai.finetuning.leakage import Layout, TrainingEpisode, TrainingSet
from pytest_babyai.finetuning.sources import RecordedStep
from pytest_babyai.records import AnswerStatus
from tests.unit.finetuning.finetuning_samples import (
    Episodes,
    dataset_at,
    environments,
    recorded,
)

if TYPE_CHECKING:
    from pathlib import Path


def training(seeds: list[int]) -> TrainingSet:
    return TrainingSet(
        tuple(
            TrainingEpisode(Layout(task, seed, f"{task}-{seed}"), f"{task}-{seed}", ())
            for task in ("goto", "open")
            for seed in seeds
        )
    )


def seeds_of(part: TrainingSet) -> set[int]:
    return {episode.layout.seed for episode in part.episodes}


@given(st.sets(st.integers(0, 199), min_size=2), st.floats(0, 0.99))
def test_a_split_keeps_every_episode_and_shares_no_seed(seeds: set[int], fraction: float) -> None:
    whole = training(sorted(seeds))

    train, validation = split_by_seed(whole, fraction)

    assert seeds_of(train) | seeds_of(validation) == seeds
    assert not seeds_of(train) & seeds_of(validation)
    assert seeds_of(train)
    assert bool(seeds_of(validation)) == (fraction > 0)
    assert len(train.episodes) + len(validation.episodes) == len(whole.episodes)


def test_a_split_does_not_depend_on_the_order_of_episodes() -> None:
    forwards = split_by_seed(training(list(range(50))), 0.2)
    backwards = split_by_seed(training(list(range(50))[::-1]), 0.2)

    assert seeds_of(forwards[1]) == seeds_of(backwards[1])
    assert len(seeds_of(forwards[1])) == 10


def test_one_seed_alone_is_trained_on() -> None:
    assert seeds_of(split_by_seed(training([3]), 0.5)[0]) == {3}


def test_the_card_tells_what_the_files_hold(tmp_path: Path) -> None:
    card = dataset_at(tmp_path / "data.jsonl", seeds=range(20), val_fraction=0.25).card

    assert (card.train.num_episodes, card.train.num_examples) == (15, 45)
    assert card.validation is not None
    assert card.validation.num_tokens == 5 * 3 * 7
    assert card.contents["tasks"] == {"goto": {"episodes": 20, "examples": 60, "seeds": "0-19"}}
    assert card.contents["actions"] == {"go forward": 60}
    assert len(card.layouts) == 20
    assert list(card.lines()) == [
        "history_and_reasoning in run run-1, where progression>=1",
        "training: 45 examples of 15 episodes, 315 tokens",
        "validation: 15 examples of 5 episodes, 105 tokens",
        "  goto: 20 episodes on 20 seeds, 60 examples",
        "actions: go forward 60",
    ]


def test_what_was_dropped_is_summed_up(tmp_path: Path) -> None:
    episodes = Episodes([*map(recorded, range(10)), recorded(200)], num_failures=2)
    curated = curate(episodes, parse_conditions(["steps<9"]), environments)

    card = write_dataset(curated, tmp_path / "data.jsonl")

    assert list(card.lines())[-1] == (
        "dropped episodes: infrastructure failure 2, evaluation seed 1"
    )


def test_lines_of_an_episode_stay_together(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data.jsonl")

    prompts = [chat.user.split()[0] for chat in read_chats(dataset.train, "train")]
    assert [prompts[i] for i in range(0, len(prompts), 3)] == list(dict.fromkeys(prompts))


def test_without_validation_there_is_no_such_file(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)
    assert DatasetPaths(path).validation.exists()

    dataset = dataset_at(path, val_fraction=0.0, force=True)

    assert not DatasetPaths(path).validation.exists()
    assert dataset.validation == b""
    assert dataset.card.validation is None


@pytest.mark.parametrize("name", ["data.jsonl", "data.validation.jsonl", "data.card.json"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")

    with pytest.raises(SettingsError, match="exists already; --force replaces it"):
        dataset_at(tmp_path / "data.jsonl")

    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"does not end in \.jsonl"):
        dataset_at(tmp_path / "data.json")


def test_tiny_data_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="3 examples, and fine-tuning needs at least 10"):
        dataset_at(tmp_path / "data.jsonl", seeds=[1])

    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_card_beside_old_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)
    before = path.read_bytes()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path), len(content))

    monkeypatch.setattr(dataset_module, "replace_file", full)
    with pytest.raises(DatasetError, match="No space left on device; the training data needs"):
        dataset_at(path, seeds=range(20), force=True)

    assert path.read_bytes() == before
    assert not DatasetPaths(path).card.exists()


@pytest.mark.parametrize("name", ["data.jsonl", "data.validation.jsonl"])
def test_data_that_changed_after_its_card_is_refused(tmp_path: Path, name: str) -> None:
    dataset_at(tmp_path / "data.jsonl")
    with (tmp_path / name).open("a") as file:
        file.write((tmp_path / name).read_text())

    with pytest.raises(DatasetError, match=rf"{name}: changed since"):
        read_dataset(tmp_path / "data.jsonl")


def test_data_without_a_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)
    DatasetPaths(path).card.unlink()

    with pytest.raises(DatasetError, match=r"no data\.card\.json beside it"):
        read_dataset(path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_what_is_no_card_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)
    DatasetPaths(path).card.write_text(text)

    with pytest.raises(DatasetError, match=r"card\.json: no data card"):
        read_dataset(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl: no such file"):
        read_dataset(tmp_path / "nowhere.jsonl")


def test_the_same_episodes_make_the_same_bytes(tmp_path: Path) -> None:
    dataset_at(tmp_path / "a.jsonl", seeds=range(30))
    dataset_at(tmp_path / "b.jsonl", seeds=list(range(30))[::-1])

    for suffix in (".jsonl", ".validation.jsonl"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_card_survives_json(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data.jsonl")

    again = type(dataset.card).from_plain(json.loads(json.dumps(dataset.card.to_plain())))

    assert again.to_plain() == dataset.card.to_plain()


def published_format_errors(content: bytes) -> Counter[str]:
    """Counts what OpenAI's published check of chat data for fine-tuning counts."""
    errors: Counter[str] = Counter()
    for line in content.decode().splitlines():
        example = json.loads(line)
        if not isinstance(example, dict):
            errors["data_type"] += 1
            continue
        messages = example.get("messages") or []
        errors["missing_messages_list"] += not messages
        for message in messages:
            errors["message_missing_key"] += not {"role", "content"} <= message.keys()
            errors["message_unrecognized_key"] += not message.keys() <= {
                *("role", "content", "name", "function_call", "weight")
            }
            errors["unrecognized_role"] += message.get("role") not in {
                *("system", "user", "assistant", "function")
            }
            content_ = message.get("content")
            errors["missing_content"] += not content_ or not isinstance(content_, str)
        roles = [message.get("role") for message in messages]
        errors["example_missing_assistant_message"] += "assistant" not in roles
    return +errors


def test_the_published_checks_of_the_format_pass(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)

    for file in DatasetPaths(path).all()[:2]:
        assert published_format_errors(file.read_bytes()) == Counter()
        assert all(line.endswith("}") for line in file.read_text().splitlines())


def test_training_and_validation_share_no_prompt(tmp_path: Path) -> None:
    shared = Chat("Play.", "the same prompt", '{"action": "go forward"}')
    episodes = [
        dataclasses.replace(
            recorded(seed),
            steps=(*recorded(seed).steps, RecordedStep(AnswerStatus.VALID, "go forward", shared)),
        )
        for seed in range(10)
    ]
    curated = curate(Episodes(episodes), parse_conditions(["progression>=1"]), environments)

    card = write_dataset(curated, tmp_path / "data.jsonl", val_fraction=0.3)

    dataset = read_dataset(tmp_path / "data.jsonl")
    train = {chat.prompt for chat in read_chats(dataset.train, "train")}
    validation = {
        chat.prompt for chat in read_chats(dataset.validation, "validation", min_examples=0)
    }
    assert shared.prompt in train
    assert not train & validation
    assert card.contents["dropped_steps"] == {"validation prompt that training has too": 3}
    assert card.validation is not None
    assert card.validation.num_examples == 9


def test_preference_pairs_are_written_and_read(tmp_path: Path) -> None:
    def steps(text: str, answer: str) -> tuple[RecordedStep, ...]:
        return (RecordedStep(AnswerStatus.VALID, answer, Chat("S", text, f'["{answer}"]')),)

    episodes = [
        recorded(
            seed, episode_id=f"{seed} {meets}", meets_conditions=meets, steps=steps(str(seed), a)
        )
        for seed in range(12)
        for meets, a in ((True, "turn left"), (False, "drop"))
    ]
    curated = curate(
        Episodes(episodes), parse_conditions(["progression>=1"]), environments, kind="dpo"
    )

    card = write_dataset(curated, tmp_path / "data.jsonl", val_fraction=0.1)

    dataset = read_dataset(tmp_path / "data.jsonl")
    assert dataset.card.kind == "dpo"
    first = json.loads(dataset.train.splitlines()[0])
    assert first == {
        "input": {
            "messages": [
                {"role": "system", "content": "S"},
                {"role": "user", "content": first["input"]["messages"][1]["content"]},
            ]
        },
        "preferred_output": [{"role": "assistant", "content": '["turn left"]'}],
        "non_preferred_output": [{"role": "assistant", "content": '["drop"]'}],
    }
    assert next(line for line in card.lines() if "training" in line).startswith(
        "training: 11 preference pairs of 11 episodes"
    )
