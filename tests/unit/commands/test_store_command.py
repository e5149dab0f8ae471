"""``python -m pytest_babyai store``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_babyai.commands import options_of
from pytest_babyai.commands.store import serve_lines
from pytest_babyai.gateway.store import EmbeddedStore
from tests.unit.gateway.clickhouse_fakes import ask, need_chdb, wait_until_gone

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[3]
PROGRAM = """\
import sys
from pytest_babyai.commands import run_command
for line in run_command(["store", "--directory", sys.argv[1]]):
    print(line, flush=True)
"""


class FakeStore:
    url = "http://babyai:secret@127.0.0.1:4000/tensorzero"

    def __init__(self, *, is_owner: bool = True) -> None:
        self.is_owner = is_owner
        self.is_running = False

    def __enter__(self) -> EmbeddedStore:
        self.is_running = True
        return cast("EmbeddedStore", self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_running = False


def interrupt() -> None:
    raise KeyboardInterrupt


def test_the_url_is_told_first_and_how_to_stop() -> None:
    lines = serve_lines(cast("EmbeddedStore", FakeStore()), lambda: None)
    assert list(lines) == [FakeStore.url, "Ctrl-C stops it."]


def test_a_store_that_ran_already_goes_on() -> None:
    lines = serve_lines(cast("EmbeddedStore", FakeStore(is_owner=False)), lambda: None)
    assert list(lines)[1] == "It runs already; Ctrl-C leaves it."


def test_it_runs_until_it_is_stopped() -> None:
    store, seen = FakeStore(), []

    def wait() -> None:
        seen.append(store.is_running)

    list(serve_lines(cast("EmbeddedStore", store), wait))
    assert (seen, store.is_running) == ([True], False)


def test_ctrl_c_is_an_end_like_any_other() -> None:
    store = FakeStore()
    assert FakeStore.url in list(serve_lines(cast("EmbeddedStore", store), interrupt))
    assert not store.is_running


def test_the_defaults_are_those_of_a_run() -> None:
    chosen = options_of(["store"])
    assert (chosen.directory, chosen.port) == (Path(".babyai/store"), 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(tmp_path: Path, number: int) -> None:
    need_chdb()
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert process.stdout.readline() == "Ctrl-C stops it.\n"
        with EmbeddedStore(tmp_path / "store") as joined:
            assert joined.url == url
            assert ask(joined, "SELECT 1") == "1\n"
        os.kill(process.pid, number)
        assert process.wait(60) == 0
    wait_until_gone(tmp_path / "store")
