"""Settings and TensorZero configuration of a run, read from where they stand."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.errors import CredentialsError, SettingsError, UnknownTaskError, did_you_mean
from pytest_babyai.gate import BASELINES_DIRECTORY
from pytest_babyai.gateway.configuration import check_rule_models, read_configuration
from pytest_babyai.gateway.credentials import public_url
from pytest_babyai.gateway.inference import TRAIN_SEEDS
from pytest_babyai.gateway.toml_files import find_files
from pytest_babyai.playing.run_spec import RunSpec
from pytest_babyai.playing.stopping import parse_precision
from pytest_babyai.project import CONFIG, find_config, packaged
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER
from pytest_babyai.settings.sources import (
    SETTINGS_FILE,
    Source,
    origin_of,
    read_settings_file,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.playing.stopping import Precision
    from pytest_babyai.records import PlannedEpisode
    from pytest_babyai.settings.model import Settings

    PathOf = Callable[[str, str | Path], Path]


@dataclass(frozen=True)
class Setup:
    """What a run is told: made by `read_setup`.

    Attributes:
        settings: The settings, a test's marker apart.
        configuration: What it declares.
        precision: How precisely a variant has to be known, None for no matter.
        weak: Sources that a test's marker overrules, the strongest first.
        strong: Sources that overrule it.
        path_of: Tells which path a setting means.
    """

    settings: Settings
    configuration: GatewayConfiguration
    precision: Precision | None
    strong: Sequence[Source]
    weak: Sequence[Source]
    path_of: PathOf

    @property
    def config_dir(self) -> Path:
        """Directory of TensorZero's configuration."""
        return self.configuration.config_dir

    def resolve(self, markers: Sequence[Source] = ()) -> Settings:
        """Merges the settings with those of a test's markers.

        Raises:
            SettingsError: A value is wrong.
        """
        return _resolve([*self.strong, *markers, *self.weak], self.configuration)

    @property
    def variant_hashes(self) -> Mapping[str, str]:
        """Hash of what each variant is; a running gateway keeps its own configuration to itself."""
        return {} if self.settings.gateway_url is not None else self.configuration.variant_hashes

    def variants(self, settings: Settings) -> tuple[str, ...]:
        """Returns the variants that settings ask for, checked or not."""
        return settings.variants or self.configuration.variants

    def baselines_dir(self, root: Path) -> Path:
        """Returns where named baselines are kept: in the project, never in the package."""
        own = self.config_dir if self.config_dir != packaged(CONFIG) else None
        return (own or root / CONFIG) / BASELINES_DIRECTORY

    def check_variants(self, settings: Settings, origin: str) -> None:
        """Refuses variants that there are not.

        Args:
            settings: The settings that name them.
            origin: Where they are named, for the error line.

        Raises:
            SettingsError: A variant is unknown.
            CredentialsError: The key of a fine-tuned variant is missing.
        """
        declared, unusable = self.configuration.variants, self.configuration.unusable_variants
        for variant in settings.variants or ():
            if variant in unusable:
                raise CredentialsError(unusable[variant])
            # A running gateway has a configuration of its own, and answers for it.
            if variant not in declared and settings.gateway_url is None:
                place = self.configuration.files[0]
                raise SettingsError(
                    f"{origin}: unknown variant {variant!r} in {place}; "
                    f"{did_you_mean(variant, declared)}"
                )

    def check_reference(self, settings: Settings, origin: str) -> None:
        """Refuses a variant of reference that there is not.

        Raises:
            SettingsError: It is unknown.
        """
        names, declared = self.variants(settings), self.configuration.variants
        if settings.reference is None or settings.gateway_url is not None:
            return
        if settings.reference not in {*names, *declared}:
            hint = did_you_mean(settings.reference, names)
            raise SettingsError(f"{origin}: unknown variant {settings.reference!r}; {hint}")

    def run_spec(
        self,
        nodeids: Mapping[PlannedEpisode, str],
        *,
        root: Path,
        command_line: Sequence[str] = (),
    ) -> RunSpec:
        """Returns the run that plays these episodes; see `RunSpec`."""
        store, known = self.settings.store, self.configuration.variants
        played = {episode.spec.variant for episode in nodeids} or set(self.variants(self.settings))
        return RunSpec(
            settings=self.settings,
            configuration=self.configuration,
            # A running gateway may have others, which come last.
            played=(
                *(name for name in known if name in played),
                *sorted(played.difference(known)),
            ),
            variant_hashes=self.variant_hashes,
            root=root,
            nodeids=nodeids,
            store_dir=self.path_of("store", store) if store else None,
            precision=self.precision,
            command_line=tuple(command_line),
        )


