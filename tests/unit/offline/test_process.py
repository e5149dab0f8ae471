from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from pytest_babyai.errors import ServerStartError
from pytest_babyai.offline import OfflineServer
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "pytest_babyai.offline"]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_healthy(url: str) -> bool:
    answer = httpx.get(f"{url}/healthz", trust_env=False, timeout=PATIENCE_S)
    return answer.status_code == 200


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PATIENCE_S
    )


def test_a_started_server_answers_at_its_url() -> None:
    with OfflineServer() as server:
        assert is_healthy(server.url)
        assert server.url == f"http://127.0.0.1:{server.port}"


def test_a_stopped_server_is_gone() -> None:
    server = OfflineServer()
    server.start()
    port = server.port
    server.stop()
    assert not is_listening(port)
    assert (server.url, server.port, server.pid) == ("", 0, None)


def test_starting_twice_starts_one_server() -> None:
    with OfflineServer() as server:
        assert server.start() == server.url
        assert server.start() == server.url


def test_stopping_twice_is_fine() -> None:
    server = OfflineServer()
    server.start()
    server.stop()
    server.stop()
    assert server.pid is None


def test_a_server_that_was_killed_can_be_stopped() -> None:
    server = OfflineServer()
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    assert server.pid is None


def test_a_taken_port_is_told_in_one_line() -> None:
    with OfflineServer() as first, pytest.raises(ServerStartError) as caught:
        OfflineServer(port=first.port).start()
    line = str(caught.value)
    assert "\n" not in line
    assert "cannot listen on 127.0.0.1:" in line
    assert "choose another --port" in line


def test_a_missing_interpreter_is_told_in_one_line() -> None:
    with pytest.raises(ServerStartError, match=r"did not start: no-such-python: No such file"):
        OfflineServer(python="no-such-python").start()


def _interpreter(directory: Path, script: str) -> str:
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.skipif(os.name != "posix", reason="writes a shell script")
def test_a_server_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    python = _interpreter(tmp_path, "echo first >&2; echo 'no such module' >&2; exit 3")
    with pytest.raises(ServerStartError, match=r"did not start: exit code 3: no such module$"):
        OfflineServer(python=python).start()


@pytest.mark.skipif(os.name != "posix", reason="writes a shell script")
def test_a_server_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    python = _interpreter(tmp_path, "exec cat")
    with pytest.raises(ServerStartError, match=r"it was not ready within 0\.2 s$"):
        OfflineServer(python=python, start_timeout_s=0.2).start()


@pytest.mark.skipif(os.name != "posix", reason="writes a shell script")
def test_a_program_that_is_no_server_is_told(tmp_path: Path) -> None:
    python = _interpreter(tmp_path, "echo Hello")
    with pytest.raises(ServerStartError, match=r"did not start: it said 'Hello'$"):
        OfflineServer(python=python).start()


@pytest.mark.skipif(os.name != "posix", reason="kills with a POSIX signal")
def test_the_server_ends_when_its_parent_is_killed() -> None:
    script = """
        import sys
        from pytest_babyai.offline import OfflineServer
        server = OfflineServer()
        print(server.start(), flush=True)
        sys.stdin.read()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        with (
            httpx.Client(trust_env=False, timeout=PATIENCE_S) as http,
            http.stream("GET", f"{url}/healthz") as held,
        ):
            held.read()
            connection = held.extensions["network_stream"].get_extra_info("socket")
            parent.kill()
            parent.wait()
            connection.settimeout(PATIENCE_S)
            assert connection.recv(1) == b""  # the server's end was closed, since it is gone


def test_the_program_says_its_url_and_nothing_else() -> None:
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        assert is_healthy(url)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=PATIENCE_S) == ("", "")
    assert program.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_a_termination_signal_ends_the_program_cleanly() -> None:
    with subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        assert program.stdout is not None
        program.stdout.readline()
        program.terminate()
        assert program.communicate(timeout=PATIENCE_S) == ("", "")
    assert program.returncode == 0


def test_the_program_ends_with_2_where_the_port_is_taken() -> None:
    with OfflineServer() as server:
        program = run("--port", str(server.port))
    assert (program.returncode, program.stdout) == (2, "")
    assert program.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--port", "70000", "a number from 0 to 65535"),
        ("--port", "http", "a number from 0 to 65535"),
        ("--latency-ms", "150-50", "MIN-MAX, e.g. 50-150"),
        ("--latency-ms", "soon", "MIN-MAX, e.g. 50-150"),
        ("--slip-rate", "2", "a number from 0 to 1"),
        ("--slip-rate", "few", "a number from 0 to 1"),
    ],
)
def test_a_wrong_option_is_explained(option: str, value: str, reason: str) -> None:
    program = run(option, value)
    assert program.returncode == 2
    last_line = program.stderr.splitlines()[-1]
    assert f"argument {option}: {value!r} is no" in last_line
    assert last_line.endswith(reason)


def test_the_program_imports_nothing_heavy() -> None:
    heavy = "{'pytest', 'pandas', 'minigrid', 'gymnasium', 'tensorzero', 'numpy', 'aiohttp'}"
    script = f"import pytest_babyai.offline.__main__, sys; print({heavy} & set(sys.modules))"
    program = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert program.stdout.strip() == "set()"
