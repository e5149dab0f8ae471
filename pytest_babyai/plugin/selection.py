"""Which episodes a marked test plays: settings of the test, its parameters and marks."""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.environment.expert import check_references
from pytest_babyai.errors import CredentialsError, SettingsError, UnknownTaskError, did_you_mean
from pytest_babyai.gate import BASELINES_DIRECTORY
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.playing.stopping import parse_precision
from pytest_babyai.plugin.collecting import check_seeds, collection_sources
from pytest_babyai.plugin.options import command_line, ini_file
from pytest_babyai.plugin.rules import AskedRules, FunctionRules, read_rules
from pytest_babyai.project import CONFIG, TENSORZERO_FILE, find_config, packaged
from pytest_babyai.records import EpisodeSpec
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

    from pytest_babyai.playing.stopping import Precision
    from pytest_babyai.settings.model import Settings

OFFLINE_MODEL = "babyai-offline"
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
        self.config_dir = find_config(chosen, _places(config), option=origin_of("config", sources))
        self._weak.append(self._settings_file(chosen))
        self.settings = resolve([*self._strong, *self._weak])
        self.precision = self._precision()
        check_references(self.settings.references)
        self.configuration = read_configuration(
            self.config_dir,
            self._model(),
            os.environ,
            # A gateway that runs elsewhere has keys of its own, and a mere listing needs none.
            check_credentials=not (self.settings.gateway_url or config.option.collectonly),
        )
        self.played_variants: set[str] = set()
        self.rules_of: dict[str, FunctionRules] = {}
        self._of_function: dict[str, Settings] = {}

    def _settings_file(self, chosen: Path | None) -> Source:
        # The packaged directory is a stand-in for the gateway's files; its settings are an
        # example, and must not decide over a project that has none.
        directories = [chosen] if chosen else [place / "config" for place in _places(self._config)]
        files = [directory / SETTINGS_FILE for directory in directories]
        return read_settings_file(next((file for file in files if file.is_file()), files[0]))

    def _precision(self) -> Precision | None:
        if self.settings.until is None:
            return None
        try:
            return parse_precision(self.settings.until)
        except ValueError as error:
            place = origin_of("until", [*self._strong, *self._weak])
            raise SettingsError(f"{place}: {error}") from None

    def _model(self) -> str:
        model = self.settings.model  # a name is one of the models' files
        return str(self.path_of("model", model)) if model.endswith(".toml") else model

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
        return self.configuration.model_label

    @property
    def is_offline(self) -> bool:
        """Whether the offline model plays, which is no language model."""
        return self.settings.gateway_url is None and OFFLINE_MODEL in self.model_label

    @functools.cached_property
    def variant_hashes(self) -> Mapping[str, str]:
        """Hash of what each variant is; a running gateway keeps its own configuration to itself."""
        return {} if self.settings.gateway_url is not None else self.configuration.variant_hashes

    def variants(self, settings: Settings) -> tuple[str, ...]:
        """Returns the variants that settings ask for; `parametrize` has checked those it plays."""
        return settings.variants or self.configuration.variants

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
        settings = resolve(sources)
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
                place = self.config_dir / TENSORZERO_FILE
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


def _places(config: pytest.Config) -> list[Path]:
    return list(dict.fromkeys([config.rootpath, config.invocation_params.dir]))


def _keywords(marker: pytest.Mark, place: str) -> dict[str, object]:
    if marker.args:
        raise SettingsError(
            f"{place}: @pytest.mark.babyai takes keyword arguments only, found {marker.args[0]!r}; "
            "write for example variants=['baseline']"
        )
    return dict(marker.kwargs)
