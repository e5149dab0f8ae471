"""``finetune``: a model learns from training data, and becomes a variant."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pytest_babyai.commands.learning import (
    STORE,
    Curation,
    ask_about_cost,
    curation_of,
    curation_options,
    provider_of_project,
)
from pytest_babyai.commands.options import with_options
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from types import SimpleNamespace

    from pytest_babyai.finetuning.dataset import Dataset
    from pytest_babyai.finetuning.jobs import FineTuning

_Function = TypeVar("_Function", bound="Callable[..., Any]")

_STORED_DATA: Final = "store.jsonl"
"""Name of the training data that is taken from a store, among the jobs."""
_HYPERPARAMETERS: Final = {
    "n_epochs": ("--epochs", "N", "passes over the data (default: the provider's choice)"),
    "batch_size": ("--batch-size", "N", "examples a step (default: the provider's choice)"),
    "learning_rate_multiplier": (
        "--learning-rate-multiplier",
        "X",
        "factor of the provider's learning rate (default: the provider's choice)",
    ),
    "seed": ("--seed", "N", "seed of what is left to chance (default: the provider's choice)"),
    "suffix": ("--suffix", "TEXT", "part of the new model's name"),
}


def _hyperparameter_options(command: _Function) -> _Function:
    for name, (flag, metavar, text) in reversed(_HYPERPARAMETERS.items()):
        command = click.option(flag, name, metavar=metavar, help=text)(command)
    return command


_HELP: Final = f"""Fine-tune a model on training data and declare it as a variant.

The source is what 'dataset' wrote, or {STORE!r} for the successful episodes of a store.
"""


@click.command("finetune", help=_HELP)
@click.argument("source", metavar="[FILE|store]", required=False)
@click.option(
    "--model",
    metavar="NAME",
    help="the model to start from, such as gpt-4.1-nano-2025-04-14 (default: babyai-offline, "
    "if the project's model is an offline one)",
)
@click.option(
    "--name", metavar="NAME", help="name of the new variant (default: the old one's with _sft)"
)
@_hyperparameter_options
@click.option(
    "--resume",
    is_flag=False,
    flag_value="latest",
    metavar="JOB",
    help="pick up a job that was started before, by default the latest",
)
@click.option("--yes", is_flag=True, help="start a job that costs money without being asked")
@click.option("--force", is_flag=True, help="replace the fine-tuned variant that is there")
@curation_options
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields the progress of the job."""
    yield from fine_tune(_options_of(chosen), chosen.source)


@dataclass(frozen=True)
class FineTuneOptions:
    """How a model is fine-tuned.

    Attributes:
        curation: What is learned from, where that is a store; root and configuration always.
        model: The model to start from; None for the offline one, if the project plays that.
        name: Name of the new variant; None for the old one's with ``_sft``.
        hyperparameters: As typed, None where left to the provider.
        resume: A job to pick up, or ``latest``.
        yes: Start a job that costs money without being asked.
        force: Replace the fine-tuned variant that is there.
    """

    curation: Curation
    model: str | None = None
    name: str | None = None
    hyperparameters: Mapping[str, str | None] = field(default_factory=dict)
    resume: str | None = None
    yes: bool = False
    force: bool = False

    def settled(self) -> dict[str, Any]:
        """Returns the hyperparameters that were given.

        Raises:
            SettingsError: One of them is wrong.
        """
        from pytest_babyai.settings import values

        readers: dict[str, Callable[[Any], Any]] = {
            "n_epochs": values.whole_number(1),
            "batch_size": values.whole_number(1),
            "learning_rate_multiplier": values.number(0, above=True),
            "seed": values.whole_number(0),
            "suffix": values.text,
        }
        found = {}
        for name, written in self.hyperparameters.items():
            if written is None:
                continue
            try:
                found[name] = readers[name](written)
            except ValueError as expected:
                flag = _HYPERPARAMETERS[name][0]
                raise SettingsError(f"{flag}: expected {expected}, found {written!r}") from None
        return found

    def base_model(self) -> str:
        """Returns the model to start from.

        Raises:
            SettingsError: None is named, and the project's is not an offline one.
        """
        from pytest_babyai.finetuning.openai import OFFLINE_MODEL
        from pytest_babyai.settings.sources import SETTINGS_FILE, read_settings_file, resolve

        if self.model is not None:
            return self.model
        file = self.curation.config_dir() / SETTINGS_FILE
        model = resolve([read_settings_file(file)]).model
        if not str(model or "offline").startswith("offline"):
            raise SettingsError(
                "--model: name the model to fine-tune, such as gpt-4.1-nano-2025-04-14 or "
                f"{OFFLINE_MODEL}"
            )
        return OFFLINE_MODEL

    def fine_tuning(self) -> FineTuning:
        """Returns what fine-tunes for the project.

        Raises:
            SettingsError: The project has no configuration that a variant could be added to.
            ConfigurationError: Its configuration is wrong.
        """
        from pytest_babyai.finetuning.jobs import FineTuning
        from pytest_babyai.gateway.configuration import read_configuration
        from pytest_babyai.project import CONFIG, packaged

        root, config_dir = self.curation.root, self.curation.config_dir()
        is_own = config_dir.resolve() == (root / CONFIG).resolve()  # in a clone it is the packaged
        if config_dir == packaged(CONFIG) and self.curation.config is None and not is_own:
            raise SettingsError(
                f"there is no {CONFIG} directory in {root} to add a variant to; make one with "
                "python -m pytest_babyai init, or name one with --config"
            )
        return FineTuning(
            root=root,
            configuration=read_configuration(config_dir, None, os.environ, check_credentials=False),
            open_provider=functools.partial(provider_of_project, root),
            confirm=ask_about_cost(assume_yes=self.yes),
            force=self.force,
        )


