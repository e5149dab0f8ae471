"""What a run was made of: variants, settings, versions and source, for each of its sessions."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import JournalError
from pytest_babyai.journal.entries import SCHEMA, check_schema
from pytest_babyai.journal.provenance import GitState, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_babyai.journal.redaction import Scrubber

MANIFEST_FILE: Final = "manifest.json"

DECISIVE_SETTINGS: Final = ("model", "history_length", "num_dists", "environment", "on_error")
"""Settings that change what an episode is; the others only say which and how fast."""

DECISIVE_PACKAGES: Final = ("minigrid",)
"""Packages whose version decides the layouts of levels."""

_SHORT_HASH: Final = 8


class RunState(str, enum.Enum):
    """How far a run came."""

    RUNNING = "running"
    """A process is writing it."""
    FINISHED = "finished"
    """Every selected episode was played."""
    INTERRUPTED = "interrupted"
    """It was stopped or killed before."""


@dataclass(frozen=True, slots=True)
class VariantDefinition:
    """What a variant was, as hashes.

    Attributes:
        hash: Over everything that determines its behaviour.
        parts: Hash by part: ``{"template user/history": "ab12...", "model policy": ...}``.
        contents: The parts themselves, so that prompts can be rendered again; earlier runs lack
            them.
    """

    hash: str
    parts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    contents: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run was made of.

    Attributes:
        model_label: The model as summaries name it.
        offline: Whether the offline policy plays.
        variants: Definition by variant.
        sessions: At least one; the last is the current one.
        state: How far it came, as the last writer knew; a killed one leaves ``running``.
        run_id: Name of its directory, given by the journal.
    """

    model_label: str
    offline: bool
    variants: Mapping[str, VariantDefinition]
    sessions: tuple[Session, ...]
    state: RunState = RunState.RUNNING
    run_id: str = ""

    @property
    def created_at(self) -> str:
        """UTC time of the run's start in ISO format."""
        return self.sessions[0].started_at

    @property
    def session(self) -> Session:
        """The last session."""
        return self.sessions[-1]

    def with_notes(self, notes: Mapping[str, Any]) -> Manifest:
        """Returns the manifest with notes added to its last session."""
        merged = {**self.session.notes, **notes}
        last = dataclasses.replace(self.session, notes=merged)
        return dataclasses.replace(self, sessions=(*self.sessions[:-1], last))

    def resumed_by(self, other: Manifest) -> Manifest:
        """Returns the manifest of this run once another session goes on with it."""
        return dataclasses.replace(
            other,
            variants={**self.variants, **other.variants},
            sessions=(*self.sessions, *other.sessions),
            run_id=self.run_id,
        )

    def to_json(self, scrubber: Scrubber) -> bytes:
        """Encodes the manifest as indented JSON without secrets."""
        record = scrubber.plain({"schema": SCHEMA, **_plain(self)})
        for session, raw in zip(record["sessions"], self.sessions, strict=True):
            session["command_line"] = scrubber.arguments(raw.command_line)
        return (json.dumps(record, indent=2, default=str) + "\n").encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Decodes a manifest; fields that this version does not know are left out.

        Raises:
            ValueError: It is no such JSON.
            JournalError: A later version wrote it.
        """
        try:
            record = json.loads(text)
            check_schema(record["schema"])
            return cls(
                model_label=record["model_label"],
                offline=record["offline"],
                variants={
                    name: VariantDefinition(part["hash"], part["parts"], part.get("contents", {}))
                    for name, part in record["variants"].items()
                },
                sessions=tuple(_session(session) for session in record["sessions"]),
                state=RunState(record["state"]),
                run_id=record["run_id"],
            )
        except JournalError:
            raise
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no manifest: {error!r}") from None


def configuration_changes(old: Manifest, new: Manifest) -> list[str]:
    """Names what keeps the episodes of two sessions from being compared.

    Variants, tasks and seeds that only one of them plays are no change.

    Returns:
        ``["history_length 8 → 4", "variant history: template user changed (ab12 → cd34)"]``.
    """
    return [
        *_value_changes(old.session.settings, new.session.settings, DECISIVE_SETTINGS),
        *_value_changes(old.session.versions, new.session.versions, DECISIVE_PACKAGES),
        *_variant_changes(old.variants, new.variants),
    ]


def _value_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Sequence[str]
) -> Iterator[str]:
    for name in names:
        if name in old and name in new and old[name] != new[name]:
            yield f"{name} {old[name]} → {new[name]}"


def _variant_changes(
    old: Mapping[str, VariantDefinition], new: Mapping[str, VariantDefinition]
) -> Iterator[str]:
    for name, before in old.items():
        after = new.get(name, before)
        if after.hash == before.hash:
            continue
        parts = dict.fromkeys([*before.parts, *after.parts])
        changes = [_part_change(part, before, after) for part in parts]
        named = [change for change in changes if change]
        yield (
            f"variant {name}: {', '.join(named)}"
            if named
            else (f"variant {name} changed {_hashes(before.hash, after.hash)}")
        )


def _part_change(part: str, old: VariantDefinition, new: VariantDefinition) -> str | None:
    before, after = old.parts.get(part), new.parts.get(part)
    if before == after:
        return None
    if before is None:
        return f"{part} added"
    if after is None:
        return f"{part} removed"
    return f"{part} changed {_hashes(before, after)}"


def _hashes(old: str, new: str) -> str:
    return f"({old[:_SHORT_HASH]} → {new[:_SHORT_HASH]})"


def _session(record: dict[str, Any]) -> Session:
    git = record["git"]
    return Session(
        started_at=record["started_at"],
        command_line=tuple(record["command_line"]),
        settings=record["settings"],
        versions=record["versions"],
        git=GitState(git["commit"], git["dirty"]) if git else None,
        num_selected=record["num_selected"],
        notes=record["notes"],
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: _plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if hasattr(value, "items"):
        return {name: _plain(part) for name, part in value.items()}
    return value.value if isinstance(value, enum.Enum) else value
