"""The packaged starting set, and the command that copies it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_babyai.__main__ import main
from pytest_babyai.errors import SettingsError
from pytest_babyai.project import create_project, find_config, packaged

if TYPE_CHECKING:
    from pathlib import Path


def test_a_new_project_has_configuration_and_suite(tmp_path: Path) -> None:
    created = create_project(tmp_path)

    names = {str(path.relative_to(tmp_path)) for path in created.written}
    assert {"config/tensorzero.toml", "config/babyai.yml", "evals/test_babyai.py"} <= names
    assert all(path.is_file() for path in created.written)
    assert created.left == []


def test_a_new_project_is_a_root_of_pytest_s(tmp_path: Path) -> None:
    assert tmp_path / "pytest.ini" in create_project(tmp_path).written


def test_a_project_with_pytest_s_configuration_keeps_it_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")

    create_project(tmp_path)

    assert not (tmp_path / "pytest.ini").exists()


def test_only_what_is_missing_is_written(tmp_path: Path) -> None:
    create_project(tmp_path)
    mine, gone = (
        tmp_path / "evals/test_babyai.py",
        tmp_path / "config/functions/act/user_schema.json",
    )
    mine.write_text("mine")
    gone.unlink()

    created = create_project(tmp_path)

    assert created.written == [gone]
    assert mine in created.left
    assert mine.read_text() == "mine"


def test_a_configuration_of_one_s_own_is_left_whole(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/tensorzero.toml").write_text("[functions.act]\n")

    created = create_project(tmp_path)

    assert [path.name for path in (tmp_path / "config").iterdir()] == ["tensorzero.toml"]
    assert created.left == [tmp_path / "config"]
    assert tmp_path / "evals/test_babyai.py" in created.written


def test_another_s_config_directory_gets_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/app.yaml").write_text("debug: true\n")

    created = create_project(tmp_path)

    assert tmp_path / "config/tensorzero.toml" in created.written
    assert (tmp_path / "config/app.yaml").read_text() == "debug: true\n"


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("")

    with pytest.raises(SettingsError, match=r"Not a directory|File exists"):
        create_project(target)


def test_the_command_says_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path)]) == 0

    assert f"pytest {tmp_path / 'evals'}" in capsys.readouterr().out


def test_the_command_says_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path)])
    capsys.readouterr()

    assert main(["init", str(tmp_path)]) == 0

    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"left as it is: {tmp_path / 'config/babyai.yml'} and 15 more files",
        f"nothing was missing; now run: pytest {tmp_path / 'evals'}",
    ]


def test_a_project_s_own_configuration_is_found_first(tmp_path: Path) -> None:
    create_project(tmp_path / "mine")

    assert find_config(None, [tmp_path, tmp_path / "mine"]) == tmp_path / "mine" / "config"


def test_a_config_directory_without_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()

    with pytest.raises(SettingsError, match=r"config holds no tensorzero\.toml; write one"):
        find_config(None, [tmp_path])


@pytest.mark.parametrize("name", ["tensorzero.toml", "{tensorzero,models/offline}.toml"])
def test_a_file_or_a_glob_may_be_chosen(tmp_path: Path, name: str) -> None:
    create_project(tmp_path)

    assert find_config(tmp_path / "config" / name, []) == tmp_path / "config" / name


def test_the_packaged_configuration_stands_in(tmp_path: Path) -> None:
    assert find_config(None, [tmp_path]) == packaged("config")


@pytest.mark.parametrize(
    ("directory", "reason"),
    [("", r"--config: .* holds no tensorzero\.toml"), ("gone", "--config: there is no directory ")],
)
def test_a_chosen_directory_without_configuration_is_refused(
    tmp_path: Path, directory: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        find_config(tmp_path / directory, [], option="--config")
