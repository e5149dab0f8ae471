"""``learning-curve``: how a training on the offline server went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pytest_babyai.commands.options import PATH, root_option, with_options
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import SimpleNamespace

    from pytest_babyai.offline.finetuning.metrics import TrainingMetrics
    from pytest_babyai.reporting.charts import LearningCurve


@click.command("learning-curve", help="Draw loss and accuracy of a training of the offline model.")
@click.argument("job", metavar="JOB")
@click.option(
    "-o", "--output", required=True, type=PATH, metavar="FILE", help="a .svg or .png file"
)
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields what the training came to; JOB is the id of the job, or the name of the model."""
    yield from draw_learning_curve(chosen.root, chosen.job, chosen.output)


def draw_learning_curve(root: Path, job: str, output: Path) -> Iterator[str]:
    """Draws a training, and yields what it came to.

    Args:
        root: The project's root.
        job: Id of the job, or name of the model.
        output: The picture.

    Raises:
        SettingsError: There is no such training.
    """
    from pytest_babyai.offline.finetuning.metrics import read_metrics
    from pytest_babyai.offline.process import MODELS_DIRECTORY
    from pytest_babyai.reporting.charts import write_learning_curve

    models = root / MODELS_DIRECTORY
    metrics = read_metrics(models, job) if models.is_dir() else None
    if metrics is None:
        raise SettingsError(
            f"{job!r} is no job and no model in {models} that has measured anything; "
            "OpenAI draws the curves of its own jobs"
        )
    write_learning_curve(output, _curve_of(metrics))
    last = metrics.epochs[-1] if metrics.epochs else None
    if last is not None:
        yield (
            f"{last.epoch} epochs, {last.step:,} steps, {last.duration_s:.0f} s: validation loss "
            f"{last.valid_loss:.4f}, right actions {100 * last.valid_action_accuracy:.1f} %"
        )
    yield f"{output} written"


def _curve_of(metrics: TrainingMetrics) -> LearningCurve:
    from pytest_babyai.reporting.charts import LearningCurve

    return LearningCurve(
        title=f"{metrics.model}: {metrics.num_train:,} answers, {metrics.num_parameters:,} numbers",
        train_loss=[(each.step, each.train_loss) for each in metrics.steps],
        valid_loss=[(each.step, each.valid_loss) for each in metrics.epochs],
        valid_action_accuracy=[(each.step, each.valid_action_accuracy) for each in metrics.epochs],
    )
