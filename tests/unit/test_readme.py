"""What the README says of the settings is what the code knows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from pytest_babyai.commands import options_of
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


def workflows() -> list[Any]:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [yaml.safe_load(block) for block in blocks if "runs-on" in block]


def commands_of(job: Any) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def test_the_workflow_is_well_formed() -> None:
    workflow, _ = workflows()

    commands = commands_of(workflow["jobs"]["evals"])
    assert any(command.startswith("pytest evals ") for command in commands)


def test_the_matrix_plays_all_shards_and_judges_the_commands_that_there_are() -> None:
    _, workflow = workflows()
    play, judge = workflow["jobs"]["play"], workflow["jobs"]["judge"]
    shards = play["strategy"]["matrix"]["shard"]

    assert any(
        f"--babyai-shard=${{{{ matrix.shard }}}}/{len(shards)}" in c for c in commands_of(play)
    )
    assert shards == [1, 2, 3, 4]
    words = [shlex.split(command) for command in commands_of(judge)]
    ours = [line[3:] for line in words if line[:3] == ["python", "-m", "pytest_babyai"]]
    assert [line[0] for line in ours] == ["merge", "report", "judge"]
    for line in ours:
        assert options_of(line).root == Path()
