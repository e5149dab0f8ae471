"""What the commands of the learning loop share: where episodes and the configuration are."""

from __future__ import annotations

import functools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pytest_babyai.commands.options import PATH, config_option, refuse_several
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import SimpleNamespace

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.episodes import EpisodeSource
    from pytest_babyai.gateway.configuration import GatewayConfiguration

_Function = TypeVar("_Function", bound="Callable[..., Any]")

STORE: Final = "store"
"""Stands for a store in the place of a run."""


def source_options(command: _Function) -> _Function:
    """Adds the options that say where a store and the configuration are."""
    options = (
        click.option(
            "--store",
            type=PATH,
            metavar="DIR",
            help=f"the embedded store (default: {STORE_DIRECTORY})",
        ),
        click.option(
            "--clickhouse-url",
            metavar="URL",
            help=f"a ClickHouse as the store (default: ${CLICKHOUSE_VARIABLE})",
        ),
        click.option("--run", metavar="RUN", help="the only run to take from a store"),
        config_option,
    )
    return functools.reduce(lambda decorated, option: option(decorated), options[::-1], command)


def config_dir_of(chosen: SimpleNamespace) -> Path:
    """Returns the configuration directory: the chosen one, the project's, the packaged one.

    Raises:
        SettingsError: The chosen one is none.
    """
    from pytest_babyai.project import find_config

    return find_config(chosen.config, [chosen.root], option="--config")


@contextmanager
def source_of(chosen: SimpleNamespace) -> Iterator[EpisodeSource[Any]]:
    """Opens the run or the store that a command names.

    Raises:
        UsageError: There is none, or its variant cannot be rendered.
    """
    from pytest_babyai.gateway.configuration import read_configuration

    refuse_several(chosen, "store", "clickhouse_url")
    configuration = read_configuration(config_dir_of(chosen), None, os.environ)
    if chosen.source == STORE:
        with _stored(chosen, configuration) as source:
            yield source
        return
    from pytest_babyai.finetuning.recorded import RunSource

    if chosen.run or chosen.store or chosen.clickhouse_url:
        raise SettingsError(
            f"--run, --store and --clickhouse-url go with {STORE!r}, not with run {chosen.source!r}"
        )
    yield RunSource(run_of(chosen, chosen.source), configuration, chosen.variant)


@contextmanager
def _stored(
    chosen: SimpleNamespace, configuration: GatewayConfiguration
) -> Iterator[EpisodeSource[Any]]:
    from pytest_babyai.finetuning.clients import embedded_client
    from pytest_babyai.finetuning.stored import StoredSource

    with (
        _clickhouse(chosen) as (url, name),
        embedded_client(configuration, url) as opened,
    ):
        yield StoredSource(
            opened,
            configuration,
            name=name,
            variant=chosen.variant or TEACHER,
            run=chosen.run,
        )


@contextmanager
def _clickhouse(chosen: SimpleNamespace) -> Iterator[tuple[str, str]]:
    """Yields the URL of the store, and its name without a password."""
    from pytest_babyai.gateway.store import EmbeddedStore
    from pytest_babyai.gateway.store_failures import public_url

    url = chosen.clickhouse_url or (None if chosen.store else os.environ.get(CLICKHOUSE_VARIABLE))
    if url:
        yield url, f"the store at {public_url(url)}"
        return
    directory = chosen.store or chosen.root / STORE_DIRECTORY
    if not directory.is_dir():
        raise SettingsError(
            f"there is no store in {directory}; record a run with --babyai-record, or name a run "
            "of the journal"
        )
    with EmbeddedStore(directory) as store:
        yield store.url, f"the store in {directory}"


def environments_of() -> Callable[[int], Callable[[str], Environment]]:
    """Returns what makes environments for a number of distractors."""
    from pytest_babyai.environment import environment_factory

    return lambda num_dists: environment_factory("builtin", num_dists=num_dists)
