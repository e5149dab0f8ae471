"""The network learns: everything that needs PyTorch, without a server."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.unit.offline.finetuning_samples import chats, needs_torch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.offline.finetuning.metrics import StepProgress
    from pytest_babyai.offline.finetuning.model import LanguageModel
    from pytest_babyai.offline.finetuning.train import EncodedChat

pytestmark = needs_torch

if find_spec("torch") is not None:
    import torch

    from pytest_babyai.offline.chat import Question
    from pytest_babyai.offline.finetuning.model import (
        Ask,
        Cache,
        LanguageModel,
        Network,
        NetworkSize,
        generate,
        prompt_mask,
    )
    from pytest_babyai.offline.finetuning.tokenizer import END, PAD, learn_tokenizer, shorten
    from pytest_babyai.offline.finetuning.train import (
        Training,
        TrainingPlan,
        action_accuracy,
        action_of,
        batches,
        choose_batch_size,
        choose_num_epochs,
        encode,
        evaluate,
    )

HELD_OUT, LEARNT = chats()[:24], chats()[24:]


def encoded() -> tuple[list[EncodedChat], NetworkSize]:
    tokenizer = learn_tokenizer([c.messages for c in LEARNT], [c.answer for c in LEARNT])
    return encode(LEARNT, tokenizer, 256), NetworkSize(tokenizer.size, 64, 2, 4)


def trained(num_epochs: int, seed: int = 0) -> Training:
    encoded_chats, size = encoded()
    training = Training(size, encoded_chats, TrainingPlan(num_epochs, 8, seed=seed))
    while training.epoch < num_epochs:
        training.run_epoch(lambda _: None)
    return training


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as these gain nothing by more, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    tokenizer = learn_tokenizer([c.messages for c in LEARNT], [c.answer for c in LEARNT])
    return LanguageModel(tokenizer, trained(20).network, 256, 64)


def test_a_pattern_is_learnt_that_holds_for_combinations_never_seen(model: LanguageModel) -> None:
    answers = model.answer([Question(example.messages) for example in HELD_OUT])
    assert [answer.text for answer in answers] == [example.answer for example in HELD_OUT]
    assert all(answer.is_whole for answer in answers)


def test_accuracy_on_chats_that_it_knows_is_whole(model: LanguageModel) -> None:
    assert action_accuracy(model, HELD_OUT) == 1.0


def test_accuracy_counts_actions_and_not_words(model: LanguageModel) -> None:
    said_otherwise = [c._replace(answer=f'{{"action": "{action_of(c.answer)}"}}') for c in HELD_OUT]
    wrong = [c._replace(answer='{"action": "fly"}') for c in HELD_OUT]
    assert action_accuracy(model, said_otherwise) == 1.0
    assert action_accuracy(model, [*said_otherwise, *wrong]) == 0.5


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ('{"action": "go"}', "go"),
        ('{"act": 1}', '{"act": 1}'),
        ("go", "go"),
        ("[1]", "[1]"),
        ("", ""),
    ],
)
def test_an_answers_action_is_read(text: str, action: str) -> None:
    assert action_of(text) == action


def test_together_and_alone_prompts_get_the_same_answers(model: LanguageModel) -> None:
    questions = [Question(example.messages) for example in HELD_OUT]
    assert model.answer(questions) == [model.answer([question])[0] for question in questions]


def test_drawn_tokens_depend_on_the_seed_alone(model: LanguageModel) -> None:
    def draw(seed: int, beside: int) -> str:
        asked = [Question(HELD_OUT[0].messages, temperature=2.0, seed=seed)]
        others = [Question(c.messages, temperature=2.0, seed=99) for c in HELD_OUT[1 : 1 + beside]]
        return model.answer([*asked, *others])[0].text

    assert draw(1, beside=0) == draw(1, beside=5)
    assert len({draw(seed, beside=0) for seed in range(6)}) > 1


def test_a_prompt_in_a_foreign_tongue_is_answered(model: LanguageModel) -> None:
    asked = HELD_OUT[0].messages[1]._replace(text="où est la poule ? \ud800 " * 200)
    assert len(model.tokenizer.encode_prompt([asked])) > model.max_prompt
    prompt = shorten(model.tokenizer.encode_prompt([asked]), model.max_prompt)
    [written] = generate(model.network, [Ask(prompt, max_tokens=model.max_answer)])
    [answer] = model.answer([Question((asked,))])
    assert answer.text == model.tokenizer.decode(written.ids)


def test_an_answer_that_finds_no_end_is_cut(model: LanguageModel) -> None:
    prompt = model.tokenizer.encode_prompt(HELD_OUT[0].messages)
    [cut] = generate(model.network, [Ask(prompt, max_tokens=2)])
    assert len(cut.ids) == 2
    assert not cut.is_whole


def test_a_kept_model_answers_as_before(model: LanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    questions = [Question(example.messages) for example in HELD_OUT]
    assert LanguageModel.load(tmp_path / "model").answer(questions) == model.answer(questions)


def test_a_model_is_kept_as_a_whole_or_not_at_all(
    model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(OSError, match="No space left"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no model"):
        LanguageModel.load(tmp_path)


def test_the_same_seed_learns_the_same() -> None:
    weights, again, other = (trained(1, seed).network.embedding.weight for seed in (1, 1, 2))
    assert torch.equal(weights, again)
    assert not torch.equal(weights, other)


def test_a_training_taken_up_again_learns_what_it_would_have_learnt(tmp_path: Path) -> None:
    undisturbed = trained(3)
    encoded_chats, size = encoded()
    first = Training(size, encoded_chats, TrainingPlan(3, 8))
    first.run_epoch(lambda _: None)
    torch.save(first.state(), tmp_path / "state")
    second = Training(size, encoded_chats, TrainingPlan(3, 8))
    second.restore(torch.load(tmp_path / "state", weights_only=True))
    while second.epoch < 3:
        second.run_epoch(lambda _: None)
    assert second.step == undisturbed.step
    for mine, theirs in zip(
        second.network.parameters(), undisturbed.network.parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_every_step_of_an_epoch_is_told() -> None:
    encoded_chats, size = encoded()
    training = Training(size, encoded_chats, TrainingPlan(2, 8))
    told: list[StepProgress] = []
    training.run_epoch(told.append)
    assert [item.step for item in told] == list(range(1, 21))
    assert {(item.num_steps, item.epoch) for item in told} == {(40, 1)}
    assert told[-1].loss < told[0].loss


def test_loss_falls_on_chats_that_are_not_learnt() -> None:
    tokenizer = learn_tokenizer([c.messages for c in LEARNT], [c.answer for c in LEARNT])
    kept_back = encode(HELD_OUT, tokenizer, 256)
    (early, _), (late, accuracy) = (evaluate(trained(n).network, kept_back) for n in (1, 12))
    assert late < early
    assert accuracy > 0.8


def test_few_chats_bring_small_batches_and_many_epochs() -> None:
    encoded_chats, _ = encoded()
    assert choose_batch_size(156) < choose_batch_size(8000)
    assert choose_num_epochs(encoded_chats) > choose_num_epochs(encoded_chats * 1000)


def test_a_prompt_is_read_both_ways_and_an_answer_one_way() -> None:
    is_token = torch.tensor([[True, True, True, True, False]])
    assert prompt_mask(is_token, torch.tensor([2]))[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1],
    ]


def test_reading_token_by_token_gives_what_reading_at_once_gives() -> None:
    torch.manual_seed(3)
    network = Network(NetworkSize(50, 32, 2, 4)).eval()
    ids = torch.randint(50, (2, 9))
    is_token = torch.ones(2, 9, dtype=torch.bool)
    with torch.inference_mode():
        at_once = network(ids, prompt_mask(is_token, torch.tensor([5, 5])))[:, -1]
        cache = Cache()
        network(ids[:, :5], prompt_mask(is_token[:, :5], torch.tensor([5, 5])), cache=cache)
        for position in range(5, 9):
            one = ids[:, position : position + 1]
            stepwise = network(one, None, start=position, cache=cache)[:, -1]
    torch.testing.assert_close(stepwise, at_once)


def test_batches_hold_every_chat_once_however_they_are_mixed() -> None:
    encoded_chats, _ = encoded()
    mixed = batches(encoded_chats, 7, random.Random(0))
    answers = sum(int((batch.targets == END).sum()) for batch in mixed)
    assert answers == len(encoded_chats)
    assert max(len(batch.ids) for batch in mixed) == 7


def test_targets_are_the_answers_tokens_alone() -> None:
    [chat, *_] = encoded()[0]
    [batch] = batches([chat], 8)
    assert batch.targets[0][batch.targets[0] >= 0].tolist() == chat.answer
    assert PAD not in batch.ids[0].tolist()


def test_a_prompt_that_is_too_long_loses_its_middle() -> None:
    assert shorten(list(range(100)), 8) == [0, 1, 94, 95, 96, 97, 98, 99]
    assert shorten([1, 2, 3], 8) == [1, 2, 3]
