"""Processes that are killed, and processes that start together."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_babyai.journal import RunState, list_runs, open_run, resume_run
from tests.unit.journal.journal_samples import RECORDING, entry, manifest

NUM_KILLS = 25
NUM_PROCESSES = 6

APPEND = """
import asyncio, sys
from pathlib import Path
from tests.unit.journal.journal_samples import RECORDING, entry, manifest
from pytest_babyai.journal import create_run

async def append(journal, seed):
    await journal.append_async(entry(seed))
    print(seed, flush=True)

async def append_many():
    journal = create_run(Path(sys.argv[1]), manifest(), RECORDING)
    for start in range(0, 1_000_000, 10):
        await asyncio.gather(*(append(journal, start + number) for number in range(10)))

asyncio.run(append_many())
"""

OUTGROW = """
import resource, sys
from pathlib import Path
from tests.unit.journal.journal_samples import RECORDING, entry, manifest
from pytest_babyai.errors import JournalError
from pytest_babyai.journal import create_run

journal = create_run(Path(sys.argv[1]), manifest(), RECORDING)
resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, resource.RLIM_INFINITY))
for seed in range(100):
    try:
        journal.append(entry(seed))
    except JournalError as error:
        print(seed, error)
        break
journal.close()
"""

CREATE = """
import sys
from pathlib import Path
from tests.unit.journal.journal_samples import RECORDING, entry, manifest
from pytest_babyai.journal import create_run

print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    with create_run(Path(sys.argv[1]), manifest(), RECORDING) as journal:
        journal.append(entry(int(sys.argv[2]) * 100 + number))
"""


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    path = [str(Path(__file__).parents[3]), *sys.path]
    prologue = f"import sys; sys.path[:] = {path!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", prologue + program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def kill_after(num_appends: int, root: Path) -> set[int]:
    """Returns the seeds whose append returned before the process was killed."""
    with start(APPEND, root) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(num_appends)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.readlines()
    return {int(line) for line in told if line.endswith(b"\n")}


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_was_appended_before_a_kill_is_there(tmp_path: Path) -> None:
    chance = random.Random(0)
    for number in range(NUM_KILLS):
        root = tmp_path / str(number)
        appended = kill_after(chance.randrange(1, 80), root)
        log = open_run(root)
        entries = {one.key.seed: one for one in log.entries()}

        assert appended <= entries.keys()
        assert all(one == entry(seed) for seed, one in entries.items())
        assert (log.problems, log.state) == ([], RunState.INTERRUPTED)

        with resume_run(root, "latest", manifest(), RECORDING) as resumed:
            resumed.append(entry(-1))
        log = open_run(root)
        assert {one.key.seed for one in log.entries()} == {*entries, -1}
        assert (log.problems, log.num_torn) == ([], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of resources")
def test_a_line_that_the_system_takes_in_part_is_cut_away(tmp_path: Path) -> None:
    with start(OUTGROW, tmp_path) as child:
        told = child.communicate()[0].decode()

    seed, _, error = told.partition(" ")
    log = open_run(tmp_path)
    assert "File too large; earlier episodes are kept" in error
    assert [one.key.seed for one in log.entries()] == list(range(int(seed)))
    assert int(seed) > 1
    assert (log.problems, log.num_torn) == ([], 0)


def test_processes_that_start_runs_together_get_one_each(tmp_path: Path) -> None:
    children = [start(CREATE, tmp_path / "runs", number) for number in range(NUM_PROCESSES)]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
    for child in children:
        child.communicate(b"go\n")

    seeds = [one.key.seed for log in list_runs(tmp_path / "runs") for one in log.entries()]
    assert [child.returncode for child in children] == [0] * NUM_PROCESSES
    assert sorted(seeds) == [p * 100 + n for p in range(NUM_PROCESSES) for n in range(10)]
