"""What OpenAI is sent, against its recorded contract."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import CredentialsError, UsageError
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.launch import KEY_VARIABLE, REDIRECT_VARIABLE, launch
from pytest_babyai.finetuning.provider_api import OPENAI_API, Provider
from tests.unit.finetuning.finetuning_samples import (
    FakeProvider,
    dataset_at,
    multipart_fields,
    openai_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_babyai.finetuning.dataset import Dataset

KEY = "sk-proj-0123456789abcdefSECRET"
FILES = "/openai/files"
JOBS = "/openai/fine_tuning/jobs"


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return dataset_at(tmp_path / "data.jsonl")


def start(fake: FakeProvider, dataset: Dataset, *, api_key: str | None = None, **more: Any) -> Any:
    return launch(dataset, more.pop("model", "gpt-x"), more, fake.provider(api_key))


def refusal(fake: FakeProvider, dataset: Dataset, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        start(fake, dataset, **options)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_the_files_are_uploaded_as_they_stand(
    fake: FakeProvider, dataset: Dataset, tmp_path: Path
) -> None:
    start(fake, dataset)

    uploads = [multipart_fields(headers, body) for headers, body in fake.sent("POST", FILES)]
    assert [fields["purpose"] for fields in uploads] == [(None, "fine-tune")] * 2
    assert {fields["file"][0] for fields in uploads} == {"data.jsonl"}
    sent = {fields["file"][1] for fields in uploads}
    # TensorZero adds a flag about tools behind the messages, and changes nothing else.
    flag = ',"parallel_tool_calls":false}\n'
    assert sent == {
        (tmp_path / name).read_text().replace("}]}\n", f"}}]{flag}")
        for name in ("data.jsonl", "data.validation.jsonl")
    }


def test_a_job_is_asked_for_with_both_files(fake: FakeProvider, dataset: Dataset) -> None:
    handle = start(fake, dataset, n_epochs=2, seed=7, suffix="babyai")

    [(headers, body)] = fake.sent("POST", JOBS)
    job = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert job["model"] == "gpt-x"
    assert {job["training_file"], job["validation_file"]} == {"file-1", "file-2"}
    assert job["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 2}},
    }
    assert (job["seed"], job["suffix"]) == (7, "babyai")
    assert handle["job_id"] == "ftjob-abc123"
    assert handle["job_api_url"] == f"{fake.url}{JOBS}/ftjob-abc123"


def test_other_hyperparameters_are_left_to_the_provider(
    fake: FakeProvider, dataset: Dataset
) -> None:
    start(fake, dataset)

    [(_, body)] = fake.sent("POST", JOBS)
    assert json.loads(body)["method"]["supervised"] == {"hyperparameters": {}}


def test_without_validation_data_one_file_is_uploaded(fake: FakeProvider, tmp_path: Path) -> None:
    start(fake, dataset_at(tmp_path / "whole.jsonl", val_fraction=0.0))

    [(_, body)] = fake.sent("POST", JOBS)
    assert len(fake.sent("POST", FILES)) == 1
    assert json.loads(body)["validation_file"] is None


def test_every_request_carries_the_key(
    fake: FakeProvider, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    handle = start(fake, dataset, api_key=KEY)

    assert {headers["authorization"] for _, _, headers, _ in fake.requests} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps(handle)


def test_the_offline_provider_is_sent_no_key(
    fake: FakeProvider, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    start(fake, dataset, api_key=None)

    assert not any("authorization" in headers for _, _, headers, _ in fake.requests)


@pytest.mark.parametrize("before", [None, "http://elsewhere"])
def test_the_redirection_ends_with_the_launch(
    fake: FakeProvider, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    if before is None:
        monkeypatch.delenv(REDIRECT_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(REDIRECT_VARIABLE, before)

    start(fake, dataset)

    assert os.environ.get(REDIRECT_VARIABLE) == before


def test_a_missing_key_is_told_before_anything_is_sent(dataset: Dataset) -> None:
    with pytest.raises(CredentialsError, match=f"{KEY_VARIABLE} is not set"):
        launch(dataset, "gpt-x", {}, Provider("openai", OPENAI_API, f"{OPENAI_API}/models"))


@pytest.mark.parametrize(
    ("status", "message", "told"),
    [
        (401, f"Incorrect API key provided: {KEY}", "refused the key in OPENAI_API_KEY"),
        (403, "Missing scopes: api.fine_tuning.jobs.read", "refused (403): Missing scopes: api."),
        (503, "Overloaded", "failed (503): Overloaded"),
    ],
)
def test_a_key_without_permission_is_told_before_anything_is_uploaded(
    fake: FakeProvider, dataset: Dataset, status: int, message: str, told: str
) -> None:
    fake.answers["GET", JOBS] = status, openai_error(message)

    assert told in refusal(fake, dataset, api_key=KEY)
    assert fake.sent("POST", FILES) == []


def test_a_wrong_model_is_told_before_anything_is_uploaded(
    fake: FakeProvider, dataset: Dataset
) -> None:
    assert refusal(fake, dataset, model="gpt-xx") == (
        "--model: openai has no model 'gpt-xx'; did you mean 'gpt-x'?"
    )
    assert fake.sent("POST", FILES) == []


def test_a_model_unlike_any_other_is_not_answered_with_all_of_them(
    fake: FakeProvider, dataset: Dataset
) -> None:
    assert refusal(fake, dataset, model="zzz").endswith("see the provider's list of models")


def test_a_key_that_may_not_list_models_is_good_enough(
    fake: FakeProvider, dataset: Dataset
) -> None:
    fake.answers["GET", "/openai/models"] = 403, openai_error("Missing scopes: api.model.read")

    assert start(fake, dataset, model="gpt-unlisted")["job_id"] == "ftjob-abc123"


def test_a_refused_upload_is_told_with_the_providers_reason(
    fake: FakeProvider, dataset: Dataset
) -> None:
    fake.answers["POST", FILES] = 403, openai_error(f"Missing scopes: api.files.write {KEY}")

    message = refusal(fake, dataset, api_key=None)

    assert message.startswith("openai refused the training data: Missing scopes: api.files.write")
    assert fake.sent("POST", JOBS) == []


@pytest.mark.parametrize(
    "answer", [(404, openai_error("The model does not exist")), (502, "<html>Bad gateway</html>")]
)
def test_a_refused_job_is_told(
    fake: FakeProvider, dataset: Dataset, answer: tuple[int, str]
) -> None:
    fake.answers["POST", JOBS] = answer

    assert "can 'gpt-x' be fine-tuned, and may this key do it?" in refusal(fake, dataset)


def test_a_provider_that_is_out_of_reach_is_told(dataset: Dataset) -> None:
    nowhere = "http://127.0.0.1:9"
    provider = Provider("openai", f"{nowhere}/openai", f"{nowhere}/models", None, nowhere)

    with pytest.raises(FineTuningError, match="gave no answer"):
        launch(dataset, "gpt-x", {}, provider)


def test_a_provider_shows_no_key() -> None:
    assert KEY not in repr(Provider("openai", OPENAI_API, OPENAI_API, api_key=KEY))
