"""What the README says of the settings is what the code knows."""

from __future__ import annotations

from pathlib import Path

from pytest_babyai.settings.definitions import DEFINITIONS, SettingDefinition

README = Path(__file__).parents[2] / "README.md"


def row(definition: SettingDefinition) -> str:
    flag = f"`{definition.flag}={definition.metavar}`".replace("|", "\\|")
    return f"| {f'*{flag}*' if definition.marker else flag} | {definition.help} |"


def settings_table() -> str:
    return "\n".join(["| option | meaning |", "|---|---|", *map(row, DEFINITIONS)])


def test_the_readme_lists_every_setting() -> None:
    assert settings_table() in README.read_text(encoding="utf-8"), settings_table()
