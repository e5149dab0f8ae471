"""The compose file holds together; nothing of it is run here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from pytest_babyai.gateway import toml_files
from pytest_babyai.gateway.toml_files import read_toml
from pytest_babyai.project import packaged

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_DIR = packaged("config")
TEXT = (CONFIG_DIR / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = ("clickhouse", "gateway", "balancer", "ui")


def texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from texts(value)
    else:
        yield str(tree)


@pytest.mark.parametrize(
    ("service", "image"),
    [
        ("clickhouse", "clickhouse/clickhouse-server"),
        ("migrations", "tensorzero/gateway"),
        ("gateway", "tensorzero/gateway"),
        ("ui", "tensorzero/ui"),
    ],
)
def test_a_service_runs_its_image_in_a_version_of_ones_choice(service: str, image: str) -> None:
    assert re.fullmatch(rf"{image}:\$\{{\w+:-[\w.-]+\}}", SERVICES[service]["image"])


@pytest.mark.parametrize("service", SERVERS)
def test_every_server_is_asked_for_its_health(service: str) -> None:
    check = SERVICES[service]["healthcheck"]

    assert check["test"][0] == "CMD"
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/(health|ping)", check["test"][-1])
    assert check["retries"] > 1


def test_a_server_waits_for_the_health_of_what_it_needs() -> None:
    waits = {
        (service, needed): condition["condition"]
        for service, described in SERVICES.items()
        for needed, condition in described.get("depends_on", {}).items()
    }

    assert waits == {
        ("migrations", "clickhouse"): "service_healthy",
        ("gateway", "clickhouse"): "service_healthy",
        ("gateway", "migrations"): "service_completed_successfully",
        ("balancer", "gateway"): "service_healthy",
        ("ui", "balancer"): "service_healthy",
    }


def test_only_this_machine_reaches_a_port() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 3
    assert all(port.startswith("${BABYAI_BIND_ADDRESS:-127.0.0.1}:") for port in ports)


def test_gateways_can_be_multiplied_as_only_the_balancer_has_their_port() -> None:
    assert "ports" not in SERVICES["gateway"]
    assert "container_name" not in SERVICES["gateway"]
    assert "name gateway" in COMPOSE["configs"]["balancer"]["content"]
    assert SERVICES["balancer"]["configs"][0]["source"] == "balancer"


def test_gateways_read_this_directory_and_cannot_write_it() -> None:
    assert SERVICES["gateway"]["volumes"] == [".:/app/config:ro"]
    option, pattern = SERVICES["gateway"]["command"]
    assert option == "--config-file"
    named = pattern.replace("${BABYAI_MODEL:-openai}", "openai").removeprefix("/app/config/")
    assert named == "{tensorzero,models/openai}.toml"
    assert (CONFIG_DIR / "tensorzero.toml").is_file()
    assert (CONFIG_DIR / "models/openai.toml").is_file()


def test_the_configuration_lets_a_gateway_store() -> None:
    tree = read_toml(CONFIG_DIR / "tensorzero.toml").tree

    assert toml_files.tables(tree, "gateway", "observability").get("enabled") is not False


def test_the_data_outlives_its_container() -> None:
    (volume,) = SERVICES["clickhouse"]["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


def test_no_secret_stands_in_the_file() -> None:
    secrets = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASSWORD|KEY|TOKEN|SECRET", name)
    ]

    assert len(secrets) >= 3
    assert all(re.fullmatch(r"\$\{\w+:[?-][^}]*\}", str(secret)) for secret in secrets)
    for text in texts(COMPOSE):
        assert not re.search(r"://[^/@$]*:[^/@$]+@", text)


def test_a_password_has_to_be_given() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))

    assert required == {"CLICKHOUSE_PASSWORD"}
