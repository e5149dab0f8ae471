"""Servers of this package, each in a process of its own."""

from __future__ import annotations

import queue
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_GIVE_UP_S: Final = 20.0
"""Time that a program which was not ready is given to end."""

# Not "-m": that would put the current directory first, where a user's json.py would be imported.
_BOOTSTRAP: Final = """\
import runpy, sys
sys.path[:] = [path for path in sys.path if path]
sys.path.append({root!r})
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


class NotReadyError(Exception):
    """A program did not start, or not in time.

    Attributes:
        exit_code: Its exit code; None while it ran, or if it never did.
        said: Lines that it wrote to standard error.
    """

    def __init__(self, reason: str, exit_code: int | None = None, said: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.said = list(said)


class ChildProcess:
    """A running server, which ends with this process, however that ends.

    It is told so by the end of its standard input, and is no member of anyone's process group:
    Ctrl-C in a terminal leaves it to `stop`. Made by `start_child`.

    Attributes:
        url: What it printed when it was ready.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> None:
        """Waits for its end."""
        self._process.wait()

    def ending(self) -> str:
        """Returns how it ended: ``exit code 1``, or ``signal 9``."""
        code = self._process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """Lets go of one that has ended."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()

    def stop(self, timeout_s: float, *, kill: bool = True) -> None:
        """Lets it end, and waits for that, unless it says another line: then it goes on.

        Args:
            timeout_s: Longest time to wait.
            kill: Whether to end one that takes longer, else it is left to its end.
        """
        process, give_up_s = self._process, time.monotonic() + timeout_s
        if process.stdin:
            with suppress(OSError):
                process.stdin.close()
        goes_on = bool(self._next_line(timeout_s))
        if not goes_on and not self._has_ended(give_up_s - time.monotonic()):
            if kill:
                process.kill()
                process.wait()
            goes_on = not kill
        if goes_on:
            process.returncode = 0  # nobody's to wait for any longer: no warning about it
        if process.stdout:
            # Not here: a thread may still wait for what the server prints.
            threading.Thread(target=process.stdout.close, daemon=True).start()

    def wait_until_ready(self, errors: IO[str], timeout_s: float) -> None:
        """Waits for its first line, a URL.

        Raises:
            NotReadyError: It said something else, or nothing.
        """
        line = self._next_line(timeout_s)
        if line is not None and line.startswith("http://"):
            self.url = line
            return
        if line is None:
            reason = f"it was not ready within {round(timeout_s, 2):g} s"
        else:
            reason = f"it said {line!r}" if line else f"exit code {self._process.wait(_GIVE_UP_S)}"
        errors.seek(0)
        raise NotReadyError(reason, self._process.poll(), errors.read().strip().splitlines())

    def _next_line(self, timeout_s: float) -> str | None:
        """Its next line, without its end; empty when it has ended, None when it is late."""
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_read_line, args=(self._process, lines), daemon=True).start()
        try:
            return lines.get(timeout=timeout_s).strip()
        except queue.Empty:
            return None

    def _has_ended(self, timeout_s: float) -> bool:
        try:
            self._process.wait(max(timeout_s, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True


def _read_line(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    if process.stdout:
        lines.put(process.stdout.readline())


def start_child(
    module: str, arguments: Sequence[str], *, python: str, timeout_s: float
) -> ChildProcess:
    """Starts a server and waits until it is ready.

    Args:
        module: What to run. It prints its URL when it is ready, and knows ``--exit-with-parent``.
        arguments: Its own arguments.
        python: The interpreter.
        timeout_s: How long it may take.

    Raises:
        NotReadyError: It did not start, or not in time.
    """
    bootstrap = _BOOTSTRAP.format(root=str(Path(__file__).resolve().parents[1]), module=module)
    command = [python, "-c", bootstrap, "--exit-with-parent", *arguments]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        child = ChildProcess(_spawn(command, errors))
        try:
            child.wait_until_ready(errors, timeout_s)
        except BaseException:
            child.stop(_GIVE_UP_S)
            raise
    return child


def _spawn(command: Sequence[str], errors: IO[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    except OSError as error:
        raise NotReadyError(f"{command[0]}: {error.strerror}") from error
