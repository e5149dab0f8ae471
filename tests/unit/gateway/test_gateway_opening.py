from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_babyai.errors import (
    ConfigurationError,
    CredentialsError,
)
from pytest_babyai.gateway.client import import_tensorzero, open_gateway
from tests.unit.gateway.gateway_fakes import (
    FakeProvider,
    configuration_of,
    edit,
    request,
    write_config,
)

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "name", ["x[a-b]0", "sp ace", "br{a,b}ace", "st*r", "qu?stion", "back\\slash", "com,ma", "ü"]
)
async def test_a_configuration_may_lie_in_any_directory(
    tmp_path: Path, provider: FakeProvider, name: str
) -> None:
    config_dir = write_config(tmp_path / name, api_base=provider.api_base)
    gateway = await open_gateway(configuration_of(config_dir))

    assert (await gateway.infer(request())).action == "go forward"

    await gateway.close()


async def test_a_model_file_may_lie_elsewhere_and_the_working_directory_too(
    config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (config_dir / "models/server.toml").rename(elsewhere / "mine.toml")
    (elsewhere / "tuned.minijinja").write_text("tuned: {{ observation }}")
    with (elsewhere / "mine.toml").open("a") as file:
        file.write('[functions.act.variants.tuned]\ntype = "chat_completion"\nmodel = "policy"\n')
        file.write('json_mode = "off"\ntemplates.user.path = "tuned.minijinja"\n')
    monkeypatch.chdir(tmp_path)
    gateway = await open_gateway(configuration_of(Path("config"), "else where/mine.toml"))

    assert (await gateway.infer(request(variant="tuned"))).action == "go forward"

    await gateway.close()


async def test_a_started_server_is_asked_in_place_of_port_0(
    tmp_path: Path, provider: FakeProvider
) -> None:
    config_dir = write_config(tmp_path / "config", api_base="http://127.0.0.1:0/v1")
    configuration = configuration_of(config_dir).with_api_base(provider.api_base)
    gateway = await open_gateway(configuration)

    assert (await gateway.infer(request())).action == "go forward"

    await gateway.close()


async def test_port_0_without_a_started_server_is_refused(tmp_path: Path) -> None:
    config_dir = write_config(tmp_path / "config", api_base="http://127.0.0.1:0/v1")

    with pytest.raises(ConfigurationError, match=r"server\.toml: api_base has port 0"):
        await open_gateway(configuration_of(config_dir))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("models/server.toml", "model_name", "modelname", "unknown field `modelname`"),
        ("models/server.toml", '"openai"', '"opanai"', "unknown variant `opanai`"),
        ("tensorzero.toml", "json_mode", "jsonmode", "jsonmode"),
        ("tensorzero.toml", "enabled = false", "enabled = true", "TENSORZERO_CLICKHOUSE_URL"),
        ("output.json", '"object"', '"objekt"', "JSON Schema"),
        ("templates/history.minijinja", "{% endfor %}", "{% end %}", "history.minijinja"),
    ],
)
async def test_what_tensorzero_refuses_is_one_line_with_the_file(
    config_dir: Path, file: str, old: str, new: str, told: str
) -> None:
    edit(config_dir / file, old, new)

    with pytest.raises(ConfigurationError) as caught:
        await open_gateway(configuration_of(config_dir))

    message = str(caught.value)
    named = file if file.startswith("models") and "not found" not in told else "tensorzero.toml"
    assert message.startswith(f"{config_dir / named}: ")
    assert told in message
    assert "\n" not in message
    assert "ConfigFileGlob" not in message


async def test_a_key_that_tensorzero_misses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config_dir = write_config(tmp_path / "config")
    edit(config_dir / "models/server.toml", 'api_key_location = "none"', "")

    with pytest.raises(CredentialsError, match=r"server\.toml: OpenAI needs .* OPENAI_API_KEY"):
        await open_gateway(configuration_of(config_dir))


async def test_tensorzero_is_imported_without_a_trace_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RUST_LOG", raising=False)

    import_tensorzero()

    assert "RUST_LOG" not in os.environ


SILENT = """
import asyncio, sys
from pathlib import Path
from pytest_babyai.errors import ProviderError
from pytest_babyai.gateway.client import open_gateway
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.inference import InferenceRequest, new_episode_id

async def main():
    gateway = await open_gateway(read_configuration(Path(sys.argv[1]), "server", {}))
    try:
        await gateway.infer(InferenceRequest("baseline", new_episode_id(), "m", "o"))
    except ProviderError:
        pass
    await gateway.close()

asyncio.run(main())
"""


async def test_the_gateway_writes_nothing_and_ends_well(tmp_path: Path) -> None:
    config_dir = write_config(tmp_path / "config")
    command = [sys.executable, "-W", "error", "-c", SILENT, str(config_dir)]

    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
