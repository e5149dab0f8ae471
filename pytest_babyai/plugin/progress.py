"""The live progress line below pytest's own output."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest._io import TerminalWriter

    from pytest_babyai.playing.player import Player

REPAINT_S = 0.1
FIRST_PAINT_S = 0.5


def progress_text(player: Player) -> str:
    """Returns how far a player is, in one line."""
    progress, elapsed_s = player.progress(), time.monotonic() - player.started_s
    parts = [
        f"babyai: {progress.num_finished}/{progress.num_submitted} episodes",
        f"{progress.num_running} in flight",
        f"{player.controls.num_steps / max(elapsed_s, 1e-9):,.0f} steps/s",
        f"elapsed {_clock(elapsed_s)}",
    ]
    if progress.num_finished:
        left = progress.num_submitted - progress.num_finished
        parts.append(f"about {_clock(elapsed_s * left / progress.num_finished)} left")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressLine:
    """A line under the cursor that is repainted in place; only for terminals.

    Args:
        writer: The terminal.
        text: Gives the line's text.
        clock: Gives seconds, monotonic.
    """

    def __init__(
        self,
        writer: TerminalWriter,
        text: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._text = text
        self._clock = clock
        self._next_paint_s = clock() + FIRST_PAINT_S
        self._painted = False

    def paint(self) -> None:
        """Repaints the line if its time has come."""
        now_s = self._clock()
        if now_s >= self._next_paint_s:
            self._next_paint_s = now_s + REPAINT_S
            self._write_below(self._text()[: self._writer.fullwidth - 1])
            self._painted = True

    def clear(self) -> None:
        """Removes the line, before anything else is printed."""
        if self._painted:
            self._write_below("")
            self._painted = False

    def _write_below(self, text: str) -> None:
        # Down, erase, write, up and back: saved cursor positions do not survive scrolling.
        column = self._writer.width_of_current_line
        back = f"\x1b[{column}C" if column else ""
        self._writer._file.write(f"\n\r\x1b[2K{text}\x1b[1A\r{back}")  # noqa: SLF001
        self._writer.flush()
