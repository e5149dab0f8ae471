"""One line of a journal: a played episode under the key that decides whether it can be reused."""

from __future__ import annotations

import dataclasses
import json
import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from pytest_babyai.errors import JournalError
from pytest_babyai.records import EpisodeFailure, EpisodeResult, Step, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_babyai.journal.redaction import Scrubber
    from pytest_babyai.records import EpisodeOutcome

SCHEMA: Final = 1
"""Version of lines and manifests. Fields may be added to it; a changed meaning makes a new one."""

_NO_FREE_TEXT: Final = frozenset(
    {"key", "spec", "type", "kind", "status", "action", "episode_id", "step_fields"}
)
"""Fields that identify or classify: redaction leaves them, or entries would lose their meaning."""

_Decoded = TypeVar("_Decoded")


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
        offset: Where its line begins in the file it was read from, in bytes; None elsewhere.
    """

    key: EpisodeKey
    outcome: EpisodeOutcome
    nodeid: str
    model_label: str
    offline: bool = False
    layout_fingerprint: str | None = None
    written_at: str = ""
    offset: int | None = field(default=None, compare=False)

    def to_line(self, scrubber: Scrubber, *, trajectory: bool = True) -> bytes:
        r"""Encodes the entry as one line of JSON, ``\n`` included.

        The trajectory comes last: one row a step, whose columns ``step_fields`` names. Before it
        stands its size in bytes, so that readers can skip it.

        Raises:
            JournalError: A score or duration is not finite. A cost that is not counts as unknown.
        """
        if not math.isfinite(sum(_floats(self.outcome))):
            raise JournalError(
                f"{self.key}: a score or duration is no finite number; it is not recorded"
            )
        rows = [_STEP_VALUES(step) for step in self.outcome.steps] if trajectory else []
        head, steps = encode_json(_head(self)), encode_json(rows)
        if scrubber.suspects(head):
            head = encode_json(scrubber.plain(json.loads(head), _NO_FREE_TEXT))
        if scrubber.suspects(steps):
            steps = encode_json([_scrubbed(row, scrubber) for row in rows])
        return b'%b,"steps_size":%d,"steps":%b}\n' % (head[:-1], len(steps), steps)

    @classmethod
    def from_line(cls, line: bytes, *, offset: int | None = None) -> Entry:
        """Decodes a line; fields that this version does not know are left out.

        Raises:
            ValueError: The line is no such JSON.
            JournalError: A later version wrote it.
        """
        read = decode_json(line, _Line)
        return cls(
            key=read.key,
            outcome=_outcome(read),
            nodeid=read.nodeid,
            model_label=read.model_label,
            offline=read.offline,
            layout_fingerprint=read.layout_fingerprint,
            written_at=read.written_at,
            offset=offset,
        )


class _Line(msgspec.Struct):
    """A line as it is read; fields that are not named here are skipped."""

    key: EpisodeKey
    outcome: dict[str, Any]
    nodeid: str
    model_label: str
    step_fields: tuple[str, ...]
    steps: list[list[Any]]
    offline: bool = False
    layout_fingerprint: str | None = None
    written_at: str = ""


class _Version(msgspec.Struct):
    """The part of a line or manifest that says who can read the rest."""

    schema: int


def encode_json(value: Any) -> bytes:
    """Encodes JSON types, records and enumerations on one line, as UTF-8."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, which models do write
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode("ascii")


def decode_json(text: bytes, record_type: type[_Decoded]) -> _Decoded:
    """Decodes a line or a manifest of any earlier version.

    Raises:
        ValueError: It is no JSON of this type; in one line.
        JournalError: A later version wrote it.
    """
    try:
        check_schema(_decoded(text, _Version).schema)
        return _decoded(text, record_type)
    except JournalError:
        raise
    except (ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"not readable: {str(error).splitlines()[0]}") from None


def check_schema(found: int) -> None:
    """Refuses what a later version wrote.

    Raises:
        JournalError: The schema is newer than `SCHEMA`.
    """
    if found > SCHEMA:
        raise JournalError(
            f"written with journal schema {found}, and this pytest-babyai reads up to {SCHEMA}; "
            "upgrade it"
        )


def _decoded(text: bytes, record_type: type[_Decoded]) -> _Decoded:
    try:
        return msgspec.json.decode(text, type=record_type)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        # Half a surrogate pair, or a NaN of an earlier version, which stands for nothing.
        value = json.loads(text, parse_constant=lambda _: None)
        return msgspec.convert(value, record_type)


def _names(record_type: type) -> tuple[str, ...]:
    return tuple(each.name for each in dataclasses.fields(record_type))


_STEP_COLUMNS: Final = tuple(
    column
    for name in _names(Step)
    for column in ([f"usage.{part}" for part in _names(Usage)] if name == "usage" else [name])
)
_STEP_FIELDS: Final = tuple(column.removeprefix("usage.") for column in _STEP_COLUMNS)
_STEP_VALUES: Final = operator.attrgetter(*_STEP_COLUMNS)


def _head(entry: Entry) -> dict[str, Any]:
    outcome = entry.outcome
    names = [name for name in _names(type(outcome)) if name != "steps"]
    kind = "failure" if isinstance(outcome, EpisodeFailure) else "result"
    fields = [name for name in _names(Entry) if name not in {"outcome", "offset"}]
    return {
        "schema": SCHEMA,
        **{name: getattr(entry, name) for name in fields},
        "outcome": {"type": kind, **{name: getattr(outcome, name) for name in names}},
        "step_fields": _STEP_FIELDS,
    }


def _outcome(line: _Line) -> EpisodeOutcome:
    rows = [dict(zip(line.step_fields, row, strict=True)) for row in line.steps]
    steps = [{**row, "usage": {name: row.get(name) for name in _names(Usage)}} for row in rows]
    record = {**line.outcome, "steps": steps}
    if record.get("type") == "failure":
        return msgspec.convert(record, EpisodeFailure)
    return msgspec.convert(record, EpisodeResult)


def _scrubbed(row: tuple[Any, ...], scrubber: Scrubber) -> list[Any]:
    return [
        value if name in _NO_FREE_TEXT else scrubber.plain(value)
        for name, value in zip(_STEP_FIELDS, row, strict=True)
    ]


def _floats(outcome: EpisodeOutcome) -> Iterator[float]:
    yield from (outcome.started_at_s, outcome.duration_s)
    if isinstance(outcome, EpisodeResult):
        yield from (outcome.progression, outcome.episode_return)
    for step in outcome.steps:
        yield from (step.reward, step.latency_ms)
