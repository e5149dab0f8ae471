"""What a session is to play: settings of the run and of every marked test, and its items."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.errors import CredentialsError, SettingsError, UnknownTaskError, did_you_mean
from pytest_babyai.gate import BASELINES_DIRECTORY, check_rules, find_baseline, parse_rules
from pytest_babyai.gateway.configuration import read_configuration
from pytest_babyai.gateway.inference import TRAIN_SEEDS
from pytest_babyai.playing.run_spec import RunSpec
from pytest_babyai.plugin.options import command_line, ini_file
from pytest_babyai.project import CONFIG, TENSORZERO_FILE, find_config, packaged
from pytest_babyai.records import EpisodeSpec, PlannedEpisode
from pytest_babyai.scheduling.precision import parse_precision
from pytest_babyai.settings.defaults import CLICKHOUSE_VARIABLE, STORE_DIRECTORY, TEACHER
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

    from pytest_babyai.gate import Rule
    from pytest_babyai.scheduling.precision import Precision
    from pytest_babyai.settings.model import Settings

OFFLINE_MODEL: Final = "babyai-offline"
PARAMETERS: Final = ("variant", "task", "seed")
REPEAT: Final = "babyai_repeat"

_MARK_NAME: Final = re.compile(r"[A-Za-z][\w.-]*")
_RESERVED: Final = {
    "asyncio", "babyai", "filterwarnings", "parametrize", "skip", "skipif", "timeout",
    "usefixtures", "xfail",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """What one item asks of its episode.

    Attributes:
        episode: The episode.
        threshold: Progression that it has to reach.
        gate: ``episodes`` or ``aggregate``.
        is_asked: Whether the item's fixtures ask for the episode; else only its test may.
    """

    episode: PlannedEpisode
    threshold: float
    gate: str
    is_asked: bool


ITEM_PLAN: Final = pytest.StashKey["ItemPlan | None"]()


class FunctionRules(NamedTuple):
    """The gates of a test; tests with equal ones are judged together.

    Attributes:
        rules: The rules.
        marker: Place of the marker that gives them, empty where all tests share them.
        reference: The variant that changes refer to, None for the baseline.
    """

    rules: tuple[Rule, ...]
    marker: str
    reference: str | None


class Agenda:
    """Which episodes the selected items ask for.

    Attributes:
        nodeids: Node id by episode, of the first item that asks for it.
    """

    def __init__(self) -> None:
        self.nodeids: dict[PlannedEpisode, str] = {}
        self._num_items: Counter[PlannedEpisode] = Counter()

    def add(self, items: Iterable[pytest.Item]) -> None:
        """Adds the episodes of items."""
        for item in items:
            plan = item.stash.get(ITEM_PLAN, None)
            if plan is not None and plan.is_asked:
                self.nodeids.setdefault(plan.episode, item.nodeid)
                self._num_items[plan.episode] += 1

    def is_last(self, episode: PlannedEpisode) -> bool:
        """Counts an item of an episode as done; returns whether it was the last one."""
        self._num_items[episode] -= 1
        return self._num_items[episode] <= 0


class Plan:
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
        self._precision = self._read_precision()
        self.configuration = read_configuration(
            self.config_dir,
            self._model(),
            os.environ,
            # A gateway that runs elsewhere has keys of its own, and a mere listing needs none.
            check_credentials=not (self.settings.gateway_url or config.option.collectonly),
        )
        self.rules_of: dict[str, FunctionRules] = {}
        self._played_variants: set[str] = set()
        self._of_function: dict[str, Settings] = {}

    def _settings_file(self, chosen: Path | None) -> Source:
        # The packaged directory is a stand-in for the gateway's files; its settings are an
        # example, and must not decide over a project that has none.
        directories = [chosen] if chosen else [place / "config" for place in _places(self._config)]
        files = [directory / SETTINGS_FILE for directory in directories]
        return read_settings_file(next((file for file in files if file.is_file()), files[0]))

    def _read_precision(self) -> Precision | None:
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
    def baselines(self) -> Path:
        """Where named baselines are kept: in the project, never in the package."""
        own = self.config_dir if self.config_dir != packaged(CONFIG) else None
        return (own or self._config.rootpath / CONFIG) / BASELINES_DIRECTORY

    def baseline_place(self, setting: str) -> str | None:
        """Returns a baseline's name as it is, and its path as it is meant; None if not given."""
        text: str | None = getattr(self.settings, setting)
        if text is None:
            return None
        is_path = "/" in text or text.endswith(".json")
        return str(self.path_of(setting, text)) if is_path else text

    def find_baseline(self) -> Path | None:
        """Returns the file that ``--babyai-compare`` names, None where nothing is compared.

        Raises:
            BaselineError: There is no such baseline.
        """
        named = self.baseline_place("compare")
        return None if named is None else find_baseline(named, self.baselines)

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

    def run_spec(self, nodeids: Mapping[PlannedEpisode, str]) -> RunSpec:
        """Returns the run that plays these episodes."""
        settings = self.settings
        return RunSpec(
            settings=settings,
            configuration=self.configuration,
            model_label=self.model_label,
            is_offline=self.is_offline,
            variant_hashes=self.variant_hashes,
            variants=frozenset(self._played_variants or self.variants(settings)),
            root=self._config.rootpath,
            nodeids=nodeids,
            store_dir=self.path_of("store", settings.store) if settings.store else None,
            precision=self._precision,
            command_line=tuple(map(str, self._config.invocation_params.args)),
        )

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Gives a marked test its episodes.

        Raises:
            SettingsError: The marker is wrong, or a variant is unknown.
            UnknownTaskError: A task is unknown.
            CredentialsError: The key of a fine-tuned variant is missing.
            RuleError: A gate's rule is wrong.
        """
        node = metafunc.definition
        _refuse_own_parameters(node)
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
            self.rules_of[node.nodeid] = self._read_rules(settings, sources, markers)

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
        self._played_variants.update(variants)
        for variant in variants:
            variant_marks = self._marks(variant, "variant")
            for task in tasks:
                marks = [*variant_marks, *task_marks[task]]
                for seed in settings.played_seeds:
                    name = f"{variant}-{task}-{seed}"
                    yield pytest.param(variant, task, seed, id=name, marks=marks)

    def _marks(self, name: str, kind: str) -> list[pytest.MarkDecorator]:
        if not _MARK_NAME.fullmatch(name):
            return []
        if name in _RESERVED:
            raise SettingsError(
                f"{kind} {name!r} has the name of one of pytest's own marks; rename it"
            )
        self._config.addinivalue_line("markers", f"{name}: BabyAI episodes of this {kind}")
        return [getattr(pytest.mark, name)]

    def _read_rules(
        self, settings: Settings, sources: Sequence[Source], markers: Sequence[Source]
    ) -> FunctionRules:
        """Reads the rules of a test's gates.

        A rule that was typed has to judge something. One that stands in a file or at a marker waits
        where its variant, its task or what it compares with is not there today.
        """
        place = origin_of("fail", sources)
        is_typed = origin_of("fail", [self._typed]) != ""
        rules = parse_rules(settings.rules, place)
        variants = self.variants(settings)
        # A running gateway keeps its variants to itself.
        declared = () if settings.gateway_url else self.configuration.variants
        # What stands nearest to a test counts: its marker's reference, then a baseline.
        is_variant = origin_of("reference", markers) != "" or settings.compare is None
        reference = settings.reference if is_variant else None
        has_reference = settings.compare is not None or reference is not None
        tasks = [resolve_task(task) for task in settings.tasks or TASKS]
        check_rules(
            rules,
            variants=variants if is_typed and declared else declared,
            tasks=tasks if is_typed else TASKS,
            has_reference=has_reference or not is_typed,
            place=place,
        )
        names, places = {"*", *variants}, {"*", None, *tasks}
        judging = (rule for rule in rules if rule.variant in names and rule.task in places)
        return FunctionRules(
            rules=tuple(rule for rule in judging if has_reference or not rule.relative),
            marker=place if place == origin_of("fail", markers) else "",
            reference=reference,
        )

    def settings_of(self, nodeid: str) -> Settings:
        """Returns the settings of an item's test."""
        return self._of_function.get(function_of(nodeid), self.settings)

    def put_on(self, item: pytest.Item) -> None:
        """Puts on an item what it asks of its episode.

        Raises:
            SettingsError: The marker stands where nothing can be parametrized.
        """
        item.stash[ITEM_PLAN] = self._plan_of(item)

    def _plan_of(self, item: pytest.Item) -> ItemPlan | None:
        if item.get_closest_marker("babyai") is None:
            return None
        callspec = getattr(item, "callspec", None)
        function = f"{getattr(item.parent, 'nodeid', '')}::{getattr(item, 'originalname', '')}"
        settings = self._of_function.get(function)
        if callspec is None or settings is None or not set(PARAMETERS) <= callspec.params.keys():
            if isinstance(item, pytest.Function):
                raise SettingsError(
                    f"{item.nodeid}: @pytest.mark.babyai cannot parametrize a method of a "
                    "unittest.TestCase; write a function, or a class without it"
                )
            return None  # a doctest, say, of a module that is marked
        episode = PlannedEpisode(
            EpisodeSpec(*(callspec.params[name] for name in PARAMETERS)),
            settings.history_length,
            settings.num_dists,
            repeat=callspec.params.get(REPEAT, 0),
            is_repeated=settings.repeats > 1,
        )
        is_asked = "babyai_episode" in getattr(item, "fixturenames", ())
        return ItemPlan(episode, settings.threshold, settings.gate, is_asked)


def function_of(nodeid: str) -> str:
    """Returns the node id of a test without its parameters."""
    return nodeid.partition("[")[0]


def _refuse_own_parameters(node: Any) -> None:
    for marker in node.iter_markers("parametrize"):
        given = marker.args[0] if marker.args else marker.kwargs.get("argnames", ())
        names = given.replace(",", " ").split() if isinstance(given, str) else given
        for name in (*PARAMETERS, REPEAT):
            if name in names:
                raise SettingsError(
                    f"{node.nodeid}: {name!r} is parametrized twice, by the test itself and by "
                    f"@pytest.mark.babyai; say it there, as in @pytest.mark.babyai({name}s=[…])"
                )


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
