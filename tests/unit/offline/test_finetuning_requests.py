from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_babyai.offline.chat import ApiError
from pytest_babyai.offline.finetuning.api import parse_job_request
from pytest_babyai.offline.finetuning.jobs import JobRequest

NEEDED = {"model": "babyai-offline", "training_file": "file-1"}


def parse(**fields: Any) -> JobRequest:
    return parse_job_request(json.dumps({**NEEDED, **fields}).encode())


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    return {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}


def test_what_is_not_said_is_left_open() -> None:
    assert parse() == JobRequest("babyai-offline", "file-1")


def test_null_and_auto_leave_it_open_too() -> None:
    auto = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier"), "auto")
    said = parse(method=supervised(**auto), suffix=None, seed=None, validation_file=None)
    assert said == parse()


def test_hyperparameters_are_read_at_both_places() -> None:
    old = parse(hyperparameters={"n_epochs": 3, "batch_size": 8})
    new = parse(method=supervised(n_epochs=3, batch_size=8))
    assert (old.num_epochs, old.batch_size) == (new.num_epochs, new.batch_size) == (3, 8)


def test_the_newer_place_is_the_stronger() -> None:
    request = parse(hyperparameters={"n_epochs": 3}, method=supervised(n_epochs=4))
    assert request.num_epochs == 4


def test_suffix_seed_metadata_and_validation_file_are_read() -> None:
    request = parse(suffix="first-try", seed=7, metadata={"a": "b"}, validation_file="file-2")
    assert (request.suffix, request.seed, request.metadata) == ("first-try", 7, {"a": "b"})
    assert request.validation_file == "file-2"


def test_a_learning_rate_multiplier_may_be_a_whole_number() -> None:
    assert parse(method=supervised(learning_rate_multiplier=2)).learning_rate_multiplier == 2.0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"training_file": None}, "training_file"),
        ({"training_file": 3}, "training_file"),
        ({"validation_file": 3}, "validation_file"),
        ({"hyperparameters": [1]}, "hyperparameters"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": "three"}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size"),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "hyperparameters.learning_rate_multiplier",
        ),
        ({"method": {"type": "dpo"}}, "method.type"),
        ({"method": "supervised"}, "method"),
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"suffix": "no blanks"}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"metadata": "x"}, "metadata"),
    ],
)
def test_a_wrong_parameter_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(**fields)
    assert (caught.value.param, caught.value.status) == (param, 400)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError):
        parse_job_request(body)
