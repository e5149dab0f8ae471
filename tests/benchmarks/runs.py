"""What journal, order, processes and size cost; ratios measured in one run.

``python -m tests.benchmarks.runs [journal] [order] [processes] [collection] [resume] [memory]``
runs the named parts, by default all but the last two, which play 5,500 and 10,000 episodes and take
some minutes.
"""

from __future__ import annotations

import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_babyai.journal import RUNS_DIRECTORY, open_run
from tests.benchmarks.episodes import call_pytest, model_server, stats, write_project

if TYPE_CHECKING:
    from collections.abc import Callable

CONCURRENCY = 50
NUM_TURNS = 3


def timed(directory: Path, *options: str, plugins: tuple[str, ...] = ()) -> float:
    """Returns the wall time of a whole command that plays, in seconds."""
    started_s = time.perf_counter()
    call_pytest(directory, "--babyai-gate=aggregate", *plugins, *options)
    return time.perf_counter() - started_s


def journal() -> None:
    with model_server(0, 0) as port, tempfile.TemporaryDirectory() as name:
        model = write_project(Path(name), port)
        options = (f"--babyai-model={model}",)
        call_pytest(Path(name), "--collect-only", *options)
        kept, unkept = [], []
        for _ in range(NUM_TURNS):
            kept.append(timed(Path(name), *options))
            unkept.append(timed(Path(name), *options, "--babyai-journal=off"))
    print("journal, model answers at once, 400 episodes, best of 3 in turns")
    print(f"  off {min(unkept):6.2f} s   on {min(kept):6.2f} s")
    print(f"  ratio {min(kept) / min(unkept):.3f}  (at most 1.03)")


def order() -> None:
    with model_server(60, 60, sigma=0.5) as port, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = write_project(directory, port)
        options = (f"--babyai-model={model}",)
        unknown_s = timed(directory, *options)
        known_s = timed(directory, *options)
        entries = open_run(directory / RUNS_DIRECTORY).entries(with_steps=False)
        durations_s = [entry.outcome.duration_s for entry in entries]
    bound_s = max(sum(durations_s) / CONCURRENCY, *durations_s)
    print(f"order, {len(durations_s)} episodes, log-normal durations, sigma 0.5")
    print(
        f"  bound {bound_s:6.2f} s   durations unknown {unknown_s:6.2f} s   known {known_s:6.2f} s"
    )
    print(f"  known / bound {known_s / bound_s:.3f}  (at most 1.05)")


def processes() -> None:
    with model_server(50, 150) as port, tempfile.TemporaryDirectory() as name:
        model = write_project(Path(name), port)
        options = (f"--babyai-model={model}",)
        call_pytest(Path(name), "--collect-only", *options)
        one_s = timed(Path(name), *options)
        num_before = stats(port)["num_answers"]
        two_s = timed(Path(name), "-n", "2", *options, plugins=("-p", "xdist"))
        num_two = stats(port)["num_answers"] - num_before
    print(
        f"processes, 400 episodes after 50-150 ms ({num_before:,.0f} and {num_two:,.0f} requests)"
    )
    print(f"  one {one_s:6.2f} s   two {two_s:6.2f} s")
    print(f"  ratio {two_s / one_s:.3f}  (at most 1.15)")


PLAIN = """
import pytest

@pytest.mark.parametrize(("variant", "task", "seed"), [
    pytest.param(v, t, s, id=f"{v}-{t}-{s}")
    for v in ("baseline", "history") for t in range(5) for s in range(1000)
])
def test_plain(variant, task, seed): pass
"""
MANY = ("--babyai-variants=baseline,history", "--babyai-episodes=1000")


def collection() -> None:
    with model_server(0, 0) as port, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = write_project(directory, port)
        (directory / "test_plain.py").write_text(PLAIN)
        turns = [collect_both(directory, model) for _ in range(NUM_TURNS + 1)][1:]
    plain_s = min(plain for plain, _ in turns)
    marked_s = min(marked for _, marked in turns)
    print("collection of 10,000 items, best of 3 in turns")
    print(f"  plain {plain_s:5.2f} s   episodes {marked_s:5.2f} s")
    print(f"  over pytest's own {marked_s - plain_s:+.2f} s  (at most +1)")


def collect_both(directory: Path, model: Path) -> tuple[float, float]:
    def seconds(*arguments: str) -> float:
        started_s = time.perf_counter()
        call_pytest(directory, "--collect-only", *arguments)
        return time.perf_counter() - started_s

    marked = ("test_babyai.py", f"--babyai-model={model}", *MANY)
    return seconds("test_plain.py"), seconds(*marked)


def resume() -> None:
    """A resume that reads the journal anew for every episode takes ten times as long for each."""
    few, many = 25, 250
    with model_server(0, 0) as port:
        few_s, many_s = (resumed_s(port, num_seeds) for num_seeds in (few, many))
    print("resume of finished runs of 500 and 5,000 episodes")
    print(f"  500 {few_s:6.2f} s   5,000 {many_s:6.2f} s")
    print(f"  seconds an episode, 5,000 over 500: {many_s / few_s * few / many:.2f}  (at most 1.1)")


def resumed_s(port: int, num_seeds: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        model = write_project(Path(name), port)
        options = (f"--babyai-model={model}", f"--babyai-episodes={num_seeds}")
        timed(Path(name), *options)
        return timed(Path(name), *options, "--babyai-resume")


def memory() -> None:
    with model_server(0, 0) as port, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = write_project(directory, port)
        options = ("test_babyai.py", f"--babyai-model={model}", *MANY)
        started_s = time.perf_counter()
        printed = call_pytest(directory, "--babyai-gate=aggregate", *options)
        wall_s = time.perf_counter() - started_s
        size = sum(path.stat().st_size for path in (directory / RUNS_DIRECTORY).rglob("*.jsonl"))
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    told = re.search(r"10,?000 episodes in.*", printed)
    print(f"memory: {told.group() if told else printed[-300:]} ({wall_s:.0f} s in all)")
    print(f"  journal {size / 1e6:,.0f} MB, peak memory {peak_mb:.0f} MB  (under 400)")


PARTS: dict[str, Callable[[], None]] = {
    "journal": journal,
    "order": order,
    "processes": processes,
    "collection": collection,
    "resume": resume,
    "memory": memory,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or list(PARTS)[:-2]:
        PARTS[part]()
