"""``python -m pytest_babyai.offline``: serves the offline model until it is told to stop.

Prints one line when it is ready, its URL (``api_base`` is this and ``/v1``), and nothing further.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from pytest_babyai.errors import ServerStartError
from pytest_babyai.offline.finetuning.api import FineTuning
from pytest_babyai.offline.policy import CARELESS, DEFAULT_SLIP_RATE, Policy
from pytest_babyai.offline.process import MODELS_DIRECTORY
from pytest_babyai.offline.server import (
    CARELESS_MODEL_NAME,
    MODEL_NAME,
    Application,
    ServedModels,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EXIT_USAGE = 2
BACKLOG = 2048
SHUTDOWN_TIMEOUT_S = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server.

    Returns:
        The exit code: 0 after Ctrl-C or a termination signal, 2 if the server could not start.
    """
    # Threads of a fine-tuned model that wait for each other let others have the core meanwhile.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    options = _parser().parse_args(arguments)
    try:
        listener = _listen(options.host, options.port)
    except ServerStartError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    if options.exit_with_parent:
        threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    tuning = FineTuning(options.models_dir, (MODEL_NAME, CARELESS_MODEL_NAME))
    with contextlib.closing(tuning), contextlib.suppress(KeyboardInterrupt):
        # A KeyboardInterrupt comes so early that the server does not handle it yet.
        _Server(_configuration(options, tuning)).run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Tells its URL once it can be used and told to stop; a signal makes it stop, not fail."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            print(_url(listener), flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pytest_babyai.offline", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=0, help="port to listen on; 0 for a free one (default)")
    add(
        "--latency-ms",
        type=_latency_ms,
        default=(0.0, 0.0),
        metavar="MIN-MAX",
        help="let every completion take a time from this range, e.g. 50-150 (default: at once)",
    )
    add("--seed", type=int, default=0, help="seed of all that is left to chance (default: 0)")
    add(
        "--slip-rate",
        type=_share,
        default=DEFAULT_SLIP_RATE,
        help="share of the situations that the model misjudges, 0 to 1 (default: %(default)s)",
    )
    add(
        "--models-dir",
        type=Path,
        default=MODELS_DIRECTORY,
        metavar="DIRECTORY",
        help="where uploaded files, fine-tuning jobs and models are kept (default: %(default)s)",
    )
    add(
        "--exit-with-parent",
        action="store_true",
        help="stop when standard input ends, as it does when the process that holds it dies",
    )
    return parser


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else -1
    if not 0 <= port <= 65535:  # noqa: PLR2004
        message = f"{text!r} is no port: a number from 0 to 65535"
        raise argparse.ArgumentTypeError(message)
    return port


def _latency_ms(text: str) -> tuple[float, float]:
    low_text, _, high_text = text.partition("-")
    try:
        low, high = float(low_text), float(high_text or low_text)
    except ValueError:
        low, high = 1.0, 0.0
    if not 0 <= low <= high < float("inf"):
        message = f"{text!r} is no range of milliseconds: MIN-MAX, e.g. 50-150"
        raise argparse.ArgumentTypeError(message)
    return low, high


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        message = f"{text!r} is no share: a number from 0 to 1"
        raise argparse.ArgumentTypeError(message)
    return share


def _listen(host: str, port: int) -> socket.socket:
    """Opens the port here, not in uvicorn: so its number is known and a failure is one line."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        message = (
            f"the offline model server cannot listen on {host}:{port}: {reason}; "
            "choose another --port, or 0 for a free one"
        )
        raise ServerStartError(message) from error
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _configuration(options: argparse.Namespace, tuning: FineTuning) -> uvicorn.Config:
    policy = Policy(slip_rate=options.slip_rate, seed=options.seed)
    policies = {MODEL_NAME: policy, CARELESS_MODEL_NAME: replace(CARELESS, seed=options.seed)}
    models = ServedModels(policies, options.latency_ms, options.seed, tuning.models)
    return uvicorn.Config(
        Application(models, tuning.routes()),
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=3600,  # no client's pool should meet a connection just closed
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
    )


def _stop_at_end_of_input() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
