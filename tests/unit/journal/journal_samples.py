"""Episodes, manifests and disks that the tests of the journal share."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from pytest_babyai.journal import (
    Entry,
    EpisodeKey,
    Manifest,
    Recording,
    Scrubber,
    Session,
    VariantDefinition,
)
from pytest_babyai.journal.files import AppendFile
from pytest_babyai.records import (
    AnswerStatus,
    EpisodeFailure,
    EpisodeResult,
    EpisodeSpec,
    Step,
    Usage,
)

if TYPE_CHECKING:
    from pathlib import Path

RECORDING = Recording(scrubber=Scrubber({}))


def key(seed: int = 200, **changes: Any) -> EpisodeKey:
    fields: dict[str, Any] = {
        "variant": "baseline",
        "variant_hash": "ab12",
        "task": "goto",
        "seed": seed,
    }
    return EpisodeKey(**fields | changes)


def step(**changes: Any) -> Step:
    fields: dict[str, Any] = {
        "observation": "a wall 2 steps forward\na red ball 1 step right",
        "output": '{"action": "turn right"}',
        "thinking": None,
        "candidate": "turn right",
        "action": "turn right",
        "reward": 0.0,
        "status": AnswerStatus.VALID,
        "latency_ms": 5.25,
        "usage": Usage(100, 10, 0.001),
        "inference_id": "0193",
    }
    return Step(**fields | changes)


def result(of: EpisodeKey, **changes: Any) -> EpisodeResult:
    fields: dict[str, Any] = {
        "spec": EpisodeSpec(of.variant, of.task, of.seed),
        "episode_id": f"id-{of}",
        "mission": "go to the red ball",
        "max_steps": 64,
        "progression": 1.0,
        "episode_return": 0.9,
        "num_steps": 2,
        "terminated": True,
        "truncated": False,
        "usage": Usage(200, 20, 0.002),
        "failed_candidates": ("dance",),
        "num_fallbacks": 0,
        "num_retries": 1,
        "started_at_s": 1000.5,
        "duration_s": 1.5,
        "steps": (step(), step(action="go forward", reward=0.9)),
    }
    return EpisodeResult(**fields | changes)


def failure(of: EpisodeKey, **changes: Any) -> EpisodeFailure:
    fields: dict[str, Any] = {
        "spec": EpisodeSpec(of.variant, of.task, of.seed),
        "episode_id": f"id-{of}",
        "kind": "rate limit",
        "message": "429 for ever",
        "num_steps": 1,
        "num_retries": 5,
        "usage": Usage(100, None, None),
        "started_at_s": 1000.5,
        "duration_s": 9.0,
        "steps": (step(),),
    }
    return EpisodeFailure(**fields | changes)


def entry(seed: int = 200, **changes: Any) -> Entry:
    of = changes.pop("key", key(seed))
    fields: dict[str, Any] = {
        "key": of,
        "outcome": result(of),
        "nodeid": f"evals/test_babyai.py::test_episode[{of}]",
        "model_label": "offline",
        "offline": True,
        "layout_fingerprint": "cafe",
        "written_at": "2026-11-23T18:01:02.000+00:00",
    }
    return Entry(**fields | changes)


def session(**changes: Any) -> Session:
    fields: dict[str, Any] = {
        "started_at": "2026-11-23T18:01:02+00:00",
        "command_line": ("pytest", "evals"),
        "settings": {"history_length": 8, "model": "offline"},
        "versions": {"minigrid": "3.2.0", "python": "3.11.7"},
        "git": None,
        "num_selected": 3,
    }
    return Session(**fields | changes)


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {
        "model_label": "offline",
        "offline": True,
        "variants": {"baseline": VariantDefinition("ab12", {"template user/plain": "cd34"})},
        "sessions": (session(),),
    }
    return Manifest(**fields | changes)


class FullDisk(AppendFile):
    """A file on a disk with room for so many bytes; what does not fit goes in partly."""

    def __init__(self, path: Path, room: int) -> None:
        super().__init__(path)
        self.room = room
        self.can_truncate = True
        self._size = 0

    def write(self, content: bytes) -> int:
        free = self.room - self._size
        if free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        num_written = super().write(content[:free])
        self._size += num_written
        return num_written

    def truncate(self, size: int) -> None:
        if not self.can_truncate:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().truncate(size)
        self._size = size
