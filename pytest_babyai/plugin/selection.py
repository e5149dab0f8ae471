"""Which episodes a marked test plays: settings of the test, its parameters and marks."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.errors import CredentialsError, SettingsError, UnknownTaskError, did_you_mean
from pytest_babyai.gate import BASELINES_DIRECTORY
from pytest_babyai.gateway.configuration import check_rule_models, read_configuration
from pytest_babyai.gateway.toml_files import find_files
from pytest_babyai.plugin.collecting import check_seeds, collection_sources
from pytest_babyai.plugin.options import command_line, ini_file
from pytest_babyai.plugin.rules import AskedRules, FunctionRules, read_rules
from pytest_babyai.project import CONFIG, find_config, packaged
from pytest_babyai.records import EpisodeSpec
from pytest_babyai.scheduling.precision import parse_precision
from pytest_babyai.settings.sources import (
    SETTINGS_FILE,
    Source,
    marker_source,
    origin_of,
    read_settings_file,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_babyai.gateway.configuration import GatewayConfiguration
    from pytest_babyai.scheduling.precision import Precision
    from pytest_babyai.settings.model import Settings

PARAMETERS = ("variant", "task", "seed")
REPEAT = "babyai_repeat"
MARK_NAME = re.compile(r"[A-Za-z][\w.-]*")


@dataclass(frozen=True, slots=True)
class PlannedEpisode:
    """An episode with everything that decides how it is played; equal ones are played once."""

    spec: EpisodeSpec
    history_length: int
    num_dists: int
    repeat: int = 0
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """What one item asks of its episode."""

    episode: PlannedEpisode
    threshold: float
    gate: str


class Selection:
    """Settings of the run and of every marked test.

    Raises:
        SettingsError: A setting, a variant or a task is wrong.
        ConfigurationError: The TensorZero configuration is wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._typed, self._weak = command_line(config), [ini_file(config)]
        self._strong = [self._typed, *collection_sources([self._typed, *self._weak])]
        sources = [*self._strong, *self._weak]
        chosen = resolve(sources).config
        if chosen is not None:
            chosen = self.path_of("config", chosen)
        source = find_config(chosen, _places(config), option=origin_of("config", sources))
        self._weak.append(_settings_file(source, is_chosen=chosen is not None))
        settings = resolve([*self._strong, *self._weak])
        # A gateway that runs elsewhere has keys of its own, and a mere listing needs none.
        self._needs_keys = not (settings.gateway_url or config.option.collectonly)
        self.configuration = read_configuration(
            source,
            self._model(settings),
            os.environ,
            function=settings.function,
            check_credentials=self._needs_keys,
        )
        self.config_dir = self.configuration.config_dir
        self.settings = self._resolve([*self._strong, *self._weak])
        self.precision = self._precision()
        self.played_variants: set[str] = set()
        self.rules_of: dict[str, FunctionRules] = {}
        self._of_function: dict[str, Settings] = {}

    def _resolve(self, sources: Sequence[Source]) -> Settings:
        """Resolves settings; the model is the one that plays where none was named."""
        settings = resolve(sources)
        check_rule_models(
            settings.fail, self.config_dir, settings.model, origin_of("fail", sources)
        )
        model = settings.model or self.configuration.model_name
        return dataclasses.replace(settings, model=model)

    def _precision(self) -> Precision | None:
        if self.settings.until is None:
            return None
        try:
            return parse_precision(self.settings.until)
        except ValueError as error:
            place = origin_of("until", [*self._strong, *self._weak])
            raise SettingsError(f"{place}: {error}") from None

    def _model(self, settings: Settings) -> str | None:
        model = settings.model  # a name is one of the models' files
        return str(self.path_of("model", model)) if model and model.endswith(".toml") else model

    def path_of(self, setting: str, path: str | Path) -> Path:
        """Returns a path as it is meant: as typed from there, in a file from pytest's root."""
        is_typed = self._typed.values.get(setting) is not None
        base = self._config.invocation_params.dir if is_typed else self._config.rootpath
        return base / Path(path).expanduser()

    @property
    def rootpath(self) -> Path:
        """Root of the project."""
        return self._config.rootpath

    @property
    def baselines(self) -> Path:
        """Where named baselines are kept: in the project, never in the package."""
        own = self.config_dir if self.config_dir != packaged(CONFIG) else None
        return (own or self._config.rootpath / CONFIG) / BASELINES_DIRECTORY

    @property
    def model_label(self) -> str:
        """The model, as summaries and the journal name it."""
        if self.settings.gateway_url is not None:
            return f"as the gateway at {self.settings.gateway_url} has it"
        return self.configuration.model_label(self._played)

    @property
    def is_offline(self) -> bool:
        """Whether the offline model alone plays, which is no language model."""
        return self.is_offline_for(*self._played)

    def is_offline_for(self, *variants: str) -> bool:
        """Whether the offline model alone plays these variants."""
        return self.settings.gateway_url is None and self.configuration.is_offline(variants)

    @property
    def played_configuration(self) -> GatewayConfiguration:
        """The configuration with what the played variants need, and nothing else."""
        return self.configuration.playing(self._played)

    @property
    def _played(self) -> tuple[str, ...]:
        names = self.played_variants or self.variants(self.settings)
        known = self.configuration.variants
        return tuple(sorted(names, key=lambda name: (name not in known, *_place(name, known))))

    @functools.cached_property
    def variant_hashes(self) -> Mapping[str, str]:
        """Hash of what each variant is; a running gateway keeps its own configuration to itself."""
        return {} if self.settings.gateway_url is not None else self.configuration.variant_hashes

    def variants(self, settings: Settings) -> tuple[str, ...]:
        """Returns the variants that settings ask for; `parametrize` has checked those it plays."""
        return settings.variants or self.configuration.variants

    def settle(self, variants: set[str]) -> None:
        """Takes note of the variants that are played, once tests have been selected.

        Raises:
            ConfigurationError: One names a model that is not defined.
            CredentialsError: The key of its model is not set.
        """
        self.played_variants = variants
        self.configuration.check_playable(self._played, os.environ, has_own_keys=self._needs_keys)

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Gives a marked test its episodes.

        Raises:
            SettingsError: The marker is wrong, or a variant is unknown.
            UnknownTaskError: A task is unknown.
            CredentialsError: The key of a fine-tuned variant is missing.
        """
        node = metafunc.definition
        markers = [
            marker_source(_keywords(marker, node.nodeid), node.nodeid)
            for marker in node.iter_markers("babyai")
        ]
        sources = [*self._strong, *markers, *self._weak]
        settings = self._resolve(sources)
        self._of_function[node.nodeid] = settings
        self._check_variants(settings, origin_of("variants", sources))
        self._check_reference(settings, origin_of("reference", sources))
        check_seeds(settings)
        tasks = _tasks(settings, origin_of("tasks", sources))
        missing = [name for name in PARAMETERS if name not in metafunc.fixturenames]
        metafunc.fixturenames.extend(missing)
        metafunc.parametrize(PARAMETERS, list(self._parameters(settings, tasks)))
        if settings.repeats > 1:
            metafunc.fixturenames.append(REPEAT)
            metafunc.parametrize(REPEAT, range(settings.repeats), ids=lambda number: f"r{number}")
        if settings.rules:
            asked = AskedRules(
                settings,
                place=origin_of("fail", sources),
                is_typed=origin_of("fail", [self._typed]) != "",
                is_marked=origin_of("fail", markers) == origin_of("fail", sources),
                has_own_reference=origin_of("reference", markers) != "",
            )
            self.rules_of[node.nodeid] = read_rules(
                asked,
                variants=self.variants(settings),
                declared=() if settings.gateway_url else self.configuration.variants,
            )

    def _check_variants(self, settings: Settings, origin: str) -> None:
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

    def _check_reference(self, settings: Settings, origin: str) -> None:
        names, declared = self.variants(settings), self.configuration.variants
        if settings.reference is None or settings.gateway_url is not None:
            return
        if settings.reference not in {*names, *declared}:
            hint = did_you_mean(settings.reference, names)
            raise SettingsError(f"{origin}: unknown variant {settings.reference!r}; {hint}")

    def _parameters(self, settings: Settings, tasks: Sequence[str]) -> Iterable[object]:
        task_marks = {task: self._marks(task, "task") for task in tasks}
        variants = self.variants(settings)
        self.played_variants.update(variants)
        for variant in variants:
            variant_marks = self._marks(variant, "variant")
            for task in tasks:
                marks = [*variant_marks, *task_marks[task]]
                for seed in settings.played_seeds:
                    name = f"{variant}-{task}-{seed}"
                    yield pytest.param(variant, task, seed, id=name, marks=marks)

    def _marks(self, name: str, kind: str) -> list[pytest.MarkDecorator]:
        if not MARK_NAME.fullmatch(name):
            return []
        if name in _RESERVED:
            raise SettingsError(
                f"{kind} {name!r} has the name of one of pytest's own marks; rename it"
            )
        self._config.addinivalue_line("markers", f"{name}: BabyAI episodes of this {kind}")
        return [getattr(pytest.mark, name)]

    def num_dists_of(self, nodeid: str) -> int:
        """Returns the distractors in the levels of an item's test."""
        settings = self._of_function.get(nodeid.partition("[")[0], self.settings)
        return settings.num_dists

    def plan_of(self, item: pytest.Item) -> ItemPlan | None:
        """Returns what an item asks of its episode, None for an item without one."""
        callspec = getattr(item, "callspec", None)
        function = f"{getattr(item.parent, 'nodeid', '')}::{getattr(item, 'originalname', '')}"
        settings = self._of_function.get(function)
        if callspec is None or settings is None or not set(PARAMETERS) <= callspec.params.keys():
            return None
        spec = EpisodeSpec(*(callspec.params[name] for name in PARAMETERS))
        episode = PlannedEpisode(
            spec,
            settings.history_length,
            settings.num_dists,
            repeat=callspec.params.get(REPEAT, 0),
            is_repeated=settings.repeats > 1,
        )
        return ItemPlan(episode, settings.threshold, settings.gate)


_RESERVED = {
    "asyncio", "babyai", "filterwarnings", "parametrize", "skip", "skipif", "timeout",
    "usefixtures", "xfail",
}  # fmt: skip


def _tasks(settings: Settings, origin: str) -> list[str]:
    try:
        return [resolve_task(task) for task in settings.tasks or TASKS]
    except UnknownTaskError as error:
        raise UnknownTaskError(f"{origin}: {error}") from None


def _settings_file(source: Path, *, is_chosen: bool) -> Source:
    # The packaged directory is a stand-in for the gateway's files; its settings are an example,
    # and must not decide over a project that has none.
    if source == packaged(CONFIG) and not is_chosen:
        return Source({}, lambda definition: definition.key)
    return read_settings_file(find_files(source)[0].parent / SETTINGS_FILE)


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else 0, name)


def _places(config: pytest.Config) -> list[Path]:
    return list(dict.fromkeys([config.rootpath, config.invocation_params.dir]))


def _keywords(marker: pytest.Mark, place: str) -> dict[str, object]:
    if marker.args:
        raise SettingsError(
            f"{place}: @pytest.mark.babyai takes keyword arguments only, found {marker.args[0]!r}; "
            "write for example variants=['baseline']"
        )
    return dict(marker.kwargs)
