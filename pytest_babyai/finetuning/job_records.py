"""Fine-tuning jobs on disk, so that an interrupted one is picked up and nothing uploaded twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_babyai.errors import SettingsError
from pytest_babyai.finetuning.dataset import DataCard
from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.openai import FINAL, GONE, SUCCEEDED
from pytest_babyai.journal.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping

BABYAI_DIRECTORY: Final = ".babyai"
JOBS_DIRECTORY: Final = Path(BABYAI_DIRECTORY) / "finetuning"
"""Where jobs are kept, in the project's root."""
SCHEMA: Final = 1
LATEST: Final = "latest"


def ignore_in_git(root: Path) -> None:
    """Keeps everything below a project's ``.babyai`` out of its repository.

    Raises:
        OSError: The directory cannot be written.
    """
    directory = root / BABYAI_DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / ".gitignore").exists():
        replace_file(directory / ".gitignore", b"*\n")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a job is asked to do; equal requests are one job.

    Attributes:
        provider: ``openai`` or ``offline``.
        model: The model to start from.
        variant: Name of the variant that the new model will play.
        hyperparameters: ``n_epochs``, ``batch_size``, ``learning_rate_multiplier``, ``seed`` and
            ``suffix``, as far as given.
        card: What is learned.
    """

    provider: str
    model: str
    variant: str
    hyperparameters: Mapping[str, Any]
    card: DataCard

    @property
    def key(self) -> str:
        """Equal for equal requests, whatever the card tells besides the data."""
        validation = self.card.validation
        parts = [
            self.provider,
            self.model,
            self.variant,
            dict(self.hyperparameters),
            self.card.train.sha256,
            validation.sha256 if validation else "",
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job that was started.

    Attributes:
        job_id: The provider's id.
        request: What it was asked to do.
        launched_at: UTC time in ISO format.
        status: The provider's word as last heard.
        fine_tuned_model: Name of the model, None until there is one.
        trained_tokens: Tokens that were trained on, None until known.
        settled: Hyperparameters that it was trained with, those chosen by the provider included.
    """

    job_id: str
    request: JobRequest
    launched_at: str
    status: str = "queued"
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    settled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def can_be_picked_up(self) -> bool:
        """Whether it still runs, or ended with a model."""
        if self.status == SUCCEEDED:
            return self.fine_tuned_model is not None
        return self.status not in {*FINAL, GONE}

    def to_plain(self) -> dict[str, Any]:
        """Returns the record as JSON types."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        request = {f.name: getattr(self.request, f.name) for f in dataclasses.fields(JobRequest)}
        request["card"] = self.request.card.to_plain()
        return {"schema": SCHEMA, **plain, "request": request}

    @classmethod
    def from_plain(cls, plain: Any) -> JobRecord:
        """Rebuilds what `to_plain` gave.

        Raises:
            ValueError: It is no record.
            LeakageError: Its data names an episode that must not be learned from.
        """
        try:
            if plain["schema"] > SCHEMA:
                raise ValueError("a later version of pytest-babyai wrote it; upgrade")
            names = [f.name for f in dataclasses.fields(cls) if f.name in plain]
            fields = {name: plain[name] for name in names}
            request = dict(fields.pop("request"))
            card = DataCard.from_plain(request.pop("card"))
            return cls(**fields, request=JobRequest(**request, card=card))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


class JobStore:
    """The records of a project's jobs.

    Args:
        root: The project's root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.directory = root / JOBS_DIRECTORY

    def prepare(self) -> None:
        """Makes sure that records can be written, before a job is started.

        Raises:
            FineTuningError: They cannot.
        """
        try:
            ignore_in_git(self._root)
            self.directory.mkdir(parents=True, exist_ok=True)
            probe = self.directory / ".writable"
            replace_file(probe, b"")
            probe.unlink()
        except OSError as error:
            raise self._not_written(error) from None

    def save(self, record: JobRecord) -> None:
        """Writes a record, wholly or not at all.

        Raises:
            FineTuningError: It could not be written; what was there stays.
        """
        content = json.dumps(record.to_plain(), indent=2, ensure_ascii=False) + "\n"
        path = self.directory / f"{_file_name(record.job_id)}.json"
        try:
            replace_file(path, content.encode())
        except OSError as error:
            raise self._not_written(error, record.job_id) from None

    def records(self) -> list[JobRecord]:
        """Returns all records that can be read, newest first."""
        read = map(_record_or_none, sorted(self.directory.glob("*.json")))
        found = [record for record in read if record is not None]
        return sorted(found, key=lambda record: record.launched_at, reverse=True)

    def find(self, request: JobRequest) -> JobRecord | None:
        """Returns the newest job with this request that still runs or ended with a model."""
        matching = (record for record in self.records() if record.request.key == request.key)
        return next((record for record in matching if record.can_be_picked_up), None)

    def resumed(self, job_id: str) -> JobRecord:
        """Returns a job by its id, or the newest that can be picked up.

        Raises:
            SettingsError: There is none.
        """
        records = self.records()
        for record in records:
            if record.job_id == job_id or (job_id == LATEST and record.can_be_picked_up):
                return record
        known = ", ".join(record.job_id for record in records[:3]) or "none was started yet"
        wanted = "job that could go on" if job_id == LATEST else f"job {job_id!r}"
        raise SettingsError(f"--resume: no {wanted} in {self.directory} ({known})")

    def _not_written(self, error: OSError, job_id: str = "") -> FineTuningError:
        running = f"; job {job_id} goes on at the provider" if job_id else ""
        return FineTuningError(
            f"{error.filename or self.directory}: {error.strerror or error}; jobs are kept in a "
            f"directory that can be written, with space left{running}"
        )


def _record_or_none(path: Path) -> JobRecord | None:
    try:
        return JobRecord.from_plain(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return None  # another's file, or one of a later version: it cannot be picked up here


def _file_name(job_id: str) -> str:
    """Returns a provider's id as a file name, whatever it is made of."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in job_id)
