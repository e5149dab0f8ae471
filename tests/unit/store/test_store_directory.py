"""The store's directory: who has it and who wrote it."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.errors import ServerStartError
from pytest_babyai.store.directory import (
    Access,
    DirectoryInUseError,
    StoreDirectory,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "26.9.2.1"
ACCESS = Access(4000, "babyai", "secret", 7)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[StoreDirectory]:
    directory = StoreDirectory(tmp_path / "a" / "store")
    yield directory
    directory.release()


def acquired(directory: StoreDirectory, version: str = VERSION) -> StoreDirectory:
    directory.acquire()
    directory.check_version(version)
    return directory


def test_a_new_directory_is_made(directory: StoreDirectory) -> None:
    acquired(directory)
    written = json.loads((directory.path / "format.json").read_text())
    assert written == {"format": 1, "engine": VERSION}


def test_a_second_owner_is_told_who_has_it(directory: StoreDirectory) -> None:
    acquired(directory)
    with pytest.raises(DirectoryInUseError) as caught:
        StoreDirectory(directory.path).acquire()
    told = f"the store {directory.path} is in use by process {os.getpid()}; stop that one"
    assert str(caught.value).startswith(told)


def test_a_lock_can_be_seen_from_outside(directory: StoreDirectory) -> None:
    assert not directory.is_served()
    acquired(directory)
    assert StoreDirectory(directory.path).is_served()


def test_a_directory_that_was_given_up_can_be_had(directory: StoreDirectory) -> None:
    acquired(directory).release()
    other = StoreDirectory(directory.path)
    other.acquire()
    assert directory.is_served()
    other.release()
    assert not directory.is_served()


def test_a_directory_with_other_files_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ServerStartError, match=r"is no store: it holds thesis.tex; name an empty"):
        StoreDirectory(tmp_path).acquire()
    assert os.listdir(tmp_path) == ["thesis.tex"]  # noqa: PTH208 - names alone


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ServerStartError, match="/file: File exists"):
        StoreDirectory(tmp_path / "file").acquire()


def test_data_without_a_version_is_no_store(directory: StoreDirectory) -> None:
    (directory.path / "data").mkdir(parents=True)
    with pytest.raises(ServerStartError, match=r"format.json is missing beside data"):
        acquired(directory)


@pytest.mark.parametrize("version", ["26.10.1.1", "27.1.1.1"])
def test_a_newer_engine_s_data_is_left_alone(directory: StoreDirectory, version: str) -> None:
    acquired(directory, version)
    with pytest.raises(ServerStartError) as caught:
        directory.check_version(VERSION)
    assert str(caught.value) == (
        f"{directory.path} was written by ClickHouse {version}, and the installed chdb has "
        f"{VERSION}: pip install -U chdb, or name another directory"
    )


@pytest.mark.parametrize("version", ["26.9.1.1", "26.9.7.1", "25.12.1.1"])
def test_an_older_engine_s_data_is_taken_over(directory: StoreDirectory, version: str) -> None:
    acquired(directory, version)
    directory.check_version(VERSION)
    assert VERSION in (directory.path / "format.json").read_text()


def test_a_newer_format_is_left_alone(directory: StoreDirectory) -> None:
    directory.acquire()
    (directory.path / "format.json").write_text('{"format": 2, "engine": "26.9.2.1"}')
    with pytest.raises(ServerStartError, match=r"by a newer pytest-babyai \(format 2, this one"):
        directory.check_version(VERSION)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x", "engine": 1}'])
def test_an_unreadable_version_is_told(directory: StoreDirectory, text: str) -> None:
    directory.acquire()
    (directory.path / "format.json").write_text(text)
    with pytest.raises(ServerStartError, match=r"format\.json: "):
        directory.check_version(VERSION)


def test_the_password_is_readable_for_the_user_alone(directory: StoreDirectory) -> None:
    acquired(directory).write_access(ACCESS)
    assert stat.S_IMODE((directory.path / "access.json").stat().st_mode) == 0o600


def test_access_is_read_as_it_was_written(directory: StoreDirectory) -> None:
    acquired(directory).write_access(ACCESS)
    assert directory.read_access() == ACCESS


def test_access_that_was_removed_is_none(directory: StoreDirectory) -> None:
    acquired(directory).write_access(ACCESS)
    directory.remove_access()
    directory.remove_access()
    assert directory.read_access() is None


def test_a_printed_access_has_no_password() -> None:
    assert "secret" not in repr(ACCESS)
