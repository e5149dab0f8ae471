"""Episodes as a table for other programs: a pandas frame, CSV and Parquet, one row per episode.

The columns and their order are part of the public interface; new ones are added at the end.

| column | type | meaning |
|---|---|---|
| run_id | string | run of the journal, missing where there is none |
| model | string | the model as reports name it |
| variant, task, seed | string, string, integer | which episode this is |
| outcome | string | ``passed``, ``failed`` (below its threshold) or ``error`` |
| error_kind, error_message | string | of an error only |
| progression, threshold | number | reached, and to be reached |
| success | boolean | whether the task was solved |
| return | number | sum of the rewards |
| num_steps, max_steps | integer | played, and the limit |
| terminated, truncated | boolean | the task ended by itself; the limit was reached |
| num_invalid | integer | answers that named no known action or did not parse |
| num_fallbacks | integer | random actions that stood in for failed requests |
| num_retries | integer | requests that were repeated |
| input_tokens, output_tokens, cost | integer, integer, number | missing where unknown; US dollars |
| started_at | string | UTC, ISO format |
| duration_s | number | seconds |
| mission | string | the instruction |
| episode_id | string | the gateway's id |
| nodeid | string | of the pytest item |

An error has no score: its progression, success and return are missing, never 0.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.records import EpisodeFailure, EpisodeResult

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from pytest_babyai.reporting.results import EpisodeReport, RunReport

COLUMNS: Final = {
    "run_id": "string",
    "model": "string",
    "variant": "string",
    "task": "string",
    "seed": "Int64",
    "outcome": "string",
    "error_kind": "string",
    "error_message": "string",
    "progression": "Float64",
    "threshold": "Float64",
    "success": "boolean",
    "return": "Float64",
    "num_steps": "Int64",
    "max_steps": "Int64",
    "terminated": "boolean",
    "truncated": "boolean",
    "num_invalid": "Int64",
    "num_fallbacks": "Int64",
    "num_retries": "Int64",
    "input_tokens": "Int64",
    "output_tokens": "Int64",
    "cost": "Float64",
    "started_at": "string",
    "duration_s": "Float64",
    "mission": "string",
    "episode_id": "string",
    "nodeid": "string",
}
"""Type by column, as pandas calls it; all of them can be missing."""


def episodes_frame(report: RunReport, *, run_id: str | None = None) -> pd.DataFrame:
    """Returns a row per episode, ordered by variant, task and seed, as this module describes.

    Args:
        report: The run.
        run_id: Its name in the journal.
    """
    import pandas as pd  # 240 ms, which only those pay who export

    ordered = sorted(report.episodes, key=lambda each: (each.spec, each.nodeid))
    rows = [{"run_id": run_id, "model": report.setup.model_label, **_row(each)} for each in ordered]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    return frame


def write_csv(path: Path, report: RunReport, *, run_id: str | None = None) -> None:
    """Writes `episodes_frame` as CSV in UTF-8; what is missing is empty.

    Raises:
        SettingsError: The file cannot be written.
    """
    text = episodes_frame(report, run_id=run_id).to_csv(index=False, lineterminator="\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise _not_written(path, error) from None


def write_parquet(path: Path, report: RunReport, *, run_id: str | None = None) -> None:
    """Writes `episodes_frame` as Parquet.

    Raises:
        SettingsError: pyarrow is not installed, or the file cannot be written.
    """
    if importlib.util.find_spec("pyarrow") is None:  # pandas would take several lines to say so
        raise SettingsError(
            f"{path}: Parquet needs pyarrow, which is not installed: "
            "pip install 'pytest-babyai[parquet]'"
        )
    frame = episodes_frame(report, run_id=run_id)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, engine="pyarrow", index=False)
    except OSError as error:
        raise _not_written(path, error) from None


def _row(report: EpisodeReport) -> dict[str, Any]:
    outcome = report.outcome
    common = {
        "variant": report.spec.variant,
        "task": report.spec.task,
        "seed": report.spec.seed,
        "threshold": report.threshold,
        "num_steps": outcome.num_steps,
        "num_retries": outcome.num_retries,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost": outcome.usage.cost,
        "started_at": _utc(outcome.started_at_s),
        "duration_s": outcome.duration_s,
        "episode_id": outcome.episode_id,
        "nodeid": report.nodeid,
    }
    if isinstance(outcome, EpisodeFailure):
        return {**common, **_failure_columns(outcome)}
    outcome_name = "failed" if report.below_threshold else "passed"
    return {**common, "outcome": outcome_name, **_score_columns(outcome)}


def _failure_columns(failure: EpisodeFailure) -> dict[str, Any]:
    return {"outcome": "error", "error_kind": failure.kind, "error_message": failure.message}


def _score_columns(result: EpisodeResult) -> dict[str, Any]:
    return {
        "progression": result.progression,
        "success": result.success,
        "return": result.episode_return,
        "max_steps": result.max_steps,
        "terminated": result.terminated,
        "truncated": result.truncated,
        "num_invalid": len(result.failed_candidates),
        "num_fallbacks": result.num_fallbacks,
        "mission": result.mission,
    }


def _utc(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds")


def _not_written(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{error.filename or path}: {error.strerror or error}")
