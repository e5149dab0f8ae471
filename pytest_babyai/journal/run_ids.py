"""Names of runs: readable, unique, and sorted by time even where the clock is not."""

from __future__ import annotations

import datetime as dt
import random
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN_ID: Final = re.compile(r"(?P<stamp>\d{8}-\d{6})-(?P<suffix>[0-9a-f]{4})")
"""UTC time to the second and four hexadecimal digits: ``20261123-180102-ab12``."""

_STAMP: Final = "%Y%m%d-%H%M%S"
_NUM_SUFFIXES: Final = 0x10000
_LARGEST_STEP: Final = 0x100


def next_run_id(
    now: dt.datetime, existing: Iterable[str], chance: random.Random | None = None
) -> str:
    """Returns an id that sorts behind all existing ones.

    Where the clock stands before the newest run, the id counts on from that run's. Two processes
    may get the same id, so whoever makes the directory first has it.

    Args:
        now: Time in UTC.
        existing: Names in the directory of the runs; those that are no id are ignored.
        chance: Chooses the four digits.
    """
    chance = chance or random.Random()  # noqa: S311 -- nothing depends on guessing it
    stamp = now.strftime(_STAMP)
    newest = max((name for name in existing if RUN_ID.fullmatch(name)), default="")
    if newest[: len(stamp)] < stamp:
        return f"{stamp}-{chance.randrange(_NUM_SUFFIXES // 2):04x}"
    stamp = newest[: len(stamp)]
    suffix = int(newest[len(stamp) + 1 :], 16) + 1 + chance.randrange(_LARGEST_STEP)
    if suffix >= _NUM_SUFFIXES:
        return f"{_second_after(stamp)}-{suffix - _NUM_SUFFIXES:04x}"
    return f"{stamp}-{suffix:04x}"


def _second_after(stamp: str) -> str:
    try:
        moment = dt.datetime.strptime(stamp, _STAMP)  # noqa: DTZ007 -- UTC by definition
        return (moment + dt.timedelta(seconds=1)).strftime(_STAMP)
    except (ValueError, OverflowError):  # digits that are no time still have a successor
        digits = str(int(stamp.replace("-", "")) + 1).zfill(len(stamp) - 1)
        return f"{digits[:8]}-{digits[8:]}"
