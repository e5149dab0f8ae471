"""``finetune``: a model learns from training data, and becomes a variant."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pytest_babyai.commands.dataset import curation_options, val_fraction_of
from pytest_babyai.commands.learning import (
    STORE,
    config_dir_of,
    environments_of,
    source_of,
    source_options,
)
from pytest_babyai.commands.options import root_option, with_options
from pytest_babyai.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import SimpleNamespace

    from pytest_babyai.finetuning.fine_tune import FineTuning
    from pytest_babyai.finetuning.provider_api import Provider

_STORED_DATA: Final = "store.jsonl"
"""Name of the training data that is taken from a store, among the jobs."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")

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
    "if the project's model is the offline one)",
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
@click.option("--force", is_flag=True, help="replace the fine-tuned variant that is there")
@curation_options
@source_options
@root_option
@with_options
def command(chosen: SimpleNamespace) -> Iterator[str]:
    """Yields the progress of the job."""
    from pytest_babyai.finetuning.job_records import JobRequest, JobStore

    if (chosen.source is None) == (chosen.resume is None):
        raise SettingsError(f"name a file that 'dataset' wrote, {STORE!r}, or --resume")
    fine_tuning = fine_tuning_of(chosen)
    if chosen.resume is not None:
        yield from fine_tuning.resume(JobStore(chosen.root).resumed(chosen.resume))
        return
    model = _model(chosen)
    hyperparameters = _hyperparameters(chosen)
    dataset = yield from _dataset(chosen)
    from pytest_babyai.finetuning.fine_tune import provider_of
    from pytest_babyai.finetuning.tuned_variant import VARIANT_SUFFIX

    request = JobRequest(
        provider=provider_of(model),
        model=model,
        variant=chosen.name or f"{dataset.card.variant}{VARIANT_SUFFIX}",
        hyperparameters=hyperparameters,
        card=dataset.card,
    )
    yield from fine_tuning.run(dataset, request)


def check_options(chosen: SimpleNamespace) -> None:
    """Refuses what could not be fine-tuned, before there is any data.

    Raises:
        SettingsError: An option is wrong, or there is no configuration to add a variant to.
        ConfigurationError: The configuration is wrong.
    """
    fine_tuning_of(chosen)
    _hyperparameters(chosen)


def check_model_of(chosen: SimpleNamespace) -> None:
    """Refuses a model that cannot be fine-tuned; one of OpenAI's is asked about there.

    Raises:
        SettingsError: None is named, and the project's is not the offline one.
        CredentialsError: The key is missing or refused.
        FineTuningError: The provider knows no such model, refuses, or is out of reach.
    """
    from pytest_babyai.finetuning.fine_tune import OPENAI, provider_of
    from pytest_babyai.finetuning.launch import check_model

    model = _model(chosen)
    if provider_of(model) == OPENAI:
        check_model(model, _openai())


def fine_tuning_of(chosen: SimpleNamespace) -> FineTuning:
    """Returns what fine-tunes for a project.

    Raises:
        SettingsError: The project has no configuration that a variant could be added to.
        ConfigurationError: Its configuration is wrong.
    """
    from pytest_babyai.finetuning.fine_tune import FineTuning
    from pytest_babyai.gateway.configuration import read_configuration
    from pytest_babyai.project import CONFIG, packaged

    config_dir = config_dir_of(chosen)
    if config_dir == packaged(CONFIG) and chosen.config is None:
        raise SettingsError(
            f"there is no {CONFIG} directory in {chosen.root} to add a variant to; make one with "
            "python -m pytest_babyai init, or name one with --config"
        )
    return FineTuning(
        root=chosen.root,
        configuration=read_configuration(config_dir, None, os.environ, check_credentials=False),
        open_provider=provider_opener(chosen.root),
        force=chosen.force,
    )


def provider_opener(root: Path) -> Callable[[str], Any]:
    """Returns what makes a provider reachable: OpenAI, or the offline server of a project."""

    @contextmanager
    def open_provider(name: str) -> Iterator[Provider]:
        from pytest_babyai.finetuning.fine_tune import OFFLINE

        if name == OFFLINE:
            with _offline(root) as provider:
                yield provider
        else:
            yield _openai()

    return open_provider


