from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ConfigurationError, SettingsError
from pytest_babyai.finetuning.clients import embedded_client
from pytest_babyai.gateway.configuration import read_configuration
from tests.unit.finetuning.finetuning_samples import configuration_of, make_project

if TYPE_CHECKING:
    from pathlib import Path


def test_a_closed_client_is_let_go(tmp_path: Path) -> None:
    with embedded_client(configuration_of(make_project(tmp_path))) as opened:
        assert opened.client is not None

    assert opened.client is None


def test_no_key_of_a_model_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_dir = make_project(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    configuration = read_configuration(config_dir, "openai", {}, check_credentials=False)
    with embedded_client(configuration) as opened:
        assert opened.client is not None


def test_a_template_that_tensorzero_refuses_is_told(tmp_path: Path) -> None:
    config_dir = make_project(tmp_path)
    configuration = configuration_of(config_dir)
    (config_dir / "functions/act/user/observation.minijinja").write_text("{% if %}")

    with pytest.raises(ConfigurationError, match="observation"), embedded_client(configuration):
        pass


def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    configuration = configuration_of(make_project(tmp_path))

    with (
        pytest.raises(SettingsError, match="no URL of ClickHouse"),
        embedded_client(configuration, "ftp://somewhere"),
    ):
        pass