def read_setup(
    typed: Source,
    weaker: Sequence[Source],
    *,
    places: Sequence[Path],
    path_of: PathOf,
    check_credentials: bool = True,
) -> Setup:
    """Reads settings from their sources, and the configuration that they name.

    Args:
        typed: What was typed, the strongest source.
        weaker: Other sources, the strongest first; the settings file follows them.
        places: Directories that may hold ``config``.
        path_of: Tells which path a setting means.
        check_credentials: Whether a missing key is an error.

    Raises:
        SettingsError: A setting is wrong.
        ConfigurationError: The TensorZero configuration is wrong.
        CredentialsError: A key is missing.
    """
    strong = [typed, *collection_sources([typed, *weaker])]
    chosen = resolve([*strong, *weaker]).config
    if chosen is not None:
        chosen = path_of("config", chosen)
    source = find_config(chosen, places, option=origin_of("config", [*strong, *weaker]))
    is_own = chosen is not None or source in [place / CONFIG for place in places]
    weak = [*weaker, _settings_file(source) if is_own else _NO_SETTINGS]
    settings = resolve([*strong, *weak])
    if settings.gateway_url is not None and (place := origin_of("model", [typed])):
        raise SettingsError(
            f"{place} and a running gateway exclude each other: the gateway at "
            f"{public_url(settings.gateway_url)} has models of its own"
        )
    model = settings.model  # a name is one of the models' files
    configuration = read_configuration(
        source,
        str(path_of("model", model)) if model and model.endswith(".toml") else model,
        os.environ,
        function=settings.function,
        # A gateway that runs elsewhere has keys of its own.
        check_credentials=check_credentials and not settings.gateway_url,
    )
    sources = [*strong, *weak]
    settings = _resolve(sources, configuration)
    return Setup(
        settings=settings,
        configuration=configuration,
        precision=_precision(settings, sources),
        strong=strong,
        weak=weak,
        path_of=path_of,
    )


def _resolve(sources: Sequence[Source], configuration: GatewayConfiguration) -> Settings:
    """Merges sources; the model is the one that plays where none was named."""
    settings = resolve(sources)
    place = origin_of("fail", sources)
    check_rule_models(settings.fail, configuration.config_dir, settings.model, place)
    return replace(settings, model=settings.model or configuration.model_name)


def _settings_file(source: Path) -> Source:
    return read_settings_file(find_files(source)[0].parent / SETTINGS_FILE)


# The packaged directory is a stand-in for the gateway's files; its settings are an example, and
# must not decide over a project that has none.
_NO_SETTINGS = Source({}, lambda definition: definition.key)


def _precision(settings: Settings, sources: Sequence[Source]) -> Precision | None:
    if settings.until is None:
        return None
    try:
        return parse_precision(settings.until)
    except ValueError as error:
        raise SettingsError(f"{origin_of('until', sources)}: {error}") from None


def collection_sources(sources: Sequence[Source]) -> list[Source]:
    """Returns what ``--babyai-collect`` stands for, as a source; none unless it is asked for.

    Args:
        sources: Those that may ask for it, and that may name a store.
    """
    if next((found for each in sources if (found := each.values.get("collect"))), "off") != "on":
        return []
    chosen: dict[str, Any] = {
        "variants": TEACHER,
        "seed": TRAIN_SEEDS.start,
        "episodes": len(TRAIN_SEEDS),
        "gate": "aggregate",
        "fail": [],
    }
    places = ("store", "clickhouse_url", "gateway_url")
    has_store = any(each.values.get(name) for each in sources for name in places)
    has_store = has_store or bool(os.environ.get(CLICKHOUSE_VARIABLE))
    if not has_store and find_spec("chdb") is not None:
        chosen["store"], has_store = STORE_DIRECTORY, True
    if has_store:
        chosen["record"] = "on"
    return [Source(chosen, lambda definition: f"--babyai-collect ({definition.flag})")]


def check_seeds(settings: Settings) -> None:
    """Refuses to collect experience on seeds that are for evaluation.

    Raises:
        SettingsError: There is such a seed.
    """
    if settings.collect != "on":
        return
    for seed in settings.played_seeds:
        if seed not in TRAIN_SEEDS:
            raise SettingsError(
                f"--babyai-collect plays the training seeds {TRAIN_SEEDS.start} to "
                f"{TRAIN_SEEDS.stop - 1}; seed {seed} is for evaluation"
            )


def tasks_of(settings: Settings, origin: str) -> list[str]:
    """Returns the short names of the tasks that settings ask for.

    Raises:
        UnknownTaskError: There is no such task; the line names ``origin``.
    """
    try:
        return [resolve_task(task) for task in settings.tasks or TASKS]
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{origin}: {error}") from None
