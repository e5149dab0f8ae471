"""The journal: every finished episode is one durable line, so that nothing is lost or played twice.

A run is a directory with ``manifest.json``, ``episodes.jsonl`` and a lock. `create_run` and
`resume_run` give its writing end, `open_run` and `list_runs` its reading end.
"""

from pytest_babyai.journal.durations import past_durations
from pytest_babyai.journal.entries import SCHEMA, Entry, EpisodeKey
from pytest_babyai.journal.log import LATEST, RunLog, list_runs, newest_runs, open_run, reusable
from pytest_babyai.journal.manifest import (
    Manifest,
    RunState,
    VariantDefinition,
    configuration_changes,
)
from pytest_babyai.journal.provenance import (
    GitState,
    Session,
    describe_session,
    git_state,
    installed_versions,
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
    "Recording",
    "RunLog",
    "RunState",
    "Scrubber",
    "Session",
    "VariantDefinition",
    "configuration_changes",
    "create_run",
    "describe_session",
    "git_state",
    "installed_versions",
    "list_runs",
    "newest_runs",
    "open_run",
    "past_durations",
    "propose_run_id",
    "resume_run",
    "reusable",
]
