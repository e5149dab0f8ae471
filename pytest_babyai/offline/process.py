"""Starts the offline model server as a process of its own and stops it."""

from __future__ import annotations

import json
import sys
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.child_process import NotReadyError, start_child
from pytest_babyai.errors import ServerStartError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from pytest_babyai.child_process import ChildProcess

STOP_TIMEOUT_S = 5.0
_HEALTH_TIMEOUT_S = 2.0
MODELS_DIRECTORY: Final = ".babyai/models"
"""Where fine-tuned models are kept, in the current directory, unless it is said otherwise."""


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
        self._arguments = [
            f"--{name}={value}" for name, value in values.items() if value is not None
        ]
        self._python = python
        self._start_timeout_s = start_timeout_s
        self._child: ChildProcess | None = None
        self._last_notes: list[str] = []

    @property
    def url(self) -> str:
        """URL of the server, ``api_base`` without its ``/v1``; empty while not running."""
        return self._child.url if self._child else ""

    @property
    def port(self) -> int:
        """Port the server listens on; 0 while not running."""
        return int(self.url.rpartition(":")[2]) if self._child else 0

    @property
    def pid(self) -> int | None:
        """Process id; None while not running."""
        return self._child.pid if self._child else None

    def start(self) -> str:
        """Starts the server and waits until it is ready; does nothing if it runs already.

        Returns:
            Its URL.

        Raises:
            ServerStartError: It did not start, or not in time.
        """
        if self._child is None:
            try:
                self._child = start_child(
                    "pytest_babyai.offline",
                    self._arguments,
                    python=self._python,
                    timeout_s=self._start_timeout_s,
                )
            except NotReadyError as error:
                detail = f"{error}: {error.said[-1]}" if error.said else str(error)
                message = f"the offline model server did not start: {detail}"
                raise ServerStartError(message) from None
        return self.url

    def notes(self) -> list[str]:
        """Returns what a summary has to say of the server's answers, also after its end.

        That is a line about prompts in which the offline model found no mission or no current
        observation, if there were any: a score on these says nothing about the variant.
        """
        if self._child is not None:
            self._last_notes = _notes(_health(self.port))
        return self._last_notes

    def stop(self) -> None:
        """Stops the server and waits for its end; does nothing if it does not run."""
        self.notes()
        child, self._child = self._child, None
        if child is not None:
            child.stop(STOP_TIMEOUT_S)

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


def _health(port: int) -> dict[str, Any]:
    """Returns what the server says of itself; nothing where it gives no answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        told: dict[str, Any] = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return told


def _notes(health: dict[str, Any]) -> list[str]:
    read = health.get("read", {})
    lacking = {
        what: read.get(name, 0)
        for what, name in (
            ("mission", "without_mission"),
            ("current observation", "without_view"),
        )
    }
    if not any(lacking.values()):
        return []
    found = " and ".join(f"no {what} in {n:,}" for what, n in lacking.items() if n)
    line = (
        f"WARNING: the offline model found {found} of {read['prompts']:,} prompts, so that these "
        "episodes say nothing about the variants"
    )
    return [line]
