"""Programs that a command runs in its place, and that see to Ctrl-C themselves."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: Exit code; as in shells, 128 and the signal's number where a signal ended it.
        is_interrupted: Whether Ctrl-C was pressed meanwhile.
    """

    code: int
    is_interrupted: bool


def run_to_its_end(command: Sequence[str], directory: Path) -> Ended:
    """Runs a program; its input, output and errors are ours.

    Ctrl-C in a terminal reaches the program too. It is given all the time that it takes to end,
    where `subprocess.run` would kill it after a quarter of a second. To be called in the main
    thread.

    Args:
        command: The program and its arguments.
        directory: Where it runs.

    Raises:
        OSError: It cannot be started.
    """
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        # A handler, other than being ignored, is not inherited by the program.
        code = subprocess.Popen(command, cwd=directory).wait()  # noqa: S603 - the user's own words
    finally:
        signal.signal(signal.SIGINT, before)
    return Ended(code if code >= 0 else 128 - code, bool(interrupts))
