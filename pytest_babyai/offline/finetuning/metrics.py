"""What a training measures and says while it runs; read back for reports and charts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from pytest_babyai.offline.finetuning.jobs import CANCELLED, JobStore, write_bytes

if TYPE_CHECKING:
    from pathlib import Path


METRICS_FILE = "metrics.json"


class StepProgress(msgspec.Struct, frozen=True):
    """What one step of training did."""

    step: int
    num_steps: int
    epoch: int
    loss: float
    token_accuracy: float
    learning_rate: float


class StepMetrics(msgspec.Struct, frozen=True):
    """One measurement during training, over the steps since the one before.

    Attributes:
        step: Steps done.
        epoch: The epoch it lies in, from 1.
        train_loss: Mean loss of an answer's token, in nats.
        train_token_accuracy: Share of the answers' tokens that were predicted correctly.
        learning_rate: Learning rate of the last of these steps.
    """

    step: int
    epoch: int
    train_loss: float
    train_token_accuracy: float
    learning_rate: float


class EpochMetrics(msgspec.Struct, frozen=True):
    """The model after an epoch, measured on chats that it does not learn from.

    Attributes:
        step: Steps done.
        epoch: Epochs done.
        valid_loss: Mean loss of an answer's token, in nats.
        valid_token_accuracy: Share of the answers' tokens that were predicted correctly.
        valid_action_accuracy: Share of the chats whose written answer names the same action;
            where an answer is no JSON object with an ``action``, the whole text counts.
        duration_s: Time since training began, without what an interruption took.
    """

    step: int
    epoch: int
    valid_loss: float
    valid_token_accuracy: float
    valid_action_accuracy: float
    duration_s: float


class TrainingMetrics(msgspec.Struct, frozen=True):
    """Everything that one training measured.

    Attributes:
        job_id: The job.
        model: Name of the fine-tuned model.
        num_train: Chats to learn from.
        num_valid: Chats to measure with.
        num_parameters: Parameters of the model.
        num_epochs: Epochs of the whole training.
        seed: Seed of the training.
        steps: Measurements during training.
        epochs: Measurements after each epoch.
    """

    job_id: str
    model: str
    num_train: int
    num_valid: int
    num_parameters: int
    num_epochs: int
    seed: int
    steps: tuple[StepMetrics, ...] = ()
    epochs: tuple[EpochMetrics, ...] = ()


def write_metrics(directory: Path, metrics: TrainingMetrics) -> None:
    """Writes a job's measurements into its directory.

    Raises:
        OSError: They cannot be written.
    """
    write_bytes(directory / METRICS_FILE, msgspec.json.encode(metrics))


def metrics_of_job(directory: Path) -> TrainingMetrics | None:
    """Returns the measurements in a job's directory; None if there are none yet."""
    try:
        content = (directory / METRICS_FILE).read_bytes()
        return msgspec.json.decode(content, type=TrainingMetrics)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def read_metrics(models_dir: Path, name: str) -> TrainingMetrics | None:
    """Returns what the training of a model measured.

    Args:
        models_dir: The directory given to the offline server.
        name: Id of a job, or name of a fine-tuned model.

    Returns:
        The measurements; None if there is no such job or model, or nothing was measured yet.
    """
    jobs = JobStore(models_dir / "jobs")
    for job in jobs.all():
        if name in (job["id"], job["fine_tuned_model"]):
            return metrics_of_job(jobs.directory(job["id"]))
    return None


def checkpoints(job: dict[str, Any], jobs: JobStore) -> list[dict[str, Any]]:
    """Returns a finished job's checkpoints: the model after its last epoch is the only one."""
    metrics = metrics_of_job(jobs.directory(job["id"]))
    if metrics is None or not metrics.epochs:
        return []
    last = metrics.epochs[-1]
    checkpoint = {
        "object": "fine_tuning.job.checkpoint",
        "id": f"ftckpt-{job['id'].removeprefix('ftjob-')}",
        "created_at": job["finished_at"],
        "fine_tuned_model_checkpoint": job["fine_tuned_model"],
        "fine_tuning_job_id": job["id"],
        "step_number": last.step,
        "metrics": {
            "step": last.step,
            "full_valid_loss": last.valid_loss,
            "full_valid_mean_token_accuracy": last.valid_token_accuracy,
        },
    }
    return [checkpoint]


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
