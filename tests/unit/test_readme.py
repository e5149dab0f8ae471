"""What the README says of the settings is what the code knows."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from pytest_babyai.settings.definitions import DEFINITIONS, SettingDefinition

README = Path(__file__).parents[2] / "README.md"


def row(definition: SettingDefinition) -> str:
    flag = f"`{definition.flag}={definition.metavar}`".replace("|", "\\|")
    return f"| {f'*{flag}*' if definition.marker else flag} | {definition.help} |"


def settings_table() -> str:
    return "\n".join(["| option | meaning |", "|---|---|", *map(row, DEFINITIONS)])


def test_the_readme_lists_every_setting() -> None:
    assert settings_table() in README.read_text(encoding="utf-8"), settings_table()


def test_every_option_that_is_named_exists() -> None:
    named = set(re.findall(r"--babyai-[a-z]+(?:-[a-z]+)*", README.read_text(encoding="utf-8")))

    assert named <= {definition.flag for definition in DEFINITIONS}


def test_the_workflow_is_well_formed() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (workflow,) = (yaml.safe_load(block) for block in blocks if "runs-on" in block)

    commands = [step["run"] for step in workflow["jobs"]["evals"]["steps"] if "run" in step]
    assert any(command.startswith("pytest evals ") for command in commands)
