"""What commands name: runs of the journal, and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pytest_babyai.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import SimpleNamespace

    from pytest_babyai.gate import RunSnapshot
    from pytest_babyai.journal import RunLog

_NUM_SUGGESTED: Final = 10


@dataclass(frozen=True, slots=True)
class Side:
    """A run or baseline that a command names.

    Attributes:
        label: Names it in lines: ``baseline main``, ``run 20261123-180102-ab12``.
        snapshot: Its scores, and what played.
        log: The run, None for a baseline.
    """

    label: str
    snapshot: RunSnapshot
    log: RunLog | None = None

    def notes(self) -> Iterator[str]:
        """Yields what a run lacks."""
        from pytest_babyai.reporting.numbers import count_of

        if self.log is None:
            return
        num_played = len(self.snapshot.scores.episodes)
        num_selected = self.log.manifest.session.num_selected
        if num_played < num_selected:
            played = f"{num_played:,} of {num_selected:,} episodes played"
            yield f"{self.label} is not complete: {played}"
        if self.log.problems:
            left_out = count_of(len(self.log.problems), "damaged line")
            yield f"{self.label}: {left_out} left out, {self.log.problems[0]}"


def journal_of(chosen: SimpleNamespace) -> Path:
    """Returns the directory of the project's runs."""
    from pytest_babyai.journal import RUNS_DIRECTORY

    root: Path = chosen.root
    return root / RUNS_DIRECTORY


def run_of(chosen: SimpleNamespace, run: str) -> RunLog:
    """Opens the run that a command names; ``latest`` may be one that is still being played.

    Raises:
        SettingsError: There is none.
        JournalError: Its manifest cannot be read.
    """
    from pytest_babyai.journal import LATEST, newest_runs, open_run

    root = journal_of(chosen)
    newest = next(newest_runs(root), None)
    try:
        return open_run(root, run)
    except SettingsError:
        if newest is None:
            message = f"no run in {root} yet: every pytest run with episodes adds one"
            raise SettingsError(message) from None
        if run != LATEST:
            raise
        return newest


def run_side(log: RunLog) -> Side:
    """Reads a run as something to compare or judge.

    Raises:
        JournalError: It cannot be read.
        BaselineError: One of its levels has several layouts.
    """
    from pytest_babyai.environment import TASKS
    from pytest_babyai.reporting.recorded import recorded_snapshot

    return Side(f"run {log.run_id}", recorded_snapshot(log, TASKS), log)


def side_of(chosen: SimpleNamespace, name: str) -> Side:
    """Opens the run or the baseline that an argument or option names.

    Args:
        chosen: The command's options.
        name: Which of them.

    Raises:
        UsageError: There is neither, or it cannot be read.
    """
    from pytest_babyai.gate import find_baseline, load_baseline

    text, directory = getattr(chosen, name), _baselines(chosen)
    is_name = Path(text).name == text and not text.endswith(".json")
    log = _named_run(journal_of(chosen), text, directory) if is_name else None
    if log is not None:
        return run_side(log)
    path = find_baseline(text, directory, place=f"the {name}")
    return Side(f"baseline {text}", load_baseline(path))


def _named_run(root: Path, text: str, baselines: Path) -> RunLog | None:
    """Returns the run that a word means, None where it is the name of a baseline."""
    from pytest_babyai.journal import LATEST, open_run

    names = sorted(path.name for path in root.glob("*") if path.is_dir())
    matches = [name for name in names if name.startswith(text) or name.endswith(text)]
    blessed = sorted(path.stem for path in baselines.glob("*.json"))
    if text in blessed and matches and text not in matches:
        raise SettingsError(
            f"{text!r} is part of run {matches[-1]} and the name of a baseline; write the whole "
            f"id, or {baselines / text}.json"
        )
    if matches or (text == LATEST and names):
        return open_run(root, text)
    if text in blessed:
        return None
    known = [*blessed, *([LATEST] if names else []), *names[: -_NUM_SUGGESTED - 1 : -1]]
    hint = did_you_mean(text, known) if known else "there is none of either yet"
    raise SettingsError(f"{text!r} is no run in {root} and no baseline in {baselines}; {hint}")


def _baselines(chosen: SimpleNamespace) -> Path:
    from pytest_babyai.gate import BASELINES_DIRECTORY
    from pytest_babyai.project import find_config

    config: Path | None = chosen.config
    if config is not None and not config.is_dir():
        raise SettingsError(f"--config: there is no directory {config}")
    return (config or find_config(None, [chosen.root])) / BASELINES_DIRECTORY
