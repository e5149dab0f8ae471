"""One line of a journal: a played episode under the key that decides whether it can be reused."""

from __future__ import annotations

import dataclasses
import json
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pytest_babyai.errors import JournalError
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeFailure,
    EpisodeResult,
    EpisodeSpec,
    Step,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_babyai.journal.redaction import Scrubber
    from pytest_babyai.records import EpisodeOutcome

SCHEMA: Final = 1
"""Version of lines and manifests. Fields may be added to it; a changed meaning makes a new one."""

STEPS_MARK: Final = b',"steps":['
"""Where the trajectory begins in a line; inside of a JSON string the quotes would be escaped."""

_NO_FREE_TEXT: Final = frozenset(
    {"key", "spec", "type", "kind", "status", "action", "episode_id", "step_fields"}
)
"""Fields that identify or classify: redaction leaves them, or entries would lose their meaning."""

_STEPS_SIZE = re.compile(rb',"steps_size":(\d+)$')
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True, order=True)
class EpisodeKey:
    """All that must be equal for a finished episode to be reused.

    Attributes:
        variant: Name of the variant.
        variant_hash: Hash over its templates, schemas and models.
        task: Short name of the BabyAI task.
        seed: Seed of the level.
        repeat: Which of several plays of the same episode this is, from 0.
        history_length: Past observations and actions that variants with history see.
        num_dists: Distractor objects added to the level.
        environment: ``builtin`` or ``balrog``.
        on_error: ``raise`` or ``fallback``.
    """

    variant: str
    variant_hash: str
    task: str
    seed: int
    repeat: int = 0
    history_length: int = 8
    num_dists: int = 0
    environment: str = "builtin"
    on_error: str = "raise"

    def __str__(self) -> str:
        """Reads as in a node id: ``baseline-goto-200``, a repeat as ``baseline-goto-200-1``."""
        suffix = f"-{self.repeat}" if self.repeat else ""
        return f"{self.variant}-{self.task}-{self.seed}{suffix}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A played episode as the journal keeps it.

    Attributes:
        key: What decides whether it can be reused.
        outcome: The score, or why there is none; without steps where they were not kept or asked.
        nodeid: The pytest item that asked for it.
        model_label: The model as summaries name it.
        offline: Whether the offline policy played.
        layout_fingerprint: Hash of the level's layout, None where the environment gives none.
        written_at: UTC time in ISO format, empty where unknown.
    """

    key: EpisodeKey
    outcome: EpisodeOutcome
    nodeid: str
    model_label: str
    offline: bool = False
    layout_fingerprint: str | None = None
    written_at: str = ""

    def to_line(self, scrubber: Scrubber, *, trajectory: bool = True) -> bytes:
        r"""Encodes the entry as one line of ASCII JSON, ``\n`` included.

        The trajectory comes last: one row a step, whose columns ``step_fields`` names. Before it
        stands its size in bytes, so that readers can skip it.
        """
        rows = [_STEP_VALUES(step) for step in self.outcome.steps] if trajectory else []
        fields = {
            "schema": SCHEMA,
            **_fields(self),
            "outcome": _outcome_fields(self.outcome),
            "step_fields": _STEP_FIELDS,
        }
        head, steps = _encode(fields), _encode(rows)
        if scrubber.suspects(head):
            head = _encode(scrubber.plain(json.loads(head), _NO_FREE_TEXT))
        if scrubber.suspects(steps):
            steps = _encode([_scrubbed(row, scrubber) for row in rows])
        return f'{head[:-1]},"steps_size":{len(steps)},"steps":{steps}}}\n'.encode("ascii")

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Decodes a line; fields that this version does not know are left out.

        Raises:
            ValueError: The line is no such JSON.
            JournalError: A later version wrote it.
        """
        try:
            record = json.loads(line)
            check_schema(record["schema"])
            steps = _steps(record["step_fields"], record["steps"])
            outcome = {**record["outcome"], "steps": steps}
            key = _build(EpisodeKey, record["key"])
            return _build(cls, {**record, "key": key, "outcome": _outcome(outcome)})
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no journal entry: {error!r}") from None


def check_schema(found: int) -> None:
    """Refuses what a later version wrote.

    Raises:
        JournalError: The schema is newer than `SCHEMA`.
        TypeError: It is no number.
    """
    if found > SCHEMA:
        raise JournalError(
            f"written with journal schema {found}, and this pytest-babyai reads up to {SCHEMA}; "
            "upgrade it"
        )


def steps_size(head: bytes) -> int | None:
    """Returns the size in bytes of the trajectory behind the head of a line, None if not told."""
    match = _STEPS_SIZE.search(head)
    return int(match[1]) if match else None


def _names(record_type: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(record_type))


_NAMES: Final[dict[type, tuple[str, ...]]] = {
    record_type: _names(record_type)
    for record_type in (Entry, EpisodeKey, EpisodeSpec, EpisodeResult, EpisodeFailure, Step, Usage)
}
_STEP_COLUMNS: Final = tuple(
    column
    for name in _NAMES[Step]
    for column in ([f"usage.{part}" for part in _NAMES[Usage]] if name == "usage" else [name])
)
_STEP_FIELDS: Final = tuple(column.removeprefix("usage.") for column in _STEP_COLUMNS)
_STEP_VALUES: Final = operator.attrgetter(*_STEP_COLUMNS)
_VALUES: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    record_type: operator.attrgetter(*names) for record_type, names in _NAMES.items()
}


def _fields(record: object) -> dict[str, Any]:
    record_type = type(record)
    return dict(zip(_NAMES[record_type], _VALUES[record_type](record), strict=True))


_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_fields).encode


def _outcome_fields(outcome: EpisodeOutcome) -> dict[str, Any]:
    fields = _fields(outcome)
    del fields["steps"]
    return {"type": "failure" if isinstance(outcome, EpisodeFailure) else "result", **fields}


def _build(record_type: type[_Record], record: Mapping[str, Any]) -> _Record:
    return record_type(**{name: record[name] for name in _NAMES[record_type] if name in record})


def _outcome(record: dict[str, Any]) -> EpisodeOutcome:
    record["spec"] = _build(EpisodeSpec, record["spec"])
    record["usage"] = _build(Usage, record["usage"])
    if record["type"] == "failure":
        return _build(EpisodeFailure, record)
    record["failed_candidates"] = tuple(record["failed_candidates"])
    return _build(EpisodeResult, record)


def _scrubbed(row: Sequence[Any], scrubber: Scrubber) -> list[Any]:
    return [
        value if name in _NO_FREE_TEXT else scrubber.plain(value)
        for name, value in zip(_STEP_FIELDS, row, strict=True)
    ]


def _steps(fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[Step, ...]:
    return tuple(_step(dict(zip(fields, row, strict=True))) for row in rows)


def _step(record: dict[str, Any]) -> Step:
    usage = _build(Usage, record)
    return _build(Step, {**record, "status": AnswerStatus(record["status"]), "usage": usage})
