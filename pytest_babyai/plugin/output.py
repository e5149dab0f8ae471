"""Logs, warnings and output of background episodes, kept for the item that they belong to.

Episodes run while some other item, or none, is being run. What they print or log meanwhile is held
back, and let out again in the setup of their own item, where pytest captures it as always.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_babyai.records import PlannedEpisode

MAX_HELD = 1_000
"""Entries that are held for one episode; what comes later is dropped."""

HeldBack = list["Callable[[], object]"]
_current: contextvars.ContextVar[HeldBack | None] = contextvars.ContextVar("episode", default=None)


class HeldOutput:
    """What the episodes of a session print, log and warn, until their items run."""

    def __init__(self) -> None:
        self._held: dict[PlannedEpisode, HeldBack] = {}
        self._router: Router | None = None

    def watch(self) -> None:
        """Begins to watch over logging and warnings."""
        self._router = self._router or Router()
        self._router.install()

    def unwatch(self) -> None:
        """Ends the watch; a second call does nothing."""
        if self._router is not None:
            self._router.uninstall()
            self._router = None

    @contextlib.contextmanager
    def of(self, episode: PlannedEpisode) -> Iterator[None]:
        """Holds back what the code inside prints, logs and warns."""
        with held_back() as held:
            yield
        if held:
            self._held[episode] = held

    def release(self, episode: PlannedEpisode) -> None:
        """Prints, logs and warns what an episode did, in the item that it belongs to."""
        for call in self._held.pop(episode, ()):
            call()


@contextlib.contextmanager
def held_back() -> Iterator[HeldBack]:
    """Holds back what the code inside prints, logs and warns, while a `Router` is installed.

    Yields:
        Calls that let it out again, in order.
    """
    held: HeldBack = []
    token = _current.set(held)
    try:
        yield held
    finally:
        _current.reset(token)


def _hold(call: Callable[[], object]) -> bool:
    held = _current.get()
    if held is None:
        return False
    if len(held) < MAX_HELD:
        held.append(call)
    return True


class Router:
    """Watches over the process's output, logging and warnings; does nothing outside `held_back`."""

    def __init__(self) -> None:
        self._show_warning: Callable[[Any], None] = getattr(warnings, "_showwarnmsg")  # noqa: B009
        self._call_handlers = logging.Logger.callHandlers

    def install(self) -> None:
        """Begins to watch."""
        show_warning, call_handlers = self._show_warning, self._call_handlers

        def route_warning(message: Any) -> None:
            if not _hold(lambda: show_warning(message)):
                show_warning(message)

        def route_record(logger: logging.Logger, record: logging.LogRecord) -> None:
            if not _hold(lambda: call_handlers(logger, record)):
                call_handlers(logger, record)

        # catch_warnings and caplog come and go with every item; these two stay.
        setattr(warnings, "_showwarnmsg", route_warning)  # noqa: B010
        setattr(logging.Logger, "callHandlers", route_record)  # noqa: B010

    def uninstall(self) -> None:
        """Ends the watch."""
        setattr(warnings, "_showwarnmsg", self._show_warning)  # noqa: B010
        setattr(logging.Logger, "callHandlers", self._call_handlers)  # noqa: B010


class _Routed:
    """A text stream that holds back what episodes write, and is another stream otherwise."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name = name
        self._stream = stream

    def write(self, text: str) -> int:
        if _hold(lambda: getattr(sys, self._name).write(text)):
            return len(text)
        written: int = self._stream.write(text)
        return written

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._stream, attribute)


@contextlib.contextmanager
def routed_output() -> Iterator[None]:
    """Routes standard output and error while the code inside runs or waits.

    pytest's capture puts streams of its own in their place with every phase of an item, so this is
    wrapped around each phase, and around the waiting in between.
    """
    before = sys.stdout, sys.stderr
    routed = _Routed("stdout", sys.stdout), _Routed("stderr", sys.stderr)
    sys.stdout, sys.stderr = routed
    try:
        yield
    finally:
        # Whoever has put a stream of his own there inside shall find it again.
        if (sys.stdout, sys.stderr) == routed:
            sys.stdout, sys.stderr = before
