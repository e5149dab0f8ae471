from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, CredentialsError, SettingsError
from pytest_babyai.gateway.configuration import GatewayConfiguration, read_configuration
from tests.unit.gateway.gateway_fakes import edit, write_config, write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TUNED = """
[functions.act.variants.tuned]
type = "chat_completion"
model = "policy"
json_mode = "off"
templates.user.path = "{template}"
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    return write_config(tmp_path / "config")


def read(config_dir: Path, model: str = "server") -> GatewayConfiguration:
    return read_configuration(config_dir, model, {})


def message_of(error: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_variants_stand_in_the_order_of_the_file(config_dir: Path) -> None:
    assert read(config_dir).variants == ("baseline", "history")


def test_a_model_file_may_declare_variants_with_paths_of_its_own(
    config_dir: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "tuned.minijinja").write_text("{{ observation }}")
    model = write_model(elsewhere / "tuned.toml", api_base="http://127.0.0.1:9/v1")
    model.write_text(model.read_text() + TUNED.format(template="tuned.minijinja"))

    assert read(config_dir, str(model)).variants == ("baseline", "history", "tuned")


def test_the_label_names_model_and_file(config_dir: Path) -> None:
    assert read(config_dir).model_label() == "test-model (server)"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_port_0_of_this_machine_asks_for_a_server(config_dir: Path, host: str) -> None:
    write_model(config_dir / "models" / "offline.toml", api_base=f"http://{host}:0/v1")

    assert read(config_dir, "offline").offline_port == 0


@pytest.mark.parametrize("api_base", ["http://127.0.0.1:8100/v1", "http://x.org:0/v1", "http://[x"])
def test_no_other_address_asks_for_a_server(config_dir: Path, api_base: str) -> None:
    write_model(config_dir / "models" / "other.toml", api_base=api_base)

    assert read(config_dir, "other").offline_port is None


def test_the_address_of_the_started_server_takes_the_place_of_port_0(config_dir: Path) -> None:
    write_model(config_dir / "models" / "offline.toml", api_base="http://127.0.0.1:0/v1")
    configuration = read(config_dir, "offline")

    started = configuration.with_api_base("http://127.0.0.1:4711/v1")

    assert started.offline_port is None
    assert started.tree["models"]["policy"]["providers"]["server"]["api_base"] == (
        "http://127.0.0.1:4711/v1"
    )
    assert configuration.offline_port == 0
    assert started.variant_hashes == configuration.variant_hashes


def test_with_api_base_leaves_real_servers_alone(config_dir: Path) -> None:
    configuration = read(config_dir)

    assert configuration.with_api_base("http://127.0.0.1:1/v1").tree == configuration.tree


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("templates/observation.minijinja", "Now", "You see"),
        ("templates/goal.minijinja", "Goal", "Mission"),
        ("output.json", "thinking", "thoughts"),
        ("user.json", "array", "string"),
        ("models/server.toml", "test-model", "other-model"),
        ("tensorzero.toml", 'json_mode = "off"', 'json_mode = "on"'),
    ],
)
def test_whatever_a_variant_does_changes_its_hash(
    config_dir: Path, file: str, old: str, new: str
) -> None:
    before = read(config_dir).variant_hashes["baseline"]

    edit(config_dir / file, old, new)

    assert read(config_dir).variant_hashes["baseline"] != before


def test_the_template_of_one_variant_leaves_the_others_hash_alone(config_dir: Path) -> None:
    before = read(config_dir).variant_hashes

    edit(config_dir / "templates/history.minijinja", "Now", "You see")

    after = read(config_dir).variant_hashes
    assert after["baseline"] == before["baseline"]
    assert after["history"] != before["history"]


def test_comments_and_places_leave_hashes_alone(config_dir: Path, tmp_path: Path) -> None:
    before = read(config_dir).variant_hashes
    moved = tmp_path / "moved"
    config_dir.rename(moved)
    edit(moved / "tensorzero.toml", "[gateway]", "# a comment\n[gateway]")

    assert read(moved).variant_hashes == before


def test_hashes_have_16_hexadecimal_digits_and_differ(config_dir: Path) -> None:
    hashes = read(config_dir).variant_hashes

    assert {len(value) for value in hashes.values()} == {16}
    assert len(set(hashes.values())) == len(hashes)


def test_keys_leave_no_trace(tmp_path: Path) -> None:
    config_dir = write_config(tmp_path / "config", key="env::MY_KEY")

    with_key = read_configuration(config_dir, "server", {"MY_KEY": "sk-very-secret"})
    with_other = read_configuration(config_dir, "server", {"MY_KEY": "sk-other-secret"})

    assert with_key == with_other
    assert with_key.credential_variables == ("MY_KEY",)
    assert "secret" not in repr(with_key) + with_key.to_toml()


@pytest.mark.parametrize("environ", [{}, {"MY_KEY": ""}])
def test_a_missing_key_is_named_with_its_file_and_a_way_out(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    config_dir = write_config(tmp_path / "config", key="env::MY_KEY")

    configuration = read_configuration(config_dir, "server", environ)
    message = message_of(
        CredentialsError, lambda: configuration.check_playable(["history"], environ)
    )

    assert "MY_KEY" in message
    assert str(config_dir / "models" / "server.toml") in message
    assert "--babyai-model offline" in message


def test_a_gateway_elsewhere_has_keys_of_its_own(tmp_path: Path) -> None:
    config_dir = write_config(tmp_path / "config", key="env::MY_KEY")

    configuration = read_configuration(config_dir, "server", {}, check_credentials=False)

    configuration.check_playable(["history"], {}, has_own_keys=False)
    assert configuration.variants == ("baseline", "history")


def test_a_key_with_a_fallback_needs_one_of_both(tmp_path: Path) -> None:
    config_dir = write_config(tmp_path / "config")
    edit(
        config_dir / "models/server.toml",
        'api_key_location = "none"',
        'api_key_location = { default = "env::FIRST", fallback = "env::SECOND" }',
    )

    configuration = read_configuration(config_dir, "server", {"SECOND": "x"})

    configuration.check_playable(["history"], {"SECOND": "x"})
    assert configuration.credential_variables == ("FIRST", "SECOND")


def test_a_wrong_model_name_is_answered_with_the_nearest(config_dir: Path) -> None:
    assert "did you mean 'server'?" in message_of(SettingsError, lambda: read(config_dir, "sever"))


def test_a_missing_model_file_is_named(config_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"

    assert str(path) in message_of(ConfigurationError, lambda: read(config_dir, str(path)))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    path = tmp_path / "absent"

    assert str(path) in message_of(ConfigurationError, lambda: read(path))


def test_a_directory_without_configuration_is_told(tmp_path: Path) -> None:
    message = message_of(ConfigurationError, lambda: read_configuration(tmp_path, "x.toml", {}))

    assert message == f"{tmp_path / 'tensorzero.toml'}: no such file"


@pytest.mark.parametrize("file", ["tensorzero.toml", "models/server.toml"])
def test_malformed_toml_is_told_with_file_and_line(config_dir: Path, file: str) -> None:
    (config_dir / file).write_text("[models]\na =\n")

    message = message_of(ConfigurationError, lambda: read(config_dir))

    assert message.startswith(f"{config_dir / file}: not valid TOML: ")
    assert "line 2" in message


def test_a_file_that_is_no_text_is_told(config_dir: Path) -> None:
    (config_dir / "tensorzero.toml").write_bytes(b"\xff\xfe")

    assert "not UTF-8" in message_of(ConfigurationError, lambda: read(config_dir))


def test_a_directory_in_place_of_a_file_is_told(config_dir: Path) -> None:
    (config_dir / "tensorzero.toml").unlink()
    (config_dir / "tensorzero.toml").mkdir()

    assert "cannot be read" in message_of(ConfigurationError, lambda: read(config_dir))


def test_a_function_of_another_name_is_told(config_dir: Path) -> None:
    edit(config_dir / "tensorzero.toml", "functions.act", "functions.acting")

    message = message_of(ConfigurationError, lambda: read(config_dir))

    assert str(config_dir / "tensorzero.toml") in message
    assert "no function 'act'" in message


def test_a_function_without_variants_is_told(config_dir: Path) -> None:
    text = (config_dir / "tensorzero.toml").read_text()
    (config_dir / "tensorzero.toml").write_text(text[: text.index("[functions.act.variants")])

    assert "no variants" in message_of(ConfigurationError, lambda: read(config_dir))


def test_a_function_of_another_type_is_refused(config_dir: Path) -> None:
    edit(config_dir / "tensorzero.toml", 'type = "json"', 'type = "speech"')

    assert "'speech'" in message_of(ConfigurationError, lambda: read(config_dir))


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("templates/history.minijinja", "functions.act.variants.history.templates.user.path"),
        ("output.json", "functions.act.output_schema"),
        ("user.json", "functions.act.schemas.user.path"),
    ],
)
def test_a_missing_template_or_schema_is_named_with_its_key(
    config_dir: Path, file: str, key: str
) -> None:
    (config_dir / file).unlink()

    message = message_of(ConfigurationError, lambda: read(config_dir))

    assert message.startswith(f"{config_dir / 'tensorzero.toml'}: {key} names ")
    assert str(config_dir / file) in message


def test_a_missing_include_is_named_with_the_template(config_dir: Path) -> None:
    (config_dir / "templates/goal.minijinja").unlink()

    message = message_of(ConfigurationError, lambda: read(config_dir))

    assert "observation.minijinja: includes 'goal.minijinja'" in message


def test_an_include_may_be_missing_where_the_template_says_so(config_dir: Path) -> None:
    template = config_dir / "templates/observation.minijinja"
    template.write_text('{% include "absent.minijinja" ignore missing %}{{ observation }}')

    assert read(config_dir).variants == ("baseline", "history")


def test_templates_that_include_each_other_are_read_once(config_dir: Path) -> None:
    (config_dir / "templates/goal.minijinja").write_text('{% include "goal.minijinja" %}')

    assert read(config_dir).variants == ("baseline", "history")


def test_a_variant_declared_twice_is_told_with_both_files(config_dir: Path) -> None:
    model = config_dir / "models/server.toml"
    model.write_text(model.read_text() + '[functions.act.variants.history]\nmodel = "x"\n')

    message = message_of(ConfigurationError, lambda: read(config_dir))

    assert message == (
        f"{model}: functions.act.variants.history.model is also set in "
        f"{config_dir / 'tensorzero.toml'}"
    )
