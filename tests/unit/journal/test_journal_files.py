"""Atomic files, unfinished lines, locks."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_babyai.errors import JournalError
from pytest_babyai.journal.files import RunLock, is_locked, replace_file, size_of_whole_lines

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, pathlib
from pytest_babyai.journal.files import RunLock
lock = RunLock(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@given(st.binary(max_size=50), st.sampled_from([0, 1, 65_534, 65_535, 65_536, 140_000]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_lines_end_at_the_last_newline(tmp_path: Path, content: bytes, num_more: int) -> None:
    whole = content + b"x" * num_more
    (tmp_path / "f").write_bytes(whole)

    tail = whole.rsplit(b"\n", 1)[-1]
    assert size_of_whole_lines(tmp_path / "f") == len(whole) - len(tail)


def test_a_replaced_file_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(b"old")

    replace_file(path, b"new")

    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    (path / "inside").mkdir(parents=True)

    with pytest.raises(OSError, match=r"."):
        replace_file(path, b"new")

    assert list(tmp_path.iterdir()) == [path]


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)

    with pytest.raises(JournalError, match=rf"{tmp_path.name} .* process {os.getpid()};"):
        RunLock(tmp_path)
    lock.release()


def test_a_released_run_can_be_locked_again(tmp_path: Path) -> None:
    RunLock(tmp_path).release()

    assert not is_locked(tmp_path)
    RunLock(tmp_path).release()


def test_a_killed_process_locks_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(JournalError, match=f"process {holder.pid};"):
            RunLock(tmp_path)
        assert is_locked(tmp_path)
        holder.kill()

    assert not is_locked(tmp_path)
    RunLock(tmp_path).release()


def test_a_directory_without_a_lock_file_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)


def test_many_that_only_look_do_not_take_one_another_for_the_writer(tmp_path: Path) -> None:
    RunLock(tmp_path).release()
    (tmp_path / "lock").touch()

    with ThreadPoolExecutor(2) as threads:
        seen = list(threads.map(lambda _: is_locked(tmp_path), range(50)))

    assert not any(seen)