def _options_of(chosen: SimpleNamespace) -> FineTuneOptions:
    names = ("model", "name", "resume", "yes", "force")
    return FineTuneOptions(
        curation_of(chosen),
        hyperparameters={name: getattr(chosen, name) for name in _HYPERPARAMETERS},
        **{name: getattr(chosen, name) for name in names},
    )


def fine_tune(options: FineTuneOptions, source: str | None) -> Iterator[str]:
    """Fine-tunes a model, and yields its progress until the variant is written.

    Args:
        options: How.
        source: What ``dataset`` wrote, `STORE`, or None to pick up a job.

    Raises:
        UsageError: An option is wrong, or no model came of it.
    """
    from pytest_babyai.finetuning.job_records import JobRequest, JobStore
    from pytest_babyai.finetuning.openai import provider_of
    from pytest_babyai.finetuning.variant import VARIANT_SUFFIX

    if (source is None) == (options.resume is None):
        raise SettingsError(f"name a file that 'dataset' wrote, {STORE!r}, or --resume")
    fine_tuning = options.fine_tuning()
    if options.resume is not None:
        yield from fine_tuning.resume(JobStore(fine_tuning.root).resumed(options.resume))
        return
    model, hyperparameters = options.base_model(), options.settled()
    dataset = yield from _dataset(options.curation, str(source))
    request = JobRequest(
        provider=provider_of(model),
        model=model,
        variant=options.name or f"{dataset.card.variant}{VARIANT_SUFFIX}",
        hyperparameters=hyperparameters,
        card=dataset.card,
    )
    yield from fine_tuning.run(dataset, request)


def _dataset(curation: Curation, source: str) -> Generator[str, None, Dataset]:
    """Reads the training data, from a file or out of the store; yields what its card says."""
    from pytest_babyai.finetuning.dataset import read_dataset, write_dataset
    from pytest_babyai.finetuning.job_records import JobStore

    if source != STORE:
        _refuse_curation(curation, source)
        return read_dataset(Path(source))
    fraction = curation.check()
    jobs = JobStore(curation.root)
    jobs.prepare()
    path = jobs.directory / _STORED_DATA
    card = write_dataset(curation.curated(STORE), path, val_fraction=fraction, force=True)
    yield from card.lines()
    return read_dataset(path)


def _refuse_curation(curation: Curation, source: str) -> None:
    for name in ("where", "variant", "run", "store", "clickhouse_url"):
        if getattr(curation, name):
            raise SettingsError(
                f"--{name.replace('_', '-')} chooses what is taken from a store, and {source} is "
                "training data already; give it to the command 'dataset'"
            )
