"""What a training tells while it runs: events, measurements, and when it will be over."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_babyai.offline.finetuning.jobs import CANCELLED
from pytest_babyai.offline.finetuning.metrics import (
    EpochMetrics,
    StepMetrics,
    TrainingMetrics,
    metrics_of_job,
    write_metrics,
)

if TYPE_CHECKING:
    from pytest_babyai.offline.finetuning.jobs import JobStore
    from pytest_babyai.offline.finetuning.training import StepProgress

REPORTS_PER_TRAINING = 100


class CancelledError(Exception):
    """Somebody cancelled the job, maybe through another server than the one that trains."""


class Progress:
    """Keeps what is told of one training.

    Args:
        jobs: Where the job is kept.
        job_id: The job.
        described: The training without any measurement; what an earlier process measured of the
            epochs it finished is added.
    """

    def __init__(self, jobs: JobStore, job_id: str, described: TrainingMetrics) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._metrics = self._with_earlier(described)
        self._since_report: list[StepProgress] = []
        self._last_step: tuple[int, float] | None = None

    def _with_earlier(self, described: TrainingMetrics) -> TrainingMetrics:
        earlier = metrics_of_job(self._jobs.directory(self._job_id))
        if earlier is None or not earlier.epochs:
            return described
        steps = tuple(item for item in earlier.steps if item.step <= earlier.epochs[-1].step)
        return replace(described, steps=steps, epochs=earlier.epochs)

    @property
    def duration_s(self) -> float:
        """Time that the epochs finished so far took."""
        return self._metrics.epochs[-1].duration_s if self._metrics.epochs else 0.0

    def step(self, done: StepProgress) -> None:
        """Notes a step; every hundredth part of the training is told.

        Raises:
            CancelledError: The job was cancelled.
            OSError: It cannot be written.
        """
        self._since_report.append(done)
        if done.step % max(1, done.num_steps // REPORTS_PER_TRAINING) and done.step > 1:
            return
        noted, self._since_report = self._since_report, []
        measured = StepMetrics(
            step=done.step,
            epoch=done.epoch,
            train_loss=sum(item.loss for item in noted) / len(noted),
            train_token_accuracy=sum(item.token_accuracy for item in noted) / len(noted),
            learning_rate=done.learning_rate,
        )
        self._metrics = replace(self._metrics, steps=(*self._metrics.steps, measured))
        self._tell_step(measured, done.num_steps)

    def _tell_step(self, measured: StepMetrics, num_steps: int) -> None:
        if self._jobs.get(self._job_id)["status"] == CANCELLED:
            raise CancelledError
        self._jobs.add_event(
            self._job_id,
            f"Step {measured.step}/{num_steps}: training loss={measured.train_loss:.3f}",
            data={
                "step": measured.step,
                "total_steps": num_steps,
                "train_loss": measured.train_loss,
                "train_mean_token_accuracy": measured.train_token_accuracy,
            },
        )
        now_s = time.time()
        if self._last_step is not None:
            last, told_s = self._last_step
            pace_s = (now_s - told_s) / max(1, measured.step - last)
            left_s = pace_s * (num_steps - measured.step)
            self._jobs.update(self._job_id, estimated_finish=int(now_s + left_s))
        self._last_step = measured.step, now_s

    def epoch(self, measured: EpochMetrics) -> None:
        """Notes an epoch.

        Raises:
            OSError: It cannot be written.
        """
        self._metrics = replace(self._metrics, epochs=(*self._metrics.epochs, measured))
        write_metrics(self._jobs.directory(self._job_id), self._metrics)
        self._jobs.add_event(
            self._job_id,
            f"Epoch {measured.epoch}/{self._metrics.num_epochs}: validation loss="
            f"{measured.valid_loss:.3f}, action accuracy={measured.valid_action_accuracy:.3f}",
            data={
                "step": measured.step,
                "full_valid_loss": measured.valid_loss,
                "full_valid_mean_token_accuracy": measured.valid_token_accuracy,
                "full_valid_action_accuracy": measured.valid_action_accuracy,
            },
        )
