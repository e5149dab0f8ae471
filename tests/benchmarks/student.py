"""How long a fine-tuned model of the usual size takes for a batch of 15 prompts, idle and busy.

``python tests/benchmarks/student.py`` asks it alone and beside as many busy processes as there are
cores, with waiting threads that sleep, as the server sets it, and with threads that spin. All in
one run, so that the ratios say something; the weights are random, which costs the same.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

BATCH = 15
REPEATS = 5
NUM_ANSWER_TOKENS = 31
PROMPT_TOKENS = 300


def batch_s() -> float:
    """Returns the median time of a batch in this process."""
    from pytest_babyai.offline.finetuning.model import Ask, Network, NetworkSize, generate
    from pytest_babyai.offline.finetuning.serve import MAX_THREADS
    from pytest_babyai.offline.finetuning.train import use_cores

    use_cores(MAX_THREADS)
    network = Network(NetworkSize(vocabulary=732)).eval()
    asks = [
        Ask(
            [20 + (row * 7 + n) % 700 for n in range(PROMPT_TOKENS - 4 * row)],
            max_tokens=NUM_ANSWER_TOKENS,
        )
        for row in range(BATCH)
    ]
    times = []
    for _ in range(REPEATS + 1):
        started_s = time.perf_counter()
        generate(network, asks)
        times.append(time.perf_counter() - started_s)
    return sorted(times[1:])[REPEATS // 2]


def measured_s(wait_policy: str) -> float:
    """Returns `batch_s` of a process whose waiting threads behave like this."""
    environment = {**os.environ, "OMP_WAIT_POLICY": wait_policy}
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def spin() -> None:
    while True:
        pass


def main() -> None:
    if "--measure" in sys.argv:
        print(batch_s())
        return
    alone_s = measured_s("PASSIVE")
    busy = [
        multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
        for _ in range(os.cpu_count() or 1)
    ]
    for process in busy:
        process.start()
    passive_s, active_s = measured_s("PASSIVE"), measured_s("ACTIVE")
    for process in busy:
        process.kill()
    print(f"{BATCH} prompts of up to {PROMPT_TOKENS} tokens, {NUM_ANSWER_TOKENS} tokens each")
    print(f"alone          {alone_s:.2f} s")
    print(f"busy, passive  {passive_s:.2f} s  {passive_s / alone_s:.1f} x")
    print(f"busy, active   {active_s:.2f} s  {active_s / alone_s:.1f} x")


if __name__ == "__main__":
    main()
