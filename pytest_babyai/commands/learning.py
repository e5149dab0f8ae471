"""What the commands of the learning loop share: where episodes and the configuration are."""

from __future__ import annotations

import functools
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pytest_babyai.commands.options import PATH, config_option, refuse_several, root_option
from pytest_babyai.commands.places import run_of
from pytest_babyai.errors import SettingsError
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_babyai.environment import Environment
    from pytest_babyai.finetuning.curation import Curated
    from pytest_babyai.finetuning.openai import Provider
    from pytest_babyai.finetuning.sources import EpisodeSource
    from pytest_babyai.gateway.configuration import GatewayConfiguration

_Function = TypeVar("_Function", bound="Callable[..., Any]")

STORE: Final = "store"
"""Stands for a store in the place of a run."""


@dataclass(frozen=True)
class Curation:
    """Where episodes are taken from, and which of them.

    Attributes:
        root: The project's root.
        config: The configuration directory; None for the project's, or the packaged one.
        store: The embedded store.
        clickhouse_url: A ClickHouse as the store.
        run: The only run to take from a store.
        variant: Whose episodes; None for the only one of a run.
        where: Conditions.
        val_fraction: Share of the seeds that is kept for validation.
        kind: ``sft`` or ``dpo``.
    """

    root: Path
    config: Path | None = None
    store: Path | None = None
    clickhouse_url: str | None = None
    run: str | None = None
    variant: str | None = None
    where: list[str] = field(default_factory=list)
    val_fraction: str | float = 0.1
    kind: str = "sft"

    def config_dir(self) -> Path:
        """Returns the configuration directory: the chosen one, the project's, the packaged one.

        Raises:
            SettingsError: The chosen one is none.
        """
        from pytest_babyai.project import find_config

        return find_config(self.config, [self.root], option="--config")

    def check(self) -> float:
        """Refuses what is wrong before anything is read; returns the share for validation.

        Raises:
            SettingsError: A condition, the format or the share is wrong.
        """
        from pytest_babyai.errors import did_you_mean
        from pytest_babyai.finetuning.chats import FORMATS
        from pytest_babyai.finetuning.conditions import parse_conditions

        parse_conditions(self.where)
        if self.kind not in FORMATS:
            hint = did_you_mean(self.kind, FORMATS)
            raise SettingsError(f"--format: expected sft or dpo, found {self.kind!r}; {hint}")
        try:
            fraction = float(self.val_fraction)
        except ValueError:
            fraction = -1.0
        if not 0 <= fraction < 1:
            raise SettingsError(
                f"--val-fraction: expected a number from 0 to below 1, found {self.val_fraction!r}"
            )
        return fraction

    def curated(self, source: str) -> Curated:
        """Chooses what is learned from a run or from a store.

        Raises:
            UsageError: There is no such source, or nothing is left to learn from.
        """
        from pytest_babyai.finetuning.conditions import DEFAULT_CONDITION, parse_conditions
        from pytest_babyai.finetuning.curation import curate

        conditions = parse_conditions(self.where or [DEFAULT_CONDITION])
        with self._opened(source) as opened:
            return curate(opened, conditions, _environments_of, kind=self.kind)

    @contextmanager
    def _opened(self, source: str) -> Iterator[EpisodeSource]:
        from pytest_babyai.gateway.configuration import read_configuration

        configuration = read_configuration(self.config_dir(), None, os.environ)
        if source == STORE:
            with self._stored(configuration) as stored:
                yield stored
            return
        from pytest_babyai.finetuning.sources import RunSource

        if self.run or self.store or self.clickhouse_url:
            raise SettingsError(
                f"--run, --store and --clickhouse-url go with {STORE!r}, not with run {source!r}"
            )
        yield RunSource(
            run_of(SimpleNamespace(root=self.root), source), configuration, self.variant
        )

    @contextmanager
    def _stored(self, configuration: GatewayConfiguration) -> Iterator[EpisodeSource]:
        from pytest_babyai.finetuning.clients import embedded_client
        from pytest_babyai.finetuning.stored import StoredSource

        variant = self.variant or TEACHER
        with (
            self._clickhouse() as (url, name),
            embedded_client(configuration, url) as opened,
        ):
            yield StoredSource(opened, configuration, name=name, variant=variant, run=self.run)

    @contextmanager
    def _clickhouse(self) -> Iterator[tuple[str, str]]:
        """Yields the URL of the store, and its name without a password."""
        from pytest_babyai.gateway.credentials import public_url
        from pytest_babyai.store.embedded import EmbeddedStore

        named = None if self.store else os.environ.get(CLICKHOUSE_VARIABLE)
        if url := self.clickhouse_url or named:
            yield url, f"the store at {public_url(url)}"
            return
        directory = self.store or self.root / STORE_DIRECTORY
        if not directory.is_dir():
            raise SettingsError(
                f"there is no store in {directory}; record a run with --babyai-record, or name a "
                "run of the journal"
            )
        with EmbeddedStore(directory) as store:
            yield store.url, f"the store in {directory}"


def _environments_of(num_dists: int) -> Callable[[str], Environment]:
    from pytest_babyai.environment import environment_factory

    return environment_factory("builtin", num_dists=num_dists)


def curation_options(command: _Function) -> _Function:
    """Adds the options of `Curation`, the root's included."""
    options = (
        click.option(
            "--where",
            multiple=True,
            metavar="CONDITION",
            help="episodes to learn from, such as 'return>=0.7' (default: progression>=1; may be "
            "repeated)",
        ),
        click.option("--variant", metavar="NAME", help="whose episodes (default: the only one)"),
        click.option(
            "--val-fraction",
            default="0.1",
            metavar="P",
            help="share of the seeds that is kept for validation (default: 0.1)",
        ),
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
        root_option,
    )
    return functools.reduce(lambda decorated, option: option(decorated), options[::-1], command)


def curation_of(chosen: SimpleNamespace) -> Curation:
    """Returns what the options of `curation_options` say.

    Raises:
        SettingsError: Two of them exclude each other.
    """
    refuse_several(chosen, "store", "clickhouse_url")
    names = ("root", "config", "store", "clickhouse_url", "run", "variant", "val_fraction")
    return Curation(
        **{name: getattr(chosen, name) for name in names},
        where=list(chosen.where),
        kind=getattr(chosen, "format", "sft"),
    )


@contextmanager
def provider_of_project(root: Path, name: str) -> Iterator[Provider]:
    """Makes a provider reachable: OpenAI, or the offline server of a project."""
    from pytest_babyai.finetuning.openai import OFFLINE, Provider, openai_provider
    from pytest_babyai.offline.process import MODELS_DIRECTORY, OfflineServer

    if name != OFFLINE:
        yield openai_provider(os.environ)
        return
    with OfflineServer(models_dir=root / MODELS_DIRECTORY) as server:
        yield Provider(OFFLINE, f"{server.url}/v1")


def ask_about_cost(*, assume_yes: bool) -> Callable[[str], None]:
    """Returns what asks before a job that costs money is started.

    Args:
        assume_yes: Answers itself.
    """

    def ask(line: str) -> None:
        if assume_yes:
            return
        if not sys.stdin.isatty():
            raise SettingsError(f"{line}; give --yes to start it")
        if input("start it? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise SettingsError("not started, and nothing was uploaded")

    return ask
