from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_babyai.errors import (
    BabyAIError,
    ConfigurationError,
    ContextOverflowError,
    CredentialsError,
    GatewayError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestTimeoutError,
)
from pytest_babyai.gateway.failures import Scrubber, inference_failure, requested_wait_s


def failure_of(
    message: str, status: int | None = 500, secrets: tuple[str, ...] = ()
) -> BabyAIError:
    text = json.dumps({"error": message}) if status else message
    variants = ("baseline", "history")
    return inference_failure(status, text, variants=variants, scrub=Scrubber(secrets))


def provider_failure(*parts: str) -> Any:
    return failure_of(f"All model providers failed to infer with errors: {', '.join(parts)}")


@pytest.mark.parametrize(
    ("body", "wait_s"),
    [
        ("Rate limit reached. Please try again in 20ms. Visit x", 0.02),
        ("Please try again in 1.5s.", 1.5),
        ("Please try again in 1m2.5s", 62.5),
        ("try again in 2h1m", 7260.0),
        ("Please retry after 20 seconds.", 20.0),
        ("retry after 500 milliseconds", 0.5),
        ("wait; retrying in 5 minutes", 300.0),
        ('{"details": [{"retryDelay": "7s"}]}', 7.0),
        ('{"retry_after": 3}', 3.0),
        ('{"retry_after_ms": 250}', 0.25),
        ("Retry-After: 12", 12.0),
        ("slow down", None),
        ("limit 30 requests", None),
    ],
)
def test_a_requested_wait_is_read_from_the_message(body: str, wait_s: float | None) -> None:
    assert requested_wait_s(body) == pytest.approx(wait_s)


@pytest.mark.parametrize("status", [400, 422])
def test_a_refused_request_is_not_worth_repeating(status: int) -> None:
    failure = provider_failure(f"p: Error {status} Some Reason from openai client: no")

    assert isinstance(failure, ProviderError)
    assert (failure.retryable, failure.provider_status) == (False, status)


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}',
        '{"error": {"message": "model \\"x\\" not found, try pulling it first"}}',
        '{"detail":"Not Found"}',
        "404 page not found",
        '{"object":"error","type":"NotFoundError","code":404}',
    ],
)
def test_a_model_that_is_not_there_is_not_worth_repeating(body: str) -> None:
    assert not provider_failure(f"p: Error from openai server: {body}").retryable


def test_an_exhausted_quota_is_not_worth_repeating() -> None:
    failure = provider_failure(
        "p: Error 429 Too Many Requests from openai client: "
        '{"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}'
    )

    assert isinstance(failure, QuotaError)


@pytest.mark.parametrize(
    "body",
    [
        (
            "Rate limit reached on requests per min: Limit 3, Used 3. Please try again in 20s. "
            "Visit https://platform.openai.com/account/billing to add a payment method."
        ),
        "You exceeded your current quota, please check your plan. Please retry in 20.0s.",
        "Too many requests, please wait for 20 seconds",
        "Your limit resets in 0m20s",
    ],
)
def test_a_429_that_names_a_wait_is_waited_for_whatever_else_it_says(body: str) -> None:
    failure = provider_failure(
        f"p: Error 429 Too Many Requests from openai client: {json.dumps({'error': body})}"
    )
    assert isinstance(failure, RateLimitError)
    assert (failure.retryable, failure.retry_after_s) == (True, 20.0)


@pytest.mark.parametrize(
    "part",
    [
        'p: Error from openai server: {"error": {"message": "Insufficient credits", "code": 402}}',
        'p: Error from openai server: {"error": {"message": "Insufficient Balance"}}',
        (
            'p: Error 400 Bad Request from anthropic client: {"error": {"message": '
            '"Your credit balance is too low to access the API"}}'
        ),
    ],
)
def test_an_account_without_credit_ends_the_run(part: str) -> None:
    failure = provider_failure(part)
    assert isinstance(failure, QuotaError)
    assert "no credit left" in str(failure)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_ends_the_run(status: int) -> None:
    failure = provider_failure(f"p: Error {status} Some Reason from openai client: no")
    assert isinstance(failure, CredentialsError)
    assert str(failure) == f"openai refused the credentials ({status}): no"


