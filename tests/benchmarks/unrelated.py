"""A run without episodes, with the plugin and without it.

``python tests/benchmarks/unrelated.py`` prints the ratio of the median times of whole commands,
measured in turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NUM_TURNS = 30
SUITE = "import pytest\n\n@pytest.mark.parametrize('n', range(50))\ndef test_n(n): pass\n"


def run(directory: Path, *options: str) -> float:
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "pytest", "-q", *options]
    started_s = time.perf_counter()
    subprocess.run(command, cwd=directory, env=environment, capture_output=True, check=True)
    return time.perf_counter() - started_s


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "test_unrelated.py").write_text(SUITE)
        (directory / "pytest.ini").write_text("[pytest]\n")
        with_plugin, without = [], []
        for _ in range(NUM_TURNS + 1):
            with_plugin.append(run(directory, "-p", "pytest_babyai.plugin"))
            without.append(run(directory))
        # The first turn compiles.
        with_s, without_s = statistics.median(with_plugin[1:]), statistics.median(without[1:])
    print(f"an unrelated run, median of {NUM_TURNS}")
    print(f"  without the plugin {without_s * 1e3:6.1f} ms")
    print(f"  with it            {with_s * 1e3:6.1f} ms")
    print(f"  ratio              {with_s / without_s:6.3f}    (at most 1.05)")


if __name__ == "__main__":
    main()
