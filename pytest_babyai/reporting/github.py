"""The summary that GitHub Actions shows of a step: Markdown appended to a file that it names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""Environment variable with the path of the file; a file of its own for every step."""

MAX_BYTES: Final = 1024 * 1024
"""Largest summary of a step; GitHub drops a larger one as a whole."""

_NOTE: Final = "> Cut here: GitHub takes no more. `--babyai-html=FILE` has the whole report."
_OPEN, _CLOSE = "<details>", "</details>"


def append_step_summary(environment: Mapping[str, str], markdown: Callable[[], str]) -> Path | None:
    """Appends a report to the summary of the present step; does nothing outside of GitHub Actions.

    What other commands of the step have written before stays, and counts towards the limit.

    Args:
        environment: Environment variables.
        markdown: Makes the report; asked only where there is a summary.

    Returns:
        The file, None where there is none.

    Raises:
        SettingsError: The file cannot be written.
    """
    name = environment.get(STEP_SUMMARY)
    if not name:
        return None
    path = Path(name)
    try:
        size = path.stat().st_size if path.exists() else 0
        text = cut_markdown(markdown(), MAX_BYTES - size - 1)
        with path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(f"\n{text}" if size else text)
    except OSError as error:
        raise SettingsError(f"{STEP_SUMMARY}: {path}: {error.strerror or error}") from None
    return path


def cut_markdown(markdown: str, max_bytes: int) -> str:
    """Returns Markdown of at most so many bytes in UTF-8; what is cut ends in a note.

    It is cut between lines, and a folded section that was open is closed. Where there is no room
    even for the note, nothing is left.
    """
    if _num_bytes(markdown) <= max_bytes:
        return markdown
    ends = {False: f"\n{_NOTE}\n", True: f"\n{_CLOSE}\n\n{_NOTE}\n"}
    room = max_bytes - _num_bytes(ends[True])
    kept: list[str] = []
    is_open = False
    for line in markdown.splitlines(keepends=True):
        room -= _num_bytes(line)
        if room < 0:
            break
        kept.append(line)
        if line.strip() in {_OPEN, _CLOSE}:
            is_open = line.strip() == _OPEN
    cut = "".join(kept) + ends[is_open]
    return cut if _num_bytes(cut) <= max_bytes else ""


def _num_bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
