"""What training measured: written while it runs, read back for reports and charts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_babyai.offline.finetuning.jobs import JobStore
from pytest_babyai.offline.finetuning.storage import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class StepMetrics:
    """One measurement during training, over the steps since the one before.

    Attributes:
        step: Steps done.
        epoch: The epoch it lies in, from 1.
        train_loss: Mean loss of an answer's token, in nats.
        train_token_accuracy: Share of the answers' tokens foretold rightly.
        learning_rate: Learning rate of the last of these steps.
    """

    step: int
    epoch: int
    train_loss: float
    train_token_accuracy: float
    learning_rate: float


@dataclass(frozen=True)
class EpochMetrics:
    """The model after an epoch, measured on chats that it does not learn from.

    Attributes:
        step: Steps done.
        epoch: Epochs done.
        valid_loss: Mean loss of an answer's token, in nats.
        valid_token_accuracy: Share of the answers' tokens foretold rightly.
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


@dataclass(frozen=True)
class TrainingMetrics:
    """Everything that one training measured.

    Attributes:
        job_id: The job.
        model: Name of the fine-tuned model.
        num_train: Chats to learn from.
        num_valid: Chats to measure with.
        num_parameters: Numbers that the model learns.
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
    write_json(directory / METRICS_FILE, asdict(metrics))


def metrics_of_job(directory: Path) -> TrainingMetrics | None:
    """Returns the measurements in a job's directory; None if there are none yet."""
    told: dict[str, Any] | None = read_json(directory / METRICS_FILE)
    if told is None:
        return None
    steps = tuple(StepMetrics(**item) for item in told.pop("steps"))
    epochs = tuple(EpochMetrics(**item) for item in told.pop("epochs"))
    return TrainingMetrics(**told, steps=steps, epochs=epochs)


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
