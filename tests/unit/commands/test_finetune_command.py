"""``finetune``: what it takes, where it sends it, and how it refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.commands import finetune, run_command
from pytest_babyai.errors import CredentialsError, SettingsError, UsageError
from pytest_babyai.finetuning.failures import DatasetError, FineTuningError
from pytest_babyai.finetuning.launch import KEY_VARIABLE, REDIRECT_VARIABLE, check_model
from tests.unit.finetuning.finetuning_samples import (
    FakeProvider,
    make_project,
    openai_error,
    play,
    record_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_babyai.finetuning.provider_api import Provider

KEY = "sk-proj-0123456789abcdefSECRET"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """Takes the place of OpenAI."""
    with FakeProvider() as provider:
        provider.states = provider.states[-1:]
        monkeypatch.setenv(KEY_VARIABLE, KEY)
        monkeypatch.setenv(REDIRECT_VARIABLE, provider.url)
        yield provider


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("collected")
    make_project(root)
    run = record_run(root, [play(seed) for seed in range(4)]).run_id
    call(root, "dataset", run, f"-o{root / 'data.jsonl'}")
    return root, run


@pytest.fixture
def root(tmp_path: Path, collected: tuple[Path, str]) -> Path:
    make_project(tmp_path)
    for path in collected[0].glob("data*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def call(root: Path, *arguments: str) -> list[str]:
    return list(run_command([*arguments, f"--root={root}"]))


def refusal(root: Path, *arguments: str, kind: type[UsageError] = SettingsError) -> str:
    with pytest.raises(kind) as caught:
        call(root, "finetune", *arguments)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    return str(caught.value)


def data(root: Path) -> str:
    return str(root / "data.jsonl")


def test_a_file_becomes_a_variant(root: Path, fake: FakeProvider) -> None:
    lines = call(root, "finetune", data(root), "--model=gpt-x", "--epochs=3", "--suffix=mine")

    [(_, body)] = fake.sent("POST", "/openai/fine_tuning/jobs")
    job = json.loads(body)
    assert job["method"]["supervised"]["hyperparameters"] == {"n_epochs": 3}
    assert job["suffix"] == "mine"
    assert lines[-1].endswith("history_and_reasoning,history_and_reasoning_sft")
    assert (root / "config/models/policy_sft.toml").exists()
    assert (root / ".babyai/finetuning/ftjob-abc123.json").exists()


def test_the_variant_can_be_named(root: Path, fake: FakeProvider) -> None:
    del fake
    call(root, "finetune", data(root), "--model=gpt-x", "--name=student")

    manifest = json.loads((root / "config/models/policy_sft.json").read_text())
    assert (manifest["variant"], manifest["parent"]) == ("student", "history_and_reasoning")


def test_a_job_is_resumed_without_the_data(root: Path, fake: FakeProvider) -> None:
    path = "/openai/fine_tuning/jobs/ftjob-abc123"
    fake.answers["GET", path] = 403, openai_error("later")
    refusal(root, data(root), "--model=gpt-x", kind=FineTuningError)
    for file in root.glob("data*"):
        file.unlink()
    fake.answers.clear()

    lines = call(root, "finetune", "--resume")

    assert "policy_sft.toml written" in lines[-2]
    assert len(fake.sent("POST", "/openai/fine_tuning/jobs")) == 1


def test_a_missing_key_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(REDIRECT_VARIABLE, raising=False)

    message = refusal(root, data(root), "--model=gpt-x", kind=CredentialsError)

    assert f"{KEY_VARIABLE} is not set" in message


def test_a_wrong_model_is_told(root: Path, fake: FakeProvider) -> None:
    del fake

    message = refusal(root, data(root), "--model=gpt-z", kind=FineTuningError)

    assert message == "--model: openai has no model 'gpt-z'; did you mean 'gpt-y'?"


def test_a_failed_job_is_told(root: Path, fake: FakeProvider) -> None:
    fake.states = [{"status": "failed", "error": {"message": "Bad data"}}]

    message = refusal(root, data(root), "--model=gpt-x", kind=FineTuningError)

    assert message.startswith("job ftjob-abc123 failed: Bad data")
    assert (root / "data.jsonl").exists()


def test_a_project_with_another_model_has_to_name_one(root: Path) -> None:
    (root / "config/babyai.yml").write_text("model: openai\n")

    assert "--model: name the model to fine-tune" in refusal(root, data(root))


def test_a_directory_without_configuration_is_told(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    with pytest.raises(SettingsError, match="there is no config directory in"):
        call(elsewhere, "finetune", data(root), "--model=gpt-x")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "name a file that 'dataset' wrote, 'store', or --resume"),
        (["data.jsonl", "--resume"], "name a file that 'dataset' wrote, 'store', or --resume"),
        (["data.jsonl", "--epochs=0"], "--epochs: expected a whole number of at least 1"),
        (["data.jsonl", "--seed=x"], "--seed: expected a whole number of at least 0, found 'x'"),
        (["data.jsonl", "--learning-rate-multiplier=0"], "expected a number above 0"),
        (["data.jsonl", "--where=progression>=1"], "give it to the command 'dataset'"),
        (["--resume"], "none was started yet"),
        (["--resume=ftjob-9"], "no job 'ftjob-9'"),
        (["store"], "there is no store in"),
    ],
)
def test_what_is_wrong_is_told(root: Path, arguments: list[str], part: str) -> None:
    assert part in refusal(root, *arguments)


def test_a_file_that_is_not_there_is_told(root: Path) -> None:
    assert "nowhere.jsonl: no such file" in refusal(
        root, str(root / "nowhere.jsonl"), kind=DatasetError
    )


def test_a_key_in_the_environment_reaches_no_file(root: Path, fake: FakeProvider) -> None:
    del fake
    call(root, "finetune", data(root), "--model=gpt-x")

    texts = [path.read_text() for path in root.rglob("*") if path.is_file()]
    assert texts
    assert not any(KEY in text for text in texts)


def test_the_offline_provider_needs_no_key_and_lists_its_models(root: Path) -> None:
    with finetune.provider_opener(root)("offline") as provider:
        check_model("babyai-offline", provider)
        with pytest.raises(FineTuningError, match="offline has no model 'babyai-ofline'"):
            check_model("babyai-ofline", provider)


def test_the_offline_model_is_the_one_of_a_new_project(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def opener(_: Path) -> Callable[[str], AbstractContextManager[Provider]]:
        def refuse(name: str) -> AbstractContextManager[Provider]:
            asked.append(name)
            raise FineTuningError("not now")

        return refuse

    monkeypatch.setattr(finetune, "provider_opener", opener)

    assert refusal(root, data(root), kind=FineTuningError) == "not now"
    assert asked == ["offline"]
