"""What the embedded store costs, and whether it has every inference; measured in one run.

``python -m tests.benchmarks.store [at_once] [after_a_while] [rows] [cached]`` runs the named parts,
by default all of them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_babyai.journal import RUNS_DIRECTORY, RunLog, open_run
from pytest_babyai.journal.feedback_log import acknowledged_feedback
from pytest_babyai.store.embedded import EmbeddedStore
from tests.benchmarks.episodes import (
    CONCURRENCY,
    call_pytest,
    model_server,
    stats,
    write_project,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUM_TURNS = 3
STORING = ("--babyai-store=store", "--babyai-record")
CACHING = ("--babyai-store=store", "--babyai-cache=on", "--babyai-episodes=5")


@contextmanager
def project(min_ms: float, max_ms: float) -> Iterator[tuple[Path, tuple[str, ...], int]]:
    """A project with a store that has been used before: directory, options, model's port."""
    with model_server(min_ms, max_ms) as port, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = write_project(directory, port)
        options = (
            "--babyai-gate=aggregate",
            f"--babyai-model={model}",
            f"--babyai-concurrency={CONCURRENCY}",
        )
        call_pytest(directory, *options, *STORING, "--babyai-episodes=1")
        yield directory, options, port


def timed(directory: Path, *options: str, num_episodes: int = 400) -> float:
    """Returns the wall time of a whole command that plays so many episodes, in seconds."""
    started_s = time.perf_counter()
    printed = call_pytest(directory, *options)
    wall_s = time.perf_counter() - started_s
    if f"{num_episodes} episodes in" not in printed or "could not be recorded" in printed:
        sys.exit(printed)
    return wall_s


def compared(min_ms: float, max_ms: float, num_turns: int, bound: float) -> None:
    with project(min_ms, max_ms) as (directory, options, _):
        without, stored = [], []
        for _turn in range(num_turns):
            without.append(timed(directory, *options))
            stored.append(timed(directory, *options, *STORING))
    told = f"model answers after {min_ms:g}-{max_ms:g} ms" if max_ms else "model answers at once"
    print(f"{told}: 400 episodes, store and feedback, best of {num_turns} in turns")
    print(f"  no store {min(without):6.2f} s   store {min(stored):6.2f} s")
    print(f"  ratio {min(stored) / min(without):.3f}  (at most {bound})")


def at_once() -> None:
    compared(0, 0, NUM_TURNS, 1.5)


def after_a_while() -> None:
    compared(50, 150, 1, 1.02)


def rows_of(directory: Path, query: str) -> list[dict[str, Any]]:
    with EmbeddedStore(directory / "store") as store:
        user, password = store.url.removeprefix("http://").partition("@")[0].split(":")
        asked = urllib.request.Request(
            f"http://127.0.0.1:{store.port}/?database=tensorzero",
            f"{query} FORMAT JSONEachRow".encode(),
            {"X-ClickHouse-User": user, "X-ClickHouse-Key": password},
        )
        with urllib.request.urlopen(asked) as answer:  # noqa: S310 - its own address
            return [json.loads(line) for line in answer.read().decode().splitlines()]


def tell_rows(kind: str, directory: Path, log: RunLog) -> None:
    """Compares the journal's inferences and feedback with the store's, one by one."""
    entries = list(log.entries())
    played = Counter(step.inference_id for entry in entries for step in entry.outcome.steps)
    of_run = f"WHERE tags['run'] = '{log.run_id}'"
    ids = f"SELECT id FROM JsonInference {of_run}"
    model_ids = f"SELECT inference_id AS id FROM ModelInference WHERE inference_id IN ({ids})"
    json_rows, model_rows = (
        Counter(row["id"] for row in rows_of(directory, query)) for query in (ids, model_ids)
    )
    sent = Counter(
        (row["id"], row["metric_name"])
        for row in rows_of(
            directory, f"SELECT target_id AS id, metric_name FROM FloatMetricFeedback {of_run}"
        )
    )
    acknowledged = acknowledged_feedback(log.directory)
    print(f"rows after {kind}: {len(entries)} episodes in the journal")
    print(f"  inferences: journal {played.total():,}, store {json_rows.total():,}")
    print(f"  in the journal and not in the store {(played - json_rows).total()}  (0)")
    print(f"  and not among the model's inferences {(played - model_rows).total()}  (0)")
    num_unstored = len(acknowledged - sent.keys())
    print(f"  feedback acknowledged {len(acknowledged)}, not stored {num_unstored}  (0)")
    print(f"  sent twice {sum(count > 1 for count in sent.values())}  (0)")


def rows() -> None:
    endings: dict[str, int | None] = {
        "a normal end": None,
        "Ctrl-C": signal.SIGINT,
        "kill -9": signal.SIGKILL,
    }
    with project(0, 0) as (directory, options, port):
        for kind, number in endings.items():
            answers_before = stats(port)["num_answers"]
            play_until(directory, [*options, *STORING], number)
            log = open_run(directory / RUNS_DIRECTORY)
            tell_rows(kind, directory, log)
            print(f"  answers of the model {stats(port)['num_answers'] - answers_before:,.0f}")


def started(directory: Path, options: list[str]) -> subprocess.Popen[bytes]:
    plugins = ["-p", "pytest_asyncio.plugin", "-p", "pytest_babyai.plugin"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *plugins, *options],
        cwd=directory,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )


def play_until(directory: Path, options: list[str], number: int | None) -> None:
    """Plays 400 episodes, or sends a signal when some of them are over."""
    known = runs_in(directory)
    with started(directory, options) as process:
        while (
            number is not None and process.poll() is None and num_journaled(directory, known) < 100
        ):
            time.sleep(0.02)
        if number is not None:
            os.kill(process.pid, number)


def runs_in(directory: Path) -> set[str]:
    return {path.name for path in (directory / RUNS_DIRECTORY).iterdir() if path.is_dir()}


def num_journaled(directory: Path, known: set[str]) -> int:
    new = runs_in(directory) - known
    files = [directory / RUNS_DIRECTORY / name / "episodes.jsonl" for name in new]
    return sum(file.read_bytes().count(b"\n") for file in files if file.exists())


def cached() -> None:
    with project(0, 0) as (directory, options, port):
        told = []
        for _ in range(2):
            answers_before = stats(port)["num_answers"]
            wall_s = timed(directory, *options, *CACHING, num_episodes=100)
            entries = list(open_run(directory / RUNS_DIRECTORY).entries(with_steps=False))
            tokens = sum(entry.outcome.usage.input_tokens or 0 for entry in entries)
            num_cached = sum(entry.outcome.num_cached for entry in entries)
            num_answers = stats(port)["num_answers"] - answers_before
            told.append(f"{wall_s:6.2f} s, {num_answers:7,.0f} answers of the model, ")
            told[-1] += f"{num_cached:7,} cached, {tokens:,} input tokens"
    print("100 episodes with a cache, twice")
    print(f"  first  {told[0]}")
    print(f"  again  {told[1]}  (0 answers, as many tokens)")


PARTS: dict[str, Callable[[], None]] = {
    "at_once": at_once,
    "after_a_while": after_a_while,
    "rows": rows,
    "cached": cached,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