@contextmanager
def _offline(root: Path) -> Iterator[Provider]:
    from pytest_babyai.finetuning.fine_tune import OFFLINE
    from pytest_babyai.finetuning.provider_api import Provider
    from pytest_babyai.offline.process import MODELS_DIRECTORY, OfflineServer

    with OfflineServer(models_dir=root / MODELS_DIRECTORY) as server:
        yield Provider(
            OFFLINE,
            api_url=f"{server.url}/openai",
            models_url=f"{server.url}/v1/models",
            redirect=server.url,
        )


def _openai() -> Provider:
    from pytest_babyai.finetuning.fine_tune import OPENAI
    from pytest_babyai.finetuning.launch import KEY_VARIABLE, REDIRECT_VARIABLE
    from pytest_babyai.finetuning.provider_api import OPENAI_API, Provider

    redirect = os.environ.get(REDIRECT_VARIABLE) or None
    api_url = OPENAI_API if redirect is None else f"{redirect.rstrip('/')}/openai"
    key = os.environ.get(KEY_VARIABLE) or None
    return Provider(OPENAI, api_url, f"{api_url}/models", api_key=key, redirect=redirect)


def _model(chosen: SimpleNamespace) -> str:
    from pytest_babyai.finetuning.fine_tune import OFFLINE_MODEL
    from pytest_babyai.settings.sources import SETTINGS_FILE, read_settings_file, resolve

    if chosen.model is not None:
        return str(chosen.model)
    settings = resolve([read_settings_file(config_dir_of(chosen) / SETTINGS_FILE)])
    if settings.model not in {None, "offline", "offline_human"}:
        raise SettingsError(
            "--model: name the model to fine-tune, such as gpt-4.1-nano-2025-04-14 or "
            f"{OFFLINE_MODEL}"
        )
    return OFFLINE_MODEL


def _hyperparameters(chosen: SimpleNamespace) -> dict[str, Any]:
    from pytest_babyai.settings import values

    readers: dict[str, Callable[[Any], Any]] = {
        "n_epochs": values.whole_number(1),
        "batch_size": values.whole_number(1),
        "learning_rate_multiplier": values.number(0, above=True),
        "seed": values.whole_number(0),
        "suffix": values.text,
    }
    found = {}
    for name, (flag, *_) in _HYPERPARAMETERS.items():
        written = getattr(chosen, name)
        if written is None:
            continue
        try:
            found[name] = readers[name](written)
        except ValueError as expected:
            raise SettingsError(f"{flag}: expected {expected}, found {written!r}") from None
    return found


def _dataset(chosen: SimpleNamespace) -> Any:
    """Reads the training data, from a file or out of the store; yields what it tells."""
    from pytest_babyai.finetuning.dataset import read_dataset

    if chosen.source != STORE:
        _refuse_curation(chosen)
        return read_dataset(Path(chosen.source))
    return (yield from _stored_dataset(chosen))


def _refuse_curation(chosen: SimpleNamespace) -> None:
    given = {
        "--where": chosen.where,
        "--variant": chosen.variant,
        "--run": chosen.run,
        "--store": chosen.store,
        "--clickhouse-url": chosen.clickhouse_url,
    }
    for flag, value in given.items():
        if value:
            raise SettingsError(
                f"{flag} chooses what is taken from a store, and {chosen.source} is training data "
                "already; give it to the command 'dataset'"
            )


def _stored_dataset(chosen: SimpleNamespace) -> Any:
    from pytest_babyai.finetuning.card import card_lines
    from pytest_babyai.finetuning.conditions import DEFAULT_CONDITION, parse_conditions
    from pytest_babyai.finetuning.curation import curate
    from pytest_babyai.finetuning.dataset import read_dataset, write_dataset
    from pytest_babyai.finetuning.job_records import JobStore

    conditions = parse_conditions(list(chosen.where) or [DEFAULT_CONDITION])
    fraction = val_fraction_of(chosen)
    jobs = JobStore(chosen.root)
    jobs.prepare()
    with source_of(chosen) as source:
        curated = curate(source, conditions, environments_of())
    path = jobs.directory / _STORED_DATA
    card = write_dataset(curated, path, val_fraction=fraction, force=True)
    yield from card_lines(card)
    return read_dataset(path)
