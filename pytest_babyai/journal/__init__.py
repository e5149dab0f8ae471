"""The journal: every finished episode is one durable line, so that nothing is lost or played twice.

A run is a directory with ``manifest.json``, ``episodes.jsonl`` and a lock. `create_run` and
`resume_run` give its writing end, `open_run` and `list_runs` its reading end.
"""

from pytest_babyai.journal.entry import SCHEMA, Entry, EpisodeKey
from pytest_babyai.journal.manifest import (
    GitState,
    Manifest,
    RunState,
    Session,
    VariantDefinition,
    configuration_changes,
    describe_session,
    git_state,
    installed_versions,
)
from pytest_babyai.journal.merge import MergedRun, merge_runs
from pytest_babyai.journal.read import (
    LATEST,
    RunLog,
    Spent,
    list_runs,
    newest_runs,
    open_run,
    past_durations,
    past_results,
    reusable,
    runs_below,
)
from pytest_babyai.journal.redaction import Scrubber
from pytest_babyai.journal.run import (
    RUNS_DIRECTORY,
    Journal,
    Recording,
    create_run,
    propose_run_id,
    resume_run,
)

__all__ = [
    "LATEST",
    "RUNS_DIRECTORY",
    "SCHEMA",
    "Entry",
    "EpisodeKey",
    "GitState",
    "Journal",
    "Manifest",
    "MergedRun",
    "Recording",
    "RunLog",
    "RunState",
    "Scrubber",
    "Session",
    "Spent",
    "VariantDefinition",
    "configuration_changes",
    "create_run",
    "describe_session",
    "git_state",
    "installed_versions",
    "list_runs",
    "merge_runs",
    "newest_runs",
    "open_run",
    "past_durations",
    "past_results",
    "propose_run_id",
    "resume_run",
    "reusable",
    "runs_below",
]
