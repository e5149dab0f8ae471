"""What OpenAI is sent, against its recorded contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_babyai.errors import CredentialsError, UsageError
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.job_records import JobRequest
from pytest_babyai.finetuning.jobs import _start
from pytest_babyai.finetuning.openai import (
    BASE_URL_VARIABLE,
    KEY_VARIABLE,
    OPENAI_API,
    Provider,
    cost_line,
    openai_provider,
    opened,
    provider_of,
)
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


def start(fake: FakeProvider, dataset: Dataset, model: str = "gpt-x", **parameters: Any) -> str:
    with opened(fake.provider(KEY)) as api:
        api.check_model(model)
        request = JobRequest("openai", model, "v", parameters, dataset.card)
        return _start(api, dataset, request).job_id


def refusal(fake: FakeProvider, dataset: Dataset, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        start(fake, dataset, **options)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_the_files_are_uploaded_byte_for_byte(
    fake: FakeProvider, dataset: Dataset, tmp_path: Path
) -> None:
    start(fake, dataset)

    uploads = [multipart_fields(headers, body) for headers, body in fake.sent("POST", FILES)]
    assert [fields["purpose"] for fields in uploads] == [(None, "fine-tune")] * 2
    names = ["data.jsonl", "data.validation.jsonl"]
    assert [fields["file"] for fields in uploads] == [
        (name, (tmp_path / name).read_text()) for name in names
    ]


def test_a_job_is_asked_for_with_both_files(fake: FakeProvider, dataset: Dataset) -> None:
    job_id = start(fake, dataset, n_epochs=2, seed=7, suffix="babyai")

    [(headers, body)] = fake.sent("POST", JOBS)
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "model": "gpt-x",
        "training_file": "file-1",
        "validation_file": "file-2",
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        "seed": 7,
        "suffix": "babyai",
    }
    assert job_id == "ftjob-abc123"


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
    assert "validation_file" not in json.loads(body)


def test_every_request_carries_the_key(fake: FakeProvider, dataset: Dataset) -> None:
    start(fake, dataset)

    assert {headers["authorization"] for _, _, headers, _ in fake.requests} == {f"Bearer {KEY}"}


def test_the_offline_provider_is_sent_no_key(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    with opened(Provider("offline", f"{fake.url}/openai")) as api:
        api.check_model("gpt-x")

    assert fake.requests
    assert not any("authorization" in headers for _, _, headers, _ in fake.requests)


def test_a_proxy_does_not_stand_before_the_offline_server(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    with opened(Provider("offline", f"{fake.url}/openai")) as api:
        api.check_model("gpt-x")


def test_a_missing_key_is_told_before_anything_is_sent() -> None:
    with (
        pytest.raises(CredentialsError, match=f"{KEY_VARIABLE} is not set"),
        opened(openai_provider({})),
    ):
        pass


def test_the_address_is_the_one_of_the_environment() -> None:
    assert openai_provider({}).api_url == OPENAI_API
    assert openai_provider({BASE_URL_VARIABLE: "http://x/v1/"}).api_url == "http://x/v1"


@pytest.mark.parametrize("url", ["no address", "http://[", "ftp://x"])
def test_an_address_that_is_none_is_one_line(url: str) -> None:
    with (
        pytest.raises(FineTuningError) as caught,
        opened(openai_provider({BASE_URL_VARIABLE: url, KEY_VARIABLE: KEY})) as api,
    ):
        api.check_model("gpt-x")
    assert "\n" not in str(caught.value)


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

    assert told in refusal(fake, dataset)
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

    assert start(fake, dataset, model="gpt-unlisted") == "ftjob-abc123"


def test_a_refused_upload_is_told_with_the_providers_reason(
    fake: FakeProvider, dataset: Dataset
) -> None:
    fake.answers["POST", FILES] = 403, openai_error(f"Missing scopes: api.files.write {KEY}")

    message = refusal(fake, dataset)

    assert message.startswith("openai refused (403): Missing scopes: api.files.write")
    assert fake.sent("POST", JOBS) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            (404, openai_error("The model does not exist")),
            "refused (404): The model does not exist",
        ),
        ((502, "<html>Bad gateway</html>"), "failed (502): Bad Gateway"),
        ((200, "<html>"), "gave no answer"),
        ((200, "[]"), "gave no answer of OpenAI's interface"),
    ],
)
def test_a_refused_job_is_told(
    fake: FakeProvider, dataset: Dataset, answer: tuple[int, str], told: str
) -> None:
    fake.answers["POST", JOBS] = answer

    assert told in refusal(fake, dataset)


def test_a_provider_that_is_out_of_reach_is_told() -> None:
    with (
        pytest.raises(FineTuningError, match="gave no answer"),
        opened(Provider("openai", "http://127.0.0.1:9", KEY)) as api,
    ):
        api.check_model("gpt-x")


def test_a_provider_shows_no_key() -> None:
    assert KEY not in repr(Provider("openai", OPENAI_API, api_key=KEY))


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("babyai-offline", "offline"),
        ("babyai-offline-careless", "offline"),
        ("ft:babyai-offline:pytest-babyai::1234", "offline"),
        ("gpt-4.1-nano-2025-04-14", "openai"),
        ("ft:gpt-4.1-nano-2025-04-14:me::1234", "openai"),
    ],
)
def test_a_model_that_only_the_offline_server_has_is_never_sent_to_openai(
    model: str, provider: str
) -> None:
    assert provider_of(model) == provider


@pytest.mark.parametrize(
    ("model", "parameters", "told"),
    [
        # 27 examples of 7 tokens: 189 tokens.
        ("gpt-4.1-nano-2025-04-14", {"n_epochs": 2}, "for about 2 epochs: about $0.00 at list"),
        ("gpt-x", {"n_epochs": 1}, "for about 1 epoch: a price that is not known here"),
        ("gpt-4o-mini", {}, "on 189 tokens for about 4 epochs"),
    ],
)
def test_what_a_job_costs_is_estimated(
    dataset: Dataset, model: str, parameters: dict[str, Any], told: str
) -> None:
    assert told in cost_line(dataset.card, model, parameters)


def test_the_longest_name_decides_the_price(dataset: Dataset) -> None:
    import dataclasses

    million = dataclasses.replace(dataset.card.train, num_tokens=1_000_000)
    card = dataclasses.replace(dataset.card, train=million)

    assert "$1.50" in cost_line(card, "gpt-4.1-nano", {"n_epochs": 1})
    assert "$10.00" in cost_line(card, "gpt-4.1-mini", {"n_epochs": 2})
    assert "$25.00" in cost_line(card, "gpt-4.1-2025-04-14", {"n_epochs": 1})
