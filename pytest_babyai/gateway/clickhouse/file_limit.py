"""How many files and connections this process may have open."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

WANTED: Final = 4096


def raise_file_limit(wanted: int = WANTED) -> int:
    """Raises the soft limit as far as the hard one allows.

    Every INSERT that is not answered yet keeps a connection open, on both sides; the usual soft
    limits (1024 on Linux, 256 on macOS) are for programs that wait by ``select``.

    Returns:
        The limit that holds now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return soft
    with suppress(ValueError, OSError):  # a system may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
