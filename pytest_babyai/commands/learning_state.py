"""How far the loop of ``learn`` is, as a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


@dataclass
class LearningState:
    """How far the loop is.

    Attributes:
        options: What it was started with; other options are another loop.
        known_runs: Runs of the journal before a step by name of the step, so that the one that it
            makes is known even if nobody lives to note it.
        runs: Run by name of the step, once it has one.
        done: Steps that are finished.
    """

    options: dict[str, Any]
    known_runs: dict[str, list[str]] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def run_of(self, step: str, runs: Collection[str]) -> str | None:
        """Returns the run of a step, None while it has none.

        Args:
            step: Name of the step.
            runs: Runs of the journal, oldest first.
        """
        if step in self.runs:
            return self.runs[step]
        known = self.known_runs.get(step)
        # The first that was not there before: others may have been played since.
        return None if known is None else next((run for run in runs if run not in known), None)

    def has_begun(self, runs: Collection[str]) -> bool:
        """Whether anything was played, or only refused.

        Args:
            runs: As `run_of` takes them.
        """
        return bool(self.done) or any(self.run_of(step, runs) for step in self.known_runs)


def read_state(path: Path) -> LearningState | None:
    """Reads what `write_state` wrote; None where there is no file.

    Raises:
        SettingsError: It is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = LearningState(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        state = None
    if state is None or [type(part) for part in vars(state).values()] != [dict, dict, dict, list]:
        raise SettingsError(f"{path}: damaged; --fresh begins anew")
    return state


def write_state(path: Path, state: LearningState) -> None:
    """Writes a state in the place of an earlier one.

    Raises:
        SettingsError: It cannot be written.
    """
    from pytest_babyai.journal.files import replace_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(asdict(state), indent=1).encode())
    except OSError as error:
        raise SettingsError(f"{error.filename or path}: {error.strerror or error}") from None
