"""What goes out where answers may be cached, and how a cached one is read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_babyai.gateway.arguments import ActFunction
from pytest_babyai.gateway.inference import (
    NO_CACHE,
    CacheOptions,
    InferenceRequest,
    episode_tags,
)
from pytest_babyai.gateway.wire import (
    MODEL_HEADER,
    OCCASION_HEADER,
    inference_arguments,
    inference_of,
)
from pytest_babyai.records import EpisodeSpec, Usage
from tests.unit.gateway.gateway_fakes import request


def response(raw_response: list[Any] | None) -> Any:
    return SimpleNamespace(
        inference_id="id",
        output=SimpleNamespace(raw="{}", parsed={"action": "drop"}),
        finish_reason=None,
        usage=SimpleNamespace(input_tokens=0, output_tokens=0, cost=0.0),
        raw_response=raw_response,
    )


def occasion_of(asked: InferenceRequest) -> str:
    arguments = inference_arguments(asked, CacheOptions("on"))
    (header,) = arguments["extra_headers"]
    assert header["name"] == OCCASION_HEADER
    return str(header["value"])


def test_nothing_is_said_of_a_cache_that_is_off() -> None:
    arguments = inference_arguments(request(occasion="baseline-goto-200#3"), NO_CACHE)

    assert not {"cache_options", "extra_headers"} & arguments.keys()


@pytest.mark.parametrize("mode", ["on", "read_only", "write_only"])
def test_the_mode_is_handed_on(mode: str) -> None:
    assert inference_arguments(request(), CacheOptions(mode))["cache_options"] == {"enabled": mode}


def test_the_models_of_a_variant_are_part_of_the_key() -> None:
    function = ActFunction(model_hashes={"baseline": "ab12"})

    arguments = inference_arguments(request(), CacheOptions("on"), function)

    assert arguments["extra_headers"] == [{"name": MODEL_HEADER, "value": "ab12"}]


def test_a_cached_answer_may_be_bounded_in_age() -> None:
    arguments = inference_arguments(request(), CacheOptions("on", max_age_s=60))

    assert arguments["cache_options"] == {"enabled": "on", "max_age_s": 60}


def test_the_same_occasion_has_the_same_key_and_another_one_another() -> None:
    first, again, later = (
        occasion_of(request(occasion=text)) for text in ("a-goto-1#0", "a-goto-1#0", "a-goto-1#1")
    )

    assert first == again
    assert first != later


def test_the_name_of_a_variant_need_not_be_fit_for_a_header() -> None:
    assert occasion_of(request(occasion="vielfältig\n-goto-200#0")).isalnum()


def test_an_empty_raw_answer_tells_a_cached_one() -> None:
    inference = inference_of(response([]), 1.0, may_be_cached=True)

    assert inference.cached
    assert inference.usage == Usage(None, None, 0.0)


@pytest.mark.parametrize("raw_response", [[{"data": "{}"}], None])
def test_an_answer_of_the_model_keeps_the_usage_that_is_told(
    raw_response: list[Any] | None,
) -> None:
    inference = inference_of(response(raw_response), 1.0, may_be_cached=True)

    assert not inference.cached
    assert inference.usage == Usage(0, 0, 0.0)


def test_what_cannot_be_cached_is_never_taken_for_it() -> None:
    assert not inference_of(response([]), 1.0, may_be_cached=False).cached


@pytest.mark.parametrize(
    ("seed", "split"), [(0, "train"), (199, "train"), (200, "evaluation"), (5000, "evaluation")]
)
def test_the_seed_decides_the_split(seed: int, split: str) -> None:
    tags = episode_tags(EpisodeSpec("history", "open", seed))

    assert tags == {"variant": "history", "task": "open", "seed": str(seed), "split": split}
