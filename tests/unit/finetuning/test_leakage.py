"""No evaluation episode reaches a training file, and no training episode an evaluation."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_babyai.environment import TASKS, environment_factory
from pytest_babyai.finetuning.chats import Chat
from pytest_babyai.finetuning.conditions import parse_conditions
from pytest_babyai.finetuning.curation import curate
from pytest_babyai.finetuning.dataset import DatasetPaths, read_dataset, write_dataset
from pytest_babyai.finetuning.failures import DatasetError, LeakageError
from pytest_babyai.finetuning.leakage import (
    EVALUATION_SEEDS,
    Layout,
    TrainingEpisode,
    TrainingRecord,
    TrainingSet,
    check_unseen,
    evaluation_fingerprints,
    layouts_of,
    seed_ranges,
)
from pytest_babyai.gateway.inference import TRAIN_SEEDS
from tests.unit.finetuning.finetuning_samples import (
    Episodes,
    dataset_at,
    environments,
    recorded,
)

CONDITIONS = parse_conditions(["progression>=1"])
CHAT = Chat("Play.", "You see a wall.", '{"action": "go forward"}')
HELD_OUT = {
    layout.fingerprint: layout
    for layout in layouts_of(
        [(task, seed) for task in TASKS for seed in EVALUATION_SEEDS], environments(0)
    )
}

episodes = st.lists(
    st.builds(
        recorded,
        st.integers(0, 260),
        st.sampled_from(TASKS),
        num_steps=st.integers(1, 4),
        # Some have the layout of an evaluation episode, whatever their seed.
        fingerprint=st.sampled_from([*list(HELD_OUT)[:5], "own-1", "own-2"]),
        meets_conditions=st.booleans(),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(episodes, st.sampled_from([0.0, 0.1, 0.5]))
def test_no_evaluation_episode_can_reach_a_training_file(
    played: list[object], val_fraction: float
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "data.jsonl"
        try:
            curated = curate(Episodes(played), CONDITIONS, environments)  # type: ignore[arg-type]
            write_dataset(curated, path, val_fraction=val_fraction)
        except DatasetError:
            assert not path.exists()
            return
        paths = DatasetPaths(path)
        written = [file.read_text() for file in paths.all()[:2] if file.exists()]
        card = json.loads(paths.card.read_text())

    prompts = [
        json.loads(line)["messages"][1]["content"] for text in written for line in text.splitlines()
    ]
    assert prompts
    assert all(int(prompt.split()[0].rpartition("-")[2]) in TRAIN_SEEDS for prompt in prompts)
    listed = [entry for entries in card["episodes"].values() for entry in entries]
    assert all(seed in TRAIN_SEEDS and print_ not in HELD_OUT for seed, print_ in listed)


@given(st.integers().filter(lambda seed: seed not in TRAIN_SEEDS))
def test_an_evaluation_seed_makes_no_training_episode(seed: int) -> None:
    with pytest.raises(LeakageError, match="must not be learned from"):
        TrainingEpisode(Layout("goto", seed, "f"), "id", (CHAT,))


def test_a_layout_that_is_held_out_makes_no_training_set() -> None:
    episode = TrainingEpisode(Layout("goto", 3, "f"), "id", (CHAT,))

    with pytest.raises(LeakageError, match="goto-3 has the layout f"):
        TrainingSet((episode,), frozenset({"f"}))


def test_a_card_that_names_an_evaluation_seed_is_no_way_in(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    dataset_at(path)
    card = DatasetPaths(path).card
    plain = json.loads(card.read_text())
    plain["episodes"]["goto"][0][0] = 200
    card.write_text(json.dumps(plain))

    with pytest.raises(LeakageError, match="goto-200"):
        read_dataset(path)


def test_no_layout_of_the_training_seeds_is_one_of_evaluation() -> None:
    make_environment = environment_factory("builtin", num_dists=0)
    trained = layouts_of([(task, seed) for task in TASKS for seed in TRAIN_SEEDS], make_environment)

    assert len({layout.fingerprint for layout in trained}) == len(trained)
    assert not {layout.fingerprint for layout in trained} & HELD_OUT.keys()


def test_all_layouts_of_evaluation_are_held_out() -> None:
    assert evaluation_fingerprints(TASKS, environments(0)) == HELD_OUT.keys()


RECORD = TrainingRecord(
    "history_sft", tuple(Layout("goto", seed, f"f{seed}") for seed in (*range(5), 7))
)


def test_other_seeds_and_layouts_are_unseen() -> None:
    check_unseen(RECORD, [Layout("goto", 200, "f200"), Layout("open", 201, "f201")])


def test_a_seed_that_was_trained_on_is_named_with_a_way_out() -> None:
    with pytest.raises(LeakageError) as caught:
        check_unseen(RECORD, [Layout("goto", seed, "x") for seed in (2, 3, 200)])

    assert str(caught.value) == (
        "history_sft was trained on seeds 2-3, and is to be evaluated on them (goto-2, goto-3); "
        "choose others, such as --babyai-seeds=200-219"
    )


def test_a_seed_counts_for_every_task() -> None:
    with pytest.raises(LeakageError, match="seeds 7,"):
        check_unseen(RECORD, [Layout("pickup", 7, "elsewhere")])


def test_a_layout_under_another_seed_is_named() -> None:
    with pytest.raises(LeakageError, match=r"layouts .*\(goto-203 is goto-4\)"):
        check_unseen(RECORD, [Layout("goto", 202, "f202"), Layout("goto", 203, "f4")])


def test_many_overlaps_are_counted() -> None:
    planned = [Layout("goto", 200 + number, f"f{number}") for number in range(5)]

    with pytest.raises(LeakageError, match="goto-202 is goto-2 and 2 more"):
        check_unseen(RECORD, planned)


def test_a_record_survives_json() -> None:
    plain = json.loads(json.dumps(RECORD.to_plain()))

    assert TrainingRecord.from_plain("history_sft", plain) == RECORD


@pytest.mark.parametrize(
    "plain", [None, [], {"goto": 3}, {"goto": [["x", "y", "z"]]}, {"goto": [["x", 1]]}]
)
def test_what_is_no_record_is_refused(plain: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        TrainingRecord.from_plain("v", plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seeds", "written"), [([], ""), ([3], "3"), ([2, 1, 1, 0, 5, 8, 9], "0-2,5,8-9")]
)
def test_seeds_are_written_as_ranges(seeds: list[int], written: str) -> None:
    assert seed_ranges(seeds) == written
