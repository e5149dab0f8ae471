"""From training data to a variant: start a job or pick it up, wait for it, write its files."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.job_records import JobRecord, JobRequest, JobStore
from pytest_babyai.finetuning.launch import launch
from pytest_babyai.finetuning.provider_api import (
    FINAL,
    GONE,
    NOT_FOUND,
    SUCCEEDED,
    FineTuningApi,
    ProviderRefusedError,
)
from pytest_babyai.finetuning.tuned_variant import TunedVariantFiles, check_parent
from pytest_babyai.finetuning.waiting import Pace, wait_for_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_babyai.finetuning.dataset import Dataset
    from pytest_babyai.finetuning.provider_api import JobState, Provider
    from pytest_babyai.gateway.configuration import GatewayConfiguration

    OpenProvider = Callable[[str], AbstractContextManager[Provider]]
    """Given ``openai`` or ``offline``, makes it reachable."""

OFFLINE_MODEL: Final = "babyai-offline"
OPENAI: Final = "openai"
OFFLINE: Final = "offline"

_PACES: Final = {OPENAI: Pace(poll_s=10.0), OFFLINE: Pace(poll_s=1.0)}


def provider_of(model: str) -> str:
    """Returns who fine-tunes a model: ``offline`` for the offline model, else ``openai``."""
    is_offline = model == OFFLINE_MODEL or model.startswith(f"ft:{OFFLINE_MODEL}:")
    return OFFLINE if is_offline else OPENAI


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning works with.

    Attributes:
        root: The project's root; jobs are kept below it.
        configuration: The configuration that gets the variant.
        open_provider: Makes a provider reachable.
        force: Whether the files of an earlier fine-tuned variant are replaced.
        pace: How often a job is asked about; None leaves it to the provider's kind.
    """

    root: Path
    configuration: GatewayConfiguration
    open_provider: OpenProvider
    force: bool = False
    pace: Pace | None = None

    def run(self, dataset: Dataset, request: JobRequest) -> Iterator[str]:
        """Yields progress until the variant is written; the same request is one job.

        Args:
            dataset: What is learned.
            request: What the job is asked to do.

        Raises:
            SettingsError: The files exist, or the variant's name is taken.
            DatasetError: The variant's templates changed since the data was made.
            CredentialsError: The key is missing or refused.
            FineTuningError: The job could not be started, or did not end in a model.
        """
        record = self._jobs.find(request)
        if record is not None:
            yield f"job {record.job_id} was started at {record.launched_at}, and is picked up"
            yield from self.resume(record)
            return
        self._files.check_free(force=self.force)
        check_parent(self.configuration, request.card, request.variant)
        self._jobs.prepare()
        with self.open_provider(request.provider) as provider:
            yield (
                f"uploading {request.card.train.num_examples:,} examples to fine-tune "
                f"{request.model}"
            )
            handle = launch(dataset, request.model, request.hyperparameters, provider)
            record = JobRecord(
                job_id=str(handle["job_id"]),
                handle=handle,
                request=request,
                launched_at=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
            )
            self._jobs.save(record)
            yield f"job {record.job_id} started"
            yield from self._finish(record, provider)

    def resume(self, record: JobRecord) -> Iterator[str]:
        """Yields progress of a job that was started before, until its variant is written.

        Raises:
            UsageError: As `run`.
        """
        if self._files.holds(record):
            yield f"{self._files.toml} is there already, of job {record.job_id}"
            return
        self._files.check_free(force=self.force)
        if record.status == SUCCEEDED:
            yield from self._write(record)
            return
        with self.open_provider(record.request.provider) as provider:
            yield from self._finish(record, provider)

    def _finish(self, record: JobRecord, provider: Provider) -> Iterator[str]:
        pace = self.pace or _PACES[provider.name]
        try:
            state = yield from wait_for_end(FineTuningApi(provider), record.job_id, pace)
        except KeyboardInterrupt:
            yield f"job {record.job_id} is kept; the same command, or --resume, picks it up"
            raise
        except ProviderRefusedError as error:
            if error.status == NOT_FOUND:
                self._jobs.save(dataclasses.replace(record, status=GONE))
                raise FineTuningError(f"{error}; the same command starts a new job") from None
            raise
        record = dataclasses.replace(
            record,
            status=state.status,
            fine_tuned_model=state.fine_tuned_model,
            trained_tokens=state.trained_tokens,
        )
        self._jobs.save(record)
        _refuse_no_model(record, state)
        yield from self._write(record)

    def _write(self, record: JobRecord) -> Iterator[str]:
        self._files.write(record)
        variant = record.request.variant
        yield f"{record.fine_tuned_model} plays {variant}: {self._files.toml} written"
        yield (
            f"evaluate it with: pytest evals --babyai-variants={record.request.card.variant},"
            f"{variant}"
        )

    @property
    def _jobs(self) -> JobStore:
        return JobStore(self.root)

    @property
    def _files(self) -> TunedVariantFiles:
        return TunedVariantFiles(self.configuration.config_dir)


def _refuse_no_model(record: JobRecord, state: JobState) -> None:
    if state.status == SUCCEEDED and state.fine_tuned_model:
        return
    reason = f": {state.error}" if state.error else ""
    ended = f"was {state.status}" if state.status == "cancelled" else state.status
    if state.status == SUCCEEDED or state.status not in FINAL:
        ended = "ended without a model"
    raise FineTuningError(
        f"job {record.job_id} {ended}{reason}; the training data is kept, and the same command "
        "starts a new job"
    )
