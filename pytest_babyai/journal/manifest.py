"""What a run was made of: variants, settings, versions and commit, for each of its sessions."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pytest_babyai.journal.entry import SCHEMA, decode_json, encode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_babyai.journal.redaction import Scrubber

MANIFEST_FILE: Final = "manifest.json"

DECISIVE_SETTINGS: Final = ("model", "history_length", "num_dists", "environment", "on_error")
"""Settings that change what an episode is; the others only say which and how fast."""

DECISIVE_PACKAGES: Final = ("minigrid",)
"""Packages whose version decides the layouts of levels."""

_PACKAGES: Final = ("pytest-babyai", "tensorzero", "minigrid", "pytest")
_GIT_TIMEOUT_S: Final = 2.0
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
class GitState:
    """The commit that a run was started from.

    Attributes:
        commit: Full hash.
        dirty: Whether tracked files differed from it.
    """

    commit: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One process that played episodes of the run: the first, or one that resumed it.

    Attributes:
        started_at: UTC time in ISO format.
        command_line: Arguments as typed, without secrets.
        settings: The settings as JSON types.
        versions: Version by distribution, with ``python`` and ``platform``; None if not installed.
        git: State of the working directory's repository, None outside of one.
        num_selected: Episodes that were asked for, reused ones included.
        notes: Whatever else is worth keeping, as JSON types.
    """

    started_at: str
    command_line: tuple[str, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str | None]
    git: GitState | None
    num_selected: int = 0
    notes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


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
        record = msgspec.to_builtins(self, enc_hook=_plain)
        clean = scrubber.plain({"schema": SCHEMA, **record})
        for session, raw in zip(clean["sessions"], self.sessions, strict=True):
            session["command_line"] = scrubber.arguments(raw.command_line)
        return msgspec.json.format(encode_json(clean), indent=2) + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Decodes a manifest; fields that this version does not know are left out.

        Raises:
            ValueError: It is no such JSON.
            JournalError: A later version wrote it.
        """
        manifest = decode_json(text, cls)
        if not manifest.sessions:
            raise ValueError("not readable: a run has one session at least")
        return manifest


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
        changes = [change for part in parts if (change := _part_change(part, before, after))]
        if changes:
            yield f"variant {name}: {', '.join(changes)}"
        else:
            yield f"variant {name} changed {_hashes(before.hash, after.hash)}"


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


def _plain(value: Any) -> Any:
    """Makes plain what notes and settings may hold beside JSON types."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def describe_session(
    *,
    settings: Mapping[str, Any],
    command_line: Sequence[str],
    directory: Path,
    num_selected: int = 0,
) -> Session:
    """Returns a session that begins now, with the versions and the commit it runs on.

    Args:
        settings: JSON types, as `Settings.as_plain` gives them.
        command_line: Arguments as typed.
        directory: Where git is asked.
        num_selected: Episodes that are asked for, reused ones included.
    """
    return Session(
        started_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        command_line=tuple(command_line),
        settings=settings,
        versions=installed_versions(),
        git=git_state(directory),
        num_selected=num_selected,
    )


def installed_versions() -> dict[str, str | None]:
    """Returns the versions of what plays: distributions, ``python``, ``platform``."""
    versions: dict[str, str | None] = {name: _version(name) for name in _PACKAGES}
    return {**versions, "python": platform.python_version(), "platform": platform.platform()}


def git_state(directory: Path, *, timeout_s: float = _GIT_TIMEOUT_S) -> GitState | None:
    """Returns commit and dirty flag; None outside a repository, without git, or too slow a one."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch"]
    try:
        answer = subprocess.run(  # noqa: S603 -- fixed arguments
            [*command, "--untracked-files=no"],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    if not commit or commit == "(initial)":
        return None
    return GitState(commit, dirty=any(not line.startswith("#") for line in lines))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