@pytest.mark.parametrize(
    "body",
    [
        (
            '{"error": {"message": "The maximum context length is 8192 tokens. However, you '
            'requested 9000", "code": "context_length_exceeded"}}'
        ),
        '{"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}}',
        '{"error": {"message": "the request exceeds the available context size"}}',
    ],
)
def test_a_prompt_that_no_longer_fits_is_no_failure_of_the_infrastructure(body: str) -> None:
    failure = provider_failure(f"p: Error 400 Bad Request from openai client: {body}")
    assert isinstance(failure, ContextOverflowError)


def test_a_server_that_knows_no_json_mode_names_it() -> None:
    failure = provider_failure(
        "p: Error 400 Bad Request from openai client: "
        '{"error": {"message": "response_format.type must be text"}}'
    )
    assert isinstance(failure, ConfigurationError)
    assert "json_mode" in str(failure)


def test_one_provider_of_several_that_may_recover_makes_it_worth_repeating() -> None:
    failure = provider_failure(
        "p: Error 401 Unauthorized from openai client: no",
        "q: Error 429 Too Many Requests from vllm client: slow",
    )

    assert isinstance(failure, RateLimitError)
    assert failure.retryable


def test_a_failure_that_the_gateway_repeated_itself_is_seen_through() -> None:
    once = (
        "All model providers failed to infer with errors: "
        "p: Error 429 Too Many Requests from openai client: slow"
    )

    assert isinstance(failure_of(f"All retries failed with errors: {once}, {once}"), RateLimitError)


def test_a_limit_of_the_model_file_is_a_timeout() -> None:
    failure = provider_failure("p: Model provider p timed out due to configured `total_ms` (9ms)")

    assert isinstance(failure, RequestTimeoutError)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (408, RequestTimeoutError, "Model policy timed out due to configured timeout (300ms)"),
        (429, RateLimitError, "TensorZero rate limit exceeded"),
        (500, GatewayError, "something of its own"),
        (502, GatewayError, "Bad Gateway"),
        (401, CredentialsError, "API key is required"),
        (404, ConfigurationError, "Unknown function: act"),
        (400, ConfigurationError, "JSON Schema validation failed"),
        (500, ConfigurationError, "Error rendering template x.minijinja: undefined value"),
        (None, RequestTimeoutError, "HTTP Error: request timed out"),
        (None, GatewayError, "error sending request for url (http://127.0.0.1:9/inference)"),
    ],
)
def test_what_the_gateway_says_itself_has_a_type(
    status: int | None, error: type[BabyAIError], message: str
) -> None:
    assert type(failure_of(message, status)) is error


def test_an_unknown_variant_is_answered_with_the_nearest() -> None:
    failure = failure_of("Unknown variant: basline", 404)

    assert isinstance(failure, ConfigurationError)
    assert str(failure).endswith("did you mean 'baseline'?")


def test_a_key_that_is_missing_at_the_first_call_is_named() -> None:
    failure = failure_of(
        "All model providers failed to infer with errors: openai: API key missing for provider "
        "OpenAI: Environment variable `OPENAI_API_KEY` is missing"
    )

    assert isinstance(failure, CredentialsError)
    assert "export OPENAI_API_KEY=" in str(failure)


def test_an_answer_that_is_no_json_is_shown_as_it_is() -> None:
    failure = inference_failure(502, "Bad\nGateway", variants=(), scrub=Scrubber())

    assert str(failure) == "the gateway answered 502: Bad Gateway"


def test_a_page_is_told_by_its_text() -> None:
    page = "the answer: <html><style>p {}</style><p>Sign\nin</p></html>"

    assert Scrubber()(page) == "an HTML page: the answer: Sign in"


@pytest.mark.parametrize(
    "text",
    [
        "key my-own-secret refused",
        "Incorrect API key provided: sk-proj-abcd1234efgh",
        "Authorization: Bearer abc.def-ghi",
        "sk-abcd****************wxyz is wrong",
    ],
)
def test_keys_are_masked(text: str) -> None:
    scrubbed = Scrubber(["my-own-secret"])(text)

    assert "***" in scrubbed
    for secret in ("my-own-secret", "abcd1234", "abc.def-ghi", "wxyz"):
        assert secret not in scrubbed


def test_a_key_cut_off_by_shortening_is_masked_first() -> None:
    scrubbed = Scrubber(["x" * 50])("a" * 190 + "x" * 50)

    assert "xx" not in scrubbed


def test_an_empty_key_masks_nothing() -> None:
    assert Scrubber([""])("all is well") == "all is well"


def test_long_text_becomes_one_short_line() -> None:
    scrubbed = Scrubber()("word\n" * 100)

    assert len(scrubbed) == 200
    assert "\n" not in scrubbed
