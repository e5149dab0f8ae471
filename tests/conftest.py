"""What all tests need of the process that they run in."""

from __future__ import annotations

import signal
import threading

from hypothesis import settings

# Properties are checked for what holds, not for how long an example takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell that starts the tests in its background has them ignore Ctrl-C, and so does every program
# that they start.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):
    signal.signal(signal.SIGINT, signal.default_int_handler)
