"""No secret in any byte."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.journal import Entry, Scrubber
from tests.unit.journal.journal_samples import entry, failure, key, manifest, result, session, step

SECRETS = st.text(
    st.sampled_from(string.ascii_letters + string.digits + '"\\/+=&%: é€\n'), min_size=6
).map(lambda text: f"p4:{text}:q".strip())


def forms(secret: str) -> set[bytes]:
    return {secret.encode(), json.dumps(secret)[1:-1].encode()}


@given(SECRETS)
def test_no_secret_of_the_environment_is_in_a_line(secret: str) -> None:
    text = f"before {secret} after"
    leaking = step(output=text, thinking=secret, candidate=text, observation=text)
    outcomes = [
        result(key(), mission=text, failed_candidates=(text, secret), steps=(leaking,)),
        failure(key(), message=text, steps=(leaking,)),
    ]
    scrubber = Scrubber({"SOME_API_KEY": secret})

    for outcome in outcomes:
        line = entry(outcome=outcome, nodeid=text, model_label=text).to_line(scrubber)
        assert not any(form in line for form in forms(secret))
        assert Entry.from_line(line).key == key()


@given(SECRETS)
def test_no_secret_of_the_environment_is_in_a_manifest(secret: str) -> None:
    leaking = session(
        command_line=("pytest", secret, f"--url={secret}"),
        settings={"model": secret, secret: [{"deep": (secret,)}]},
        notes={"said": f"<{secret}>", "key": secret},
    )
    scrubber = Scrubber({"db_password": f" {secret}\n"})

    written = manifest(sessions=(leaking,), model_label=secret).to_json(scrubber)

    assert not any(form in written for form in forms(secret))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key sk-proj-abcdefgh1234 was refused", "key [redacted] was refused"),
        ("Authorization: Bearer abc.def-ghi=", "Authorization: Bearer [redacted]"),
        ("http://user:hunter2@host/v1", "http://user:[redacted]@host/v1"),
        ("http://:hunter2@host/v1", "http://:[redacted]@host/v1"),
        ("a desk-lamp at http://host:80/x, me@home", "a desk-lamp at http://host:80/x, me@home"),
    ],
)
def test_what_looks_like_a_secret_is_one(text: str, clean: str) -> None:
    assert Scrubber({}).text(text) == clean


def test_a_key_that_a_model_repeats_is_not_written() -> None:
    leaking = result(key(), steps=(step(output="my key is sk-abcdefghij"),))

    line = entry(outcome=leaking).to_line(Scrubber({}))

    assert Entry.from_line(line).outcome.steps[0].output == "my key is [redacted]"


@pytest.mark.parametrize("value", ["", "false", "ollama", "1000"])
def test_values_that_are_no_secrets_stay(value: str) -> None:
    assert Scrubber({"TOKENIZERS_PARALLELISM": value}).text(f"x{value}x") == f"x{value}x"


def test_each_line_of_a_private_key_is_a_secret() -> None:
    scrubber = Scrubber({"PRIVATE_KEY": "-----BEGIN-----\nMIIEvQIBADAN\n-----END-----"})

    assert scrubber.text("echo MIIEvQIBADAN") == "echo [redacted]"


def test_an_url_quoted_secret_is_found() -> None:
    assert Scrubber({"A_TOKEN": "a b/c=d&e"}).text("?t=a%20b%2Fc%3Dd%26e") == "?t=[redacted]"


def test_a_secret_that_begins_as_another_goes_as_a_whole() -> None:
    scrubber = Scrubber({"A_KEY": "abcdefgh1", "B_KEY": "abcdefgh1-and-more"})

    assert scrubber.text("<abcdefgh1-and-more>") == "<[redacted]>"


def test_other_variables_are_no_secrets() -> None:
    assert Scrubber({"HOME": "/home/somebody"}).text("/home/somebody") == "/home/somebody"


def test_a_value_named_as_a_secret_is_one() -> None:
    settings = {"api_key": "abc", "max_tokens": 500, "nested": [{"password": "x", "user": "me"}]}

    assert Scrubber({}).plain(settings) == {
        "api_key": "[redacted]",
        "max_tokens": 500,
        "nested": [{"password": "[redacted]", "user": "me"}],
    }


def test_options_named_as_secrets_lose_their_values() -> None:
    typed = ["pytest", "--api-key=abc", "--token", "abc", "--babyai-max-tokens=500", "-x"]

    assert Scrubber({}).arguments(typed) == (
        "pytest",
        "--api-key=[redacted]",
        "--token",
        "[redacted]",
        "--babyai-max-tokens=500",
        "-x",
    )


def test_a_secret_does_not_touch_what_decides_about_reuse() -> None:
    line = entry().to_line(Scrubber({"ODD_KEY": "baseline", "ODDER_KEY": "turn right"}))

    read = Entry.from_line(line)

    assert read.key == key()
    assert [one.action for one in read.outcome.steps] == ["turn right", "go forward"]
