"""Starts the offline model server as a process of its own and stops it."""

from __future__ import annotations

import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from pytest_babyai.errors import ServerStartError

if TYPE_CHECKING:
    from types import TracebackType

STOP_TIMEOUT_S = 5.0
MODELS_DIRECTORY: Final = ".babyai/models"
"""Where fine-tuned models are kept, in the current directory, unless it is said otherwise."""

# Not "-m": that would put the current directory first, where a user's json.py would be imported.
_BOOTSTRAP = """\
import runpy, sys
sys.path[:] = [path for path in sys.path if path]
sys.path.append({root!r})
runpy.run_module("pytest_babyai.offline", run_name="__main__", alter_sys=True)
"""


class OfflineServer:
    """The offline model server in a process of its own.

    The process ends with the one that started it, however that ends, and is no member of its
    process group: Ctrl-C in a terminal leaves it to `stop`, so that answers under way still
    arrive.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        latency_ms: Shortest and longest time a completion takes; at once by default.
        seed: Seed of all that is left to chance.
        slip_rate: Share of the situations that the model misjudges.
        models_dir: Where uploaded files, fine-tuning jobs and fine-tuned models are kept;
            ``.babyai/models`` by default. Models that are there are served.
        python: Python interpreter that runs it.
        start_timeout_s: How long it may take to be ready.

    Example:
        >>> with OfflineServer() as server:
        ...     server.url
        'http://127.0.0.1:40123'
    """

    def __init__(  # noqa: PLR0913 - the program's own options
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        latency_ms: tuple[float, float] | None = None,
        seed: int | None = None,
        slip_rate: float | None = None,
        models_dir: Path | None = None,
        python: str = sys.executable,
        start_timeout_s: float = 60.0,
    ) -> None:
        values = {
            "host": host,
            "port": port,
            "latency-ms": "{}-{}".format(*latency_ms) if latency_ms else None,
            "seed": seed,
            "slip-rate": slip_rate,
            "models-dir": models_dir,
        }
        arguments = [f"--{name}={value}" for name, value in values.items() if value is not None]
        root = Path(__file__).resolve().parents[2]
        bootstrap = _BOOTSTRAP.format(root=str(root))
        self._command = [python, "-c", bootstrap, "--exit-with-parent", *arguments]
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """URL of the server, ``api_base`` without its ``/v1``; empty while not running."""
        return self._url

    @property
    def port(self) -> int:
        """Port the server listens on; 0 while not running."""
        return int(self._url.rpartition(":")[2]) if self._url else 0

    @property
    def pid(self) -> int | None:
        """Process id; None while not running."""
        return self._process.pid if self._process else None

    def start(self) -> str:
        """Starts the server and waits until it is ready; does nothing if it runs already.

        Returns:
            Its URL.

        Raises:
            ServerStartError: It did not start, or not in time.
        """
        if self._process is None:
            with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
                self._process = self._spawn(errors)
                try:
                    self._url = self._wait_until_ready(self._process, errors)
                except BaseException:
                    self.stop()
                    raise
        return self._url

    def _spawn(self, errors: IO[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(  # noqa: S603 - our own program
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            message = (
                f"the offline model server did not start: {self._command[0]}: {error.strerror}"
            )
            raise ServerStartError(message) from error

    def _wait_until_ready(self, process: subprocess.Popen[str], errors: IO[str]) -> str:
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=_read_line, args=(process, lines), daemon=True)
        reader.start()
        try:
            url = lines.get(timeout=self._start_timeout_s).strip()
        except queue.Empty:
            reason = f"it was not ready within {self._start_timeout_s:g} s"
        else:
            if url.startswith("http://"):
                return url
            reason = f"exit code {process.wait(STOP_TIMEOUT_S)}" if not url else f"it said {url!r}"
        errors.seek(0)
        said = errors.read().strip().splitlines()
        detail = f"{reason}: {said[-1]}" if said else reason
        message = f"the offline model server did not start: {detail}"
        raise ServerStartError(message)

    def stop(self) -> None:
        """Stops the server and waits for its end; does nothing if it does not run."""
        process, self._process, self._url = self._process, None, ""
        if process is None:
            return
        if process.stdin:
            process.stdin.close()  # the server ends when its input does
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()

    def __enter__(self) -> OfflineServer:  # noqa: PYI034 - Self needs Python 3.11
        """Starts the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops the server."""
        self.stop()


def _read_line(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    if process.stdout:
        lines.put(process.stdout.readline())
