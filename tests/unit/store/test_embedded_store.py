"""The embedded store as a process: its start, its end, and what outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from pytest_babyai.errors import ServerStartError
from pytest_babyai.store.directory import StoreDirectory
from pytest_babyai.store.embedded import EmbeddedStore
from pytest_babyai.store.server import NICENESS
from tests.patience import PATIENCE_S
from tests.unit.store.store_fakes import ask, need_chdb, wait_until_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _chdb() -> None:
    need_chdb()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    with EmbeddedStore(tmp_path / "store") as started:
        yield started


def test_a_started_store_answers_at_its_url(store: EmbeddedStore) -> None:
    assert store.url.startswith("http://babyai:")
    assert store.url.endswith(f"@127.0.0.1:{store.port}/tensorzero")
    assert ask(store, "SELECT currentDatabase()") == "tensorzero\n"


def test_a_stopped_store_is_gone(store: EmbeddedStore) -> None:
    store.stop()
    store.stop()
    assert (store.url, store.port, store.pid) == ("", 0, None)
    assert not StoreDirectory(store.directory).is_served()


def test_a_stopped_store_leaves_no_password(store: EmbeddedStore) -> None:
    assert (store.directory / "access.json").exists()
    store.stop()
    assert not (store.directory / "access.json").exists()


def test_starting_twice_starts_one_server(store: EmbeddedStore) -> None:
    pid = store.pid
    assert store.start() == store.url
    assert store.pid == pid


def test_rows_are_there_at_the_next_start(store: EmbeddedStore) -> None:
    ask(store, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 7}')
    store.stop()
    store.start()
    assert ask(store, "SELECT a FROM t") == "7\n"


def test_the_password_is_on_no_command_line(store: EmbeddedStore) -> None:
    command = Path(f"/proc/{store.pid}/cmdline")
    if not command.exists():
        pytest.skip("no /proc on this system")
    password = urlsplit(store.url).password
    assert password
    assert password not in command.read_text()


def test_a_store_leaves_the_processors_to_its_users(store: EmbeddedStore) -> None:
    assert store.pid is not None
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, store.pid) == min(own + NICENESS, 19)


def test_every_start_has_a_password_of_its_own(store: EmbeddedStore) -> None:
    first = urlsplit(store.url).password
    store.stop()
    store.start()
    assert urlsplit(store.url).password != first


def test_a_second_start_joins_the_first(store: EmbeddedStore) -> None:
    with EmbeddedStore(store.directory) as second:
        assert second.url == store.url
        assert (store.is_owner, second.is_owner) == (True, False)


def test_a_store_outlives_its_owner_while_others_use_it(store: EmbeddedStore) -> None:
    second = EmbeddedStore(store.directory)
    second.start()
    store.stop()
    assert ask(second, "SELECT 1") == "1\n"
    second.stop()
    wait_until_gone(store.directory)


@pytest.mark.parametrize("kill", [True, False])
def test_a_server_that_hangs_is_not_waited_for(store: EmbeddedStore, *, kill: bool) -> None:
    pid = store.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    store.stop(0.01, kill=kill)

    assert (store.directory / "lock").read_text() == f"{pid}\n"
    assert StoreDirectory(store.directory).is_served() is not kill
    if not kill:
        os.kill(pid, signal.SIGCONT)
    wait_until_gone(store.directory)


def test_one_who_leaves_does_not_end_the_owner_s_store(store: EmbeddedStore) -> None:
    with EmbeddedStore(store.directory):
        pass
    assert ask(store, "SELECT 1") == "1\n"


def test_many_who_start_at_once_share_one_server(tmp_path: Path) -> None:
    stores = [EmbeddedStore(tmp_path / "store") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        urls = set(threads.map(EmbeddedStore.start, stores))
    assert len(urls) == 1
    assert sum(store.is_owner for store in stores) == 1
    for store in stores:
        store.stop()
    wait_until_gone(tmp_path / "store")


def test_who_does_not_share_is_told_who_has_it(store: EmbeddedStore) -> None:
    with pytest.raises(ServerStartError) as caught:
        EmbeddedStore(store.directory, share=False).start()
    assert str(caught.value) == (
        f"the store {store.directory} is in use by process {store.pid}; "
        "stop that one or name another directory"
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_store_ends_with_the_process_that_started_it(tmp_path: Path, number: int) -> None:
    program = textwrap.dedent(f"""\
        import time
        from pytest_babyai.store.embedded import EmbeddedStore
        store = EmbeddedStore({str(tmp_path / "store")!r})
        store.start()
        print("ready", flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as starter:
        assert starter.stdout
        assert starter.stdout.readline() == "ready\n"
        starter.send_signal(number)
    wait_until_gone(tmp_path / "store")


def test_a_server_that_dies_is_started_again_once_under_the_same_url(
    store: EmbeddedStore,
) -> None:
    ask(store, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 7}')
    url = store.url
    kill(store)
    until_true(lambda: len(store.deaths) == 1)
    assert (store.url, store.gone.is_set()) == (url, False)
    assert ask(store, "SELECT a FROM t") == "7\n"
    kill(store)
    assert store.gone.wait(PATIENCE_S)
    assert store.deaths == [
        f"the store {store.directory} ended suddenly (signal 9) and was started again",
        f"the store {store.directory} ended suddenly (signal 9), for the second time",
    ]


def test_who_has_joined_starts_a_dead_server_again_as_well(store: EmbeddedStore) -> None:
    with EmbeddedStore(store.directory) as second:
        kill(store)
        until_true(lambda: bool(store.deaths and second.deaths))
        assert ask(second, "SELECT 1") == ask(store, "SELECT 1") == "1\n"


def kill(store: EmbeddedStore) -> None:
    assert store.pid is not None
    os.kill(store.pid, signal.SIGKILL)


def until_true(holds: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


def test_another_port_than_that_of_the_server_is_refused(store: EmbeddedStore) -> None:
    other = store.port - 1
    assert failure(EmbeddedStore(store.directory, port=other)) == (
        f"the store {store.directory} runs already and listens on port {store.port}; stop that "
        f"one, or leave out --port={other}"
    )
    with EmbeddedStore(store.directory, port=store.port) as second:
        assert second.url == store.url


@pytest.mark.parametrize("settings", ["", "SETTINGS async_insert=1"])
def test_nothing_acknowledged_is_lost_or_doubled_when_the_server_is_killed(
    store: EmbeddedStore, settings: str
) -> None:
    ask(store, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    ask(store, "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY a AS SELECT a FROM t")
    acknowledged: list[int] = []
    counting = threading.Lock()

    def insert(number: int) -> None:
        ask(store, f'INSERT INTO t {settings} FORMAT JSONEachRow {{"a": {number}}}')
        with counting:
            acknowledged.append(number)
            if len(acknowledged) == 150:
                assert store.pid is not None
                os.kill(store.pid, signal.SIGKILL)

    with ThreadPoolExecutor(32) as threads:
        inserts = [threads.submit(insert, number) for number in range(400)]
    assert any(isinstance(done.exception(), OSError) for done in inserts), "killed too late"
    store.stop()
    store.start()
    rows = ask(store, "SELECT a FROM t").split()
    assert len(acknowledged) >= 150
    assert {str(number) for number in acknowledged} <= set(rows)
    assert len(set(rows)) == len(rows)
    assert set(acknowledged) <= set(map(int, ask(store, "SELECT a FROM v").split()))


def test_rows_that_are_acknowledged_early_are_there_for_the_next_reader(
    store: EmbeddedStore,
) -> None:
    ask(store, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    for number in range(20):
        ask(store, f'INSERT INTO t SETTINGS async_insert=1 FORMAT JSONEachRow {{"a": {number}}}')
        assert ask(store, "SELECT count() FROM t") == f"{number + 1}\n"


def test_two_equal_inserts_are_two_rows(store: EmbeddedStore) -> None:
    ask(store, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    for settings in ("", "", "SETTINGS async_insert=1", "SETTINGS async_insert=1"):
        ask(store, f'INSERT INTO t {settings} FORMAT JSONEachRow {{"a": 1}}')
        ask(store, "SELECT 1")
    assert ask(store, "SELECT count() FROM t") == "4\n"


def test_an_insert_that_fails_at_its_very_end_is_an_error(store: EmbeddedStore) -> None:
    ask(store, "CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    ask(
        store,
        "CREATE MATERIALIZED VIEW v ENGINE = MergeTree ORDER BY x AS "
        "SELECT throwIf(a = 7, 'refused') AS x FROM t",
    )
    ask(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 6}')
    with pytest.raises(AssertionError, match=r"Code: 395.*refused"):
        ask(store, 'INSERT INTO t FORMAT JSONEachRow {"a": 7}')


def test_a_killed_server_s_store_starts_again(store: EmbeddedStore) -> None:
    kill(store)
    store.stop()
    wait_until_gone(store.directory)
    with EmbeddedStore(store.directory) as second:
        assert second.is_owner
        assert ask(second, "SELECT 1") == "1\n"


def failure(store: EmbeddedStore) -> str:
    with pytest.raises(ServerStartError) as caught:
        store.start()
    line = str(caught.value)
    assert "\n" not in line
    assert store.pid is None
    return line


def test_a_foreign_directory_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert failure(EmbeddedStore(tmp_path)) == (
        f"the embedded store did not start: {tmp_path} is no store: it holds thesis.tex; "
        "name an empty or a new directory"
    )


def test_a_newer_store_is_told_in_one_line(store: EmbeddedStore) -> None:
    store.stop()
    (store.directory / "format.json").write_text(json.dumps({"format": 1, "engine": "99.1.1.1"}))
    assert "was written by ClickHouse 99.1.1.1, and the installed chdb has" in failure(store)


def test_a_broken_store_is_told_in_one_line(store: EmbeddedStore) -> None:
    ask(store, "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    store.stop()
    for file in (store.directory / "data" / "store").rglob("t.sql"):
        file.write_text("nonsense")
    assert f"the store {store.directory} cannot be opened: " in failure(store)


def test_a_taken_port_is_told_in_one_line(store: EmbeddedStore, tmp_path: Path) -> None:
    line = failure(EmbeddedStore(tmp_path / "other", port=store.port))
    assert f"cannot listen on 127.0.0.1:{store.port}: Address already in use" in line
    assert "choose another --port" in line


@pytest.mark.parametrize("missing", ["chdb", "python_multipart"])
def test_a_missing_extra_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{missing}.py").write_text("raise ModuleNotFoundError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"), prepend=os.pathsep)
    line = failure(EmbeddedStore(tmp_path / "store"))
    assert line.endswith("the embedded store needs its extra: pip install 'pytest-babyai[store]'")


def test_a_missing_interpreter_is_told_in_one_line(tmp_path: Path) -> None:
    line = failure(EmbeddedStore(tmp_path / "store", python="no-such-python"))
    assert line == ("the embedded store did not start: no-such-python: No such file or directory")


def test_a_store_that_is_too_slow_is_told_in_one_line(tmp_path: Path) -> None:
    never_ready = tmp_path / "python"
    never_ready.write_text("#!/bin/sh\nexec cat\n")
    never_ready.chmod(0o755)
    store = EmbeddedStore(tmp_path / "store", python=str(never_ready), start_timeout_s=0.2)
    assert "it was not ready within 0.2 s" in failure(store)
