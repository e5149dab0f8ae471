"""What a session is to play: settings of the run and of every marked test, and its items."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from pytest_babyai.environment import TASKS, resolve_task
from pytest_babyai.environment.expert import check_references
from pytest_babyai.errors import SettingsError
from pytest_babyai.gate import check_rules, find_baseline, is_baseline_path, parse_rules
from pytest_babyai.playing.setup import check_seeds, read_setup, tasks_of
from pytest_babyai.plugin.options import command_line, ini_file
from pytest_babyai.records import EpisodeSpec, PlannedEpisode
from pytest_babyai.settings.sources import marker_source, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_babyai.gate import Rule
    from pytest_babyai.playing.run_spec import RunSpec
    from pytest_babyai.settings.model import Settings
    from pytest_babyai.settings.sources import Source

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
        self._typed = command_line(config)
        places = [config.rootpath, config.invocation_params.dir]
        self.setup = read_setup(
            self._typed,
            [ini_file(config)],
            places=list(dict.fromkeys(places)),
            path_of=self.path_of,
            check_credentials=not config.option.collectonly,  # a mere listing needs no key
        )
        self.settings = self.setup.settings
        self.rules_of: dict[str, FunctionRules] = {}
        self._of_function: dict[str, Settings] = {}

    def path_of(self, setting: str, path: str | Path) -> Path:
        """Returns a path as it is meant: as typed from there, in a file from pytest's root."""
        is_typed = self._typed.values.get(setting) is not None
        base = self._config.invocation_params.dir if is_typed else self._config.rootpath
        return base / Path(path).expanduser()

    @property
    def baselines(self) -> Path:
        """Where named baselines are kept."""
        return self.setup.baselines_dir(self._config.rootpath)

    def baseline_place(self, setting: str) -> str | None:
        """Returns a baseline's name as it is, and its path as it is meant; None if not given."""
        text: str | None = getattr(self.settings, setting)
        if text is None:
            return None
        return str(self.path_of(setting, text)) if is_baseline_path(text) else text

    def find_baseline(self) -> Path | None:
        """Returns the file that ``--babyai-compare`` names, None where nothing is compared.

        Raises:
            BaselineError: There is no such baseline.
        """
        named = self.baseline_place("compare")
        return None if named is None else find_baseline(named, self.baselines)

    def run_spec(self, nodeids: Mapping[PlannedEpisode, str]) -> RunSpec:
        """Returns the run that plays these episodes."""
        return self.setup.run_spec(
            nodeids,
            root=self._config.rootpath,
            command_line=[str(argument) for argument in self._config.invocation_params.args],
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
        sources = [*self.setup.strong, *markers, *self.setup.weak]
        settings = self.setup.resolve(markers)
        self._of_function[node.nodeid] = settings
        self.setup.check_variants(settings, origin_of("variants", sources))
        self.setup.check_reference(settings, origin_of("reference", sources))
        check_references(settings.references or ())
        check_seeds(settings)
        tasks = tasks_of(settings, origin_of("tasks", sources))
        missing = [name for name in PARAMETERS if name not in metafunc.fixturenames]
        metafunc.fixturenames.extend(missing)
        metafunc.parametrize(PARAMETERS, list(self._parameters(settings, tasks)))
        if settings.repeats > 1:
            metafunc.fixturenames.append(REPEAT)
            metafunc.parametrize(REPEAT, range(settings.repeats), ids=lambda number: f"r{number}")
        if settings.rules:
            self.rules_of[node.nodeid] = self._read_rules(settings, sources, markers)

    def _parameters(self, settings: Settings, tasks: Sequence[str]) -> Iterable[object]:
        task_marks = {task: self._marks(task, "task") for task in tasks}
        variants = self.setup.variants(settings)
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
        variants = self.setup.variants(settings)
        # A running gateway keeps its variants to itself.
        declared = () if settings.gateway_url else self.setup.configuration.variants
        # What stands nearest to a test counts: its marker's reference, then a baseline.
        is_variant = origin_of("reference", markers) != "" or settings.compare is None
        reference = settings.reference if is_variant else None
        if is_variant and reference is None and len(variants) > 1:
            reference = variants[0]  # as in the table under the run
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
        """Puts on an item what it asks of its episode."""
        item.stash[ITEM_PLAN] = self._plan_of(item)

    def _plan_of(self, item: pytest.Item) -> ItemPlan | None:
        if item.get_closest_marker("babyai") is None:
            return None
        callspec = getattr(item, "callspec", None)
        function = f"{getattr(item.parent, 'nodeid', '')}::{getattr(item, 'originalname', '')}"
        settings = self._of_function.get(function)
        if callspec is None or settings is None or not set(PARAMETERS) <= callspec.params.keys():
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


def _keywords(marker: pytest.Mark, place: str) -> dict[str, object]:
    if marker.args:
        raise SettingsError(
            f"{place}: @pytest.mark.babyai takes keyword arguments only, found {marker.args[0]!r}; "
            "write for example variants=['baseline']"
        )
    return dict(marker.kwargs)
