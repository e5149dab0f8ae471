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
    written = create_project(tmp_path)

    names = {str(path.relative_to(tmp_path)) for path in written}
    assert {"config/tensorzero.toml", "config/babyai.yml", "evals/test_babyai.py"} <= names
    assert all(path.is_file() for path in written)


def test_a_new_project_is_a_root_of_pytest_s(tmp_path: Path) -> None:
    assert tmp_path / "pytest.ini" in create_project(tmp_path)


def test_a_project_with_pytest_s_configuration_keeps_it_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")

    create_project(tmp_path)

    assert not (tmp_path / "pytest.ini").exists()


def test_a_new_project_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    mine = tmp_path / "evals" / "test_babyai.py"
    mine.write_text("mine")

    with pytest.raises(SettingsError, match=r"test_babyai\.py exists already; nothing was written"):
        create_project(tmp_path)

    assert mine.read_text() == "mine"
    assert not (tmp_path / "config").exists()


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


def test_the_command_ends_with_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(tmp_path)])
    capsys.readouterr()

    assert main(["init", str(tmp_path)]) == 4

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pytest_babyai init: ")
    assert printed.err.count("\n") == 1


def test_a_project_s_own_configuration_is_found_first(tmp_path: Path) -> None:
    create_project(tmp_path / "mine")

    assert find_config(None, [tmp_path, tmp_path / "mine"]) == tmp_path / "mine" / "config"


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
