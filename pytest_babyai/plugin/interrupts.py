"""What Ctrl-C does to a session."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


class Interrupts:
    """Ctrl-C, ignored for the while that an orderly end takes."""

    def __init__(self) -> None:
        self._handler: Any = None

    def ignore(self) -> None:
        """Begins to ignore it; only the main thread can."""
        if self._handler is None and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def heed(self) -> None:
        """Ends ignoring it."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None


def drop_unknown_lines(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Leaves the places out of a traceback that have no line number.

    Ctrl-C can arrive between two lines, where the compiler has put instructions of its own. pytest
    computes with the number and would end with an error of its own, without a summary.
    """
    excinfo.traceback = excinfo.traceback.filter(
        lambda entry: entry._rawentry.tb_lineno is not None  # noqa: SLF001 - no public name
    )
