"""A fine-tuned model is read beside the chosen one, where it can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, SettingsError
from pytest_babyai.gateway.configuration import GatewayConfiguration, read_configuration
from tests.unit.gateway.gateway_fakes import write_config

if TYPE_CHECKING:
    from pathlib import Path

TUNED = """
[models.policy_sft]
routing = ["openai"]

[models.policy_sft.providers.openai]
type = "openai"
model_name = "ft:gpt-x::abc"
api_key_location = "env::TUNED_KEY"

[functions.act.variants.history_sft]
type = "chat_completion"
model = "policy_sft"
json_mode = "off"
templates.user.path = "../templates/history.minijinja"
"""
PLACEHOLDER = 'api_key_location = "none"\napi_base = "http://127.0.0.1:0/v1"'


def read(config_dir: Path, **environ: str) -> GatewayConfiguration:
    return read_configuration(config_dir, "server", environ)


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return write_config(tmp_path / "config")


def add_tuned(config_dir: Path, text: str = TUNED) -> Path:
    path = config_dir / "models" / "policy_sft.toml"
    path.write_text(text)
    return path


def add_offline(config_dir: Path) -> Path:
    return add_tuned(config_dir, TUNED.replace('api_key_location = "env::TUNED_KEY"', PLACEHOLDER))


def test_its_variant_comes_after_the_others(config_dir: Path) -> None:
    add_tuned(config_dir)

    configuration = read(config_dir, TUNED_KEY="x")

    assert configuration.variants == ("baseline", "history", "history_sft")
    assert configuration.credential_variables == ("TUNED_KEY",)
    assert configuration.unusable_variants == {}


def test_everything_else_is_as_without_it(config_dir: Path) -> None:
    before = read(config_dir)
    add_tuned(config_dir)

    after = read(config_dir, TUNED_KEY="x")

    assert after.model_label(before.variants) == before.model_label()
    assert after.model_file == before.model_file
    assert {name: after.variant_hashes[name] for name in before.variants} == before.variant_hashes


def test_its_templates_are_relative_to_its_file(config_dir: Path) -> None:
    add_tuned(config_dir)

    parts = read(config_dir, TUNED_KEY="x").variant_parts

    assert parts["history_sft"]["template user"] == parts["history"]["template user"]


def test_its_hash_covers_its_model(config_dir: Path) -> None:
    path = add_tuned(config_dir)
    before = read(config_dir, TUNED_KEY="x").variant_hashes

    path.write_text(TUNED.replace("::abc", "::def"))

    after = read(config_dir, TUNED_KEY="x").variant_hashes
    assert after["history_sft"] != before["history_sft"]
    assert after["history"] == before["history"]


def test_without_its_key_it_is_left_out_and_the_reason_kept(config_dir: Path) -> None:
    path = add_tuned(config_dir)

    configuration = read(config_dir)

    assert configuration.variants == ("baseline", "history")
    assert configuration.unusable_variants == {
        "history_sft": f"{path}: the environment variable TUNED_KEY is not set; set it "
        "(export TUNED_KEY=...) to play the fine-tuned model"
    }
    assert "policy_sft" not in configuration.to_toml()


def test_a_gateway_elsewhere_has_its_key(config_dir: Path) -> None:
    add_tuned(config_dir)

    configuration = read_configuration(config_dir, "server", {}, check_credentials=False)

    assert "history_sft" in configuration.variants


def test_an_offline_one_is_sent_to_the_server_that_is_started(config_dir: Path) -> None:
    add_offline(config_dir)
    configuration = read(config_dir)
    assert configuration.offline_port == 0

    reachable = configuration.with_api_base("http://127.0.0.1:4321/v1")

    assert reachable.offline_port is None
    assert 'model_name = "ft:gpt-x::abc"' in reachable.to_toml()
    assert 'api_base = "http://127.0.0.1:4321/v1"' in reachable.to_toml()
    assert 'api_base = "http://127.0.0.1:9/v1"' in reachable.to_toml()
    assert reachable.variant_hashes == configuration.variant_hashes


def test_it_is_no_model_to_choose(config_dir: Path) -> None:
    add_offline(config_dir)

    with pytest.raises(SettingsError, match="plays beside another one"):
        read_configuration(config_dir, "policy_sft", {})


def test_it_is_not_suggested_as_a_model(config_dir: Path) -> None:
    add_offline(config_dir)

    with pytest.raises(SettingsError) as caught:
        read_configuration(config_dir, "zzz", {})

    assert "choose from compatible, offline" in str(caught.value)
    assert "policy_sft" not in str(caught.value)


def test_a_damaged_one_is_named(config_dir: Path) -> None:
    path = add_tuned(config_dir, "[models\n")

    with pytest.raises(ConfigurationError, match="not valid TOML") as caught:
        read(config_dir)

    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("old", "new", "key", "other"),
    [
        ("history_sft", "history", "functions.act.variants.history.json_mode", "tensorzero.toml"),
        ("models.policy_sft", "models.policy", "models.policy.routing", "models/server.toml"),
    ],
)
def test_what_is_declared_twice_is_told_with_both_files(
    config_dir: Path, old: str, new: str, key: str, other: str
) -> None:
    text = TUNED.replace(f"{old}]", f"{new}]").replace(f"{old}.", f"{new}.")
    if old == "history_sft":
        text = text.replace('type = "chat_completion"\nmodel = "policy_sft"\n', "")
    path = add_tuned(config_dir, text)

    with pytest.raises(ConfigurationError) as caught:
        read(config_dir, TUNED_KEY="x")

    assert str(caught.value) == f"{path}: {key} is also set in {config_dir / other}"


def test_a_missing_template_is_named_with_its_file(config_dir: Path) -> None:
    path = add_tuned(config_dir, TUNED.replace("history.minijinja", "absent.minijinja"))

    with pytest.raises(ConfigurationError) as caught:
        read(config_dir, TUNED_KEY="x")

    assert str(caught.value).startswith(f"{path}: functions.act.variants.history_sft.templates")


def test_templates_can_be_read_without_any_model(config_dir: Path) -> None:
    (config_dir / "models" / "server.toml").unlink()

    configuration = read_configuration(config_dir, None, {})

    assert configuration.variants == ("baseline", "history")
    assert configuration.is_offline(configuration.variants)
    assert "template user" in configuration.variant_parts["history"]
