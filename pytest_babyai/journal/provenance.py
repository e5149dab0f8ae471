"""Where the numbers of a run come from: command, settings, versions, commit."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import platform
import subprocess
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PACKAGES: Final = ("pytest-babyai", "tensorzero", "minigrid", "pytest")
_GIT_TIMEOUT_S: Final = 2.0


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
