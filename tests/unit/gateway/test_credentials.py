"""What of configuration and URLs is secret, and which servers a proxy never sees."""

from __future__ import annotations

import os

import pytest

from pytest_babyai.gateway.credentials import (
    keep_from_proxies,
    public_url,
    secrets_of,
    url_secrets,
    uses_proxies,
)
from pytest_babyai.gateway.failures import Scrubber
from pytest_babyai.journal.redaction import Scrubber as JournalScrubber

TREE = {
    "models": {
        "policy": {
            "providers": {
                "own": {
                    "api_base": "http://user:pass-in-url@host/v1/tok3n-in-the-path/x?key=query-key",
                    "api_key_location": {"default": "env::OWN_VARIABLE", "fallback": "none"},
                    "extra_headers": [{"name": "X-Anything", "value": "header-value"}],
                    "extra_body": [{"pointer": "/api_key", "value": "x"}],
                    "api_key": "literal-key",
                }
            }
        }
    },
    "functions": {
        "act": {
            "variants": {
                "v": {"extra_headers": [{"name": "Authorization", "value": "Bearer q1w2e3r4"}]}
            }
        }
    },
}
SECRETS = {
    "pass-in-url",
    "tok3n-in-the-path",
    "query-key",
    "the value of it",
    "header-value",
    "literal-key",
    "Bearer q1w2e3r4",
    "q1w2e3r4",
}


def test_everything_secret_of_a_configuration_is_found() -> None:
    found = secrets_of(TREE, {"OWN_VARIABLE": "the value of it", "OTHER": "not of the models"})
    assert found == SECRETS


def test_no_secret_is_left_in_an_error_an_answer_or_a_line_of_the_journal() -> None:
    secrets = secrets_of(TREE, {"OWN_VARIABLE": "the value of it"})
    text = f"echoed: {', '.join(SECRETS)}"
    scrub = Scrubber(secrets)
    for clean in (scrub(text), scrub.answer(text), JournalScrubber({}, secrets).text(text)):
        assert not [secret for secret in SECRETS if secret in clean]


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("http://babyai:hunter22@host:8123/db", "hunter22"),
        ("http://token-as-user@host/", "token-as-user"),
        ("http://host/?user=x&password=hunter22", "hunter22"),
        ("http://babyai:hunter22@host:port/db", "hunter22"),
        ("babyai:hunter22@localhost:8123", "hunter22"),
        ("http://babyai:hunt%20er@host/", "hunt er"),
        ("http://babyai:a@b@host/", "a@b"),
    ],
)
def test_what_is_secret_in_a_url_is_found_and_not_shown(url: str, secret: str) -> None:
    assert secret in set(url_secrets(url))
    assert secret not in public_url(url)


@pytest.mark.parametrize(
    ("url", "uses"),
    [
        ("http://127.0.0.1:8123/", False),
        ("http://localhost/", False),
        ("https://localhost/", False),
        ("http://db.example/", False),
        ("https://db.example/", True),
    ],
)
def test_no_password_goes_to_a_proxy(url: str, *, uses: bool) -> None:
    assert uses_proxies(url) is uses


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_where_a_proxy_is_set_the_own_machine_is_excepted(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("no_proxy", "")
    keep_from_proxies(["http://user:password@db.example:8123/", "https://tls.example/"])
    assert os.environ["NO_PROXY"] == "example.org,localhost,127.0.0.1,::1,db.example"
    assert os.environ["no_proxy"] == "localhost,127.0.0.1,::1,db.example"


def test_without_a_proxy_the_environment_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    keep_from_proxies(["http://db.example/"])
    assert "NO_PROXY" not in os.environ
