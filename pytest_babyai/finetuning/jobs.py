"""From training data to a variant: a job is started or picked up, and its model declared."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_babyai.finetuning.failures import FineTuningError
from pytest_babyai.finetuning.job_records import JobRecord, JobRequest, JobStore
from pytest_babyai.finetuning.openai import (
    FINAL,
    GONE,
    NOT_FOUND,
    OFFLINE,
    OPENAI,
    SUCCEEDED,
    Pace,
    ProviderRefusedError,
    cost_line,
    follow,
    opened,
)
from pytest_babyai.finetuning.variant import TunedVariantFiles, check_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_babyai.finetuning.dataset import Dataset
    from pytest_babyai.finetuning.openai import FineTuningApi, JobState, Provider
    from pytest_babyai.gateway.configuration import GatewayConfiguration

    OpenProvider = Callable[[str], AbstractContextManager[Provider]]
    """Given ``openai`` or ``offline``, makes it reachable."""

_PACES: Final = {OPENAI: Pace(poll_s=10.0), OFFLINE: Pace(poll_s=1.0)}


@dataclass(frozen=True)
class FineTuning:
    """What fine-tuning works with.

    Attributes:
        root: The project's root; jobs are kept below it.
        configuration: The configuration that gets the variant.
        open_provider: Makes a provider reachable.
        confirm: Asked, with about what it costs, before a job that costs money is started.
        force: Whether the files of an earlier fine-tuned variant are replaced.
        pace: How often a job is asked about; None leaves it to the provider's kind.
    """

    root: Path
    configuration: GatewayConfiguration
    open_provider: OpenProvider
    confirm: Callable[[str], None] = lambda _: None
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
        with self.open_provider(request.provider) as provider, opened(provider) as api:
            api.check_model(request.model)
            if request.provider == OPENAI:
                line = cost_line(request.card, request.model, request.hyperparameters)
                yield line
                self.confirm(line)
            yield (
                f"uploading {request.card.train.num_examples:,} examples to fine-tune "
                f"{request.model}"
            )
            record = _start(api, dataset, request)
            self._jobs.save(record)
            yield f"job {record.job_id} started"
            yield from self._finish(record, api)

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
        with self.open_provider(record.request.provider) as provider, opened(provider) as api:
            yield from self._finish(record, api)

    def _finish(self, record: JobRecord, api: FineTuningApi) -> Iterator[str]:
        try:
            pace = self.pace or _PACES[record.request.provider]
            state = yield from follow(api, record.job_id, pace)
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
            settled={**record.request.hyperparameters, **state.hyperparameters},
        )
        self._jobs.save(record)
        _refuse_no_model(record, state)
        yield from self._write(record)

    def _write(self, record: JobRecord) -> Iterator[str]:
        self._files.write(record)
        variant, card = record.request.variant, record.request.card
        yield f"{record.fine_tuned_model} plays {variant}: {self._files.toml} written"
        model = card.source.get("model_setting")
        option = f" --babyai-model={model}" if model else ""
        yield (
            f"evaluate it with: pytest evals{option} --babyai-variants={card.variant},{variant} "
            f"--babyai-reference={card.variant}"
        )

    @property
    def _jobs(self) -> JobStore:
        return JobStore(self.root)

    @property
    def _files(self) -> TunedVariantFiles:
        return TunedVariantFiles(self.configuration.config_dir)


def _start(api: FineTuningApi, dataset: Dataset, request: JobRequest) -> JobRecord:
    training_file = api.upload("data.jsonl", dataset.train)
    validation_file = (
        api.upload("data.validation.jsonl", dataset.validation) if dataset.validation else None
    )
    job_id = api.create(
        request.model,
        training_file,
        validation_file,
        request.hyperparameters,
        request.card.kind,
    )
    launched_at = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    return JobRecord(job_id, request, launched_at)


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
